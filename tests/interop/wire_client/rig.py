# SPDX-License-Identifier: Apache-2.0
"""A busd for the wire tests, and what they say of it again and again."""

import functools
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "system"))
import harness  # noqa: E402 (the folder has to be known first)
import tap  # noqa: E402

from . import codec, connection  # noqa: E402

NODE = 1
NOW = (int(time.time()) - 3600) * 1000  # of records: young enough for retention
NO_OPERATIONS = -2147483648


TRANSPORTS = ("unix", "tcp")


def connect(bus, **options):
    return connection.Client(bus.address, transport=bus.transport, **options)


def with_bus(**settings):
    """A case that gets a running bus of its own, and a client; on both transports, see run()."""

    def decorate(function):
        @functools.wraps(function)
        def case(transport):
            here = {"listeners": "127.0.0.1:0", "super.users": "User:ANONYMOUS"} if transport == "tcp" else {}
            with harness.Bus(settings={**harness.SMALL, **here, **settings}) as bus:
                bus.start()
                bus.transport = transport
                bus.address = bus.kafka()[0] if here else bus.socket
                with connect(bus) as client:
                    function(bus, client)
                assert bus.stop() == 0, bus.busd.tail()

        return case

    return decorate


def run(name, case):
    """The case over the Unix socket, then over TCP."""
    for transport in TRANSPORTS:
        tap.run(f"{name} [{transport}]", case, transport)


def done(names):
    """Ends a test that drives these APIs: no version of them may have been left out."""
    for transport in TRANSPORTS:
        left = connection.missing(names, transport)
        tap.case(f"no version was left out [{transport}]", not left or len(sys.argv) > 1, left)
    tap.done()


def create(client, name, partitions=1, **settings):
    """A topic; gives its id."""
    answer = client.call(
        "CreateTopics",
        7,
        Topics=[
            {
                "Name": name,
                "NumPartitions": partitions,
                "ReplicationFactor": -1,
                "Configs": [{"Name": k.replace("_", "."), "Value": str(v)} for k, v in settings.items()],
            }
        ],
    )
    (row,) = answer["Topics"]
    assert row["ErrorCode"] == 0, row
    assert row["TopicId"] != codec.NOTHING
    return row["TopicId"]


def produce(client, topic, records, version=11, partition=0, acks=1):
    """Sends one batch as it is; gives the row of its partition."""
    answer = client.call(
        "Produce",
        version,
        Acks=acks,
        TimeoutMs=10000,
        TopicData=[{"Name": topic, "PartitionData": [{"Index": partition, "Records": records}]}],
    )
    (row,) = answer["Responses"]
    assert row["Name"] == topic
    return row["PartitionResponses"][0]


def fetch(client, topic, topic_id=None, version=16, offset=0, partition=0, **values):
    """The row of a partition, by name or by id as the version has it."""
    part = {
        "Partition": partition,
        "CurrentLeaderEpoch": -1,
        "FetchOffset": offset,
        "LastFetchedEpoch": -1,
        "LogStartOffset": -1,
        "PartitionMaxBytes": 1 << 20,
    }
    part.update({k: values.pop(k) for k in list(values) if k in part})
    named = {"Topic": topic, "TopicId": topic_id or codec.NOTHING, "Partitions": [part]}
    told = {"ReplicaId": -1, "MaxWaitMs": 0, "MinBytes": 0, "SessionEpoch": -1, **values}
    answer = client.call("Fetch", version, Topics=[named], **told)
    if not answer["Responses"]:
        return answer
    return answer["Responses"][0]["Partitions"][0]


def same(found, wanted):
    """Equal but for the names that `wanted` leaves out."""
    got = {name: found.get(name, "absent") for name in wanted}
    assert got == wanted, f"\nfound  {got}\nwanted {wanted}"


def exactly(found, wanted):
    assert found == wanted, f"\nfound  {found}\nwanted {wanted}"


def since(version, first, **values):
    """`values` when the version has them."""
    return values if version >= first else {}


def each(bus, name):
    """(version, client) for every version of an API; flexible ones come twice, once with tagged
    fields that nobody knows."""
    for version in codec.APIS[name].versions():
        for strange in (False, True)[: 1 + codec.APIS[name].flexible(version)]:
            with connect(bus) as client:
                client.strange = strange
                yield version, client
