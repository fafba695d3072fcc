# SPDX-License-Identifier: Apache-2.0
"""Producing, fetching and looking, in every version that busd announces, field by field."""

import uuid

import wire_client
from wire_client import batches, codec, connection, rig
from wire_client.rig import NO_OPERATIONS, NODE, NOW, each, exactly, produce, same, since, with_bus


PRIVATE = 1000
TWO = [(NOW, b"key", b"value", [("h", b"1"), ("h", None)]), (NOW + 5, None, None, [])]


# ---- ApiVersions --------------------------------------------------------------------------------


@with_bus()
def announced(bus, _):
    """The table, in every version; nothing in it that this client could not drive."""
    wanted = [
        {"ApiKey": api.key, "MinVersion": api.first, "MaxVersion": api.last}
        for api in codec.APIS.values()
    ]
    for version, client in each(bus, "ApiVersions"):
        answer = client.call(
            "ApiVersions", version, ClientSoftwareName="wire", ClientSoftwareVersion="1.0-x"
        )
        rows = answer.pop("ApiKeys")
        exactly(answer, {"ErrorCode": 0, **since(version, 1, ThrottleTimeMs=0)})
        keys = [row["ApiKey"] for row in rows]
        assert keys == sorted(set(keys)), keys
        for row in rows:
            assert row["ApiKey"] >= PRIVATE or row in wanted, row
        told = {row["ApiKey"] for row in rows}
        assert told >= {codec.APIS[name].key for name in wire_client.DRIVEN}, told


@with_bus()
def newer_api_versions(_, client):
    """A version beyond ours is answered in version 0, with one row: what to ask for."""
    for version in (5, 99, 32767):
        client.send_frame(client.header(18, version, 7, True) + b"what only they know")
        frame = client.receive_frame()
        assert frame[:4] == b"\0\0\0\7"
        answer = codec.decode(codec.APIS["ApiVersions"], 0, frame[4:])
        exactly(answer, {"ErrorCode": 35, "ApiKeys": [{"ApiKey": 18, "MinVersion": 0, "MaxVersion": 4}]})


@with_bus()
def software_names(_, client):
    for name, version in (("", "1"), ("a", ""), ("-a", "1"), ("a", "1."), ("a b", "1")):
        for wire in (3, 4):
            answer = client.call("ApiVersions", wire, ClientSoftwareName=name, ClientSoftwareVersion=version)
            exactly(answer, {"ErrorCode": 42, "ApiKeys": [], "ThrottleTimeMs": 0})


# ---- Metadata -----------------------------------------------------------------------------------


def topic_row(version, name, topic_id, partitions, **values):
    part = {
        "ErrorCode": 0,
        "LeaderId": NODE,
        **since(version, 7, LeaderEpoch=0),
        "ReplicaNodes": [NODE],
        "IsrNodes": [NODE],
        **since(version, 5, OfflineReplicas=[]),
    }
    return {
        "ErrorCode": 0,
        "Name": name,
        **since(version, 10, TopicId=topic_id),
        **since(version, 1, IsInternal=False),
        "Partitions": [{**part, "PartitionIndex": i} for i in range(partitions)],
        **since(version, 8, TopicAuthorizedOperations=NO_OPERATIONS),
        **values,
    }


def missing_row(version, name, error, topic_id=codec.NOTHING):
    return topic_row(version, name, topic_id, 0, ErrorCode=error)


def check_cluster(version, answer, asked=False):
    """All but the topics."""
    brokers = answer.pop("Brokers")
    assert [broker["NodeId"] for broker in brokers] == [NODE]
    assert set(brokers[0]) == {"NodeId", "Host", "Port", *since(version, 1, Rack=1)}
    assert brokers[0].get("Rack") is None
    assert answer.pop("ClusterId", "x") and answer.pop("ControllerId", NODE) == NODE
    operations = answer.pop("ClusterAuthorizedOperations", None)
    assert (operations is not None) == (8 <= version <= 10)
    if operations is not None:
        assert (operations > 0) == asked, operations
    exactly(answer, {**since(version, 3, ThrottleTimeMs=0), **since(version, 13, ErrorCode=0)})


@with_bus()
def metadata(bus, client):
    one, two = rig.create(client, "one", 1), rig.create(client, "two", 2)
    for version, client in each(bus, "Metadata"):
        rows = [topic_row(version, "one", one, 1), topic_row(version, "two", two, 2)]

        def ask(topics, **values):
            answer = client.call("Metadata", version, Topics=topics, **values)
            found = answer.pop("Topics")
            check_cluster(version, answer, "IncludeClusterAuthorizedOperations" in values)
            return found

        exactly(ask([{"Name": "two"}, {"Name": "one"}]), rows[::-1])
        exactly(ask([] if version == 0 else None), rows)
        if version > 0:
            exactly(ask([]), [])
        asked = ask([{"Name": "no"}, {"Name": "one"}], AllowAutoTopicCreation=False)
        exactly(asked, [missing_row(version, "no", 3), rows[0]])
        exactly(ask([{"Name": "a/b"}]), [missing_row(version, "a/b", 17)])
        asked = ask(
            [{"Name": "one"}],
            IncludeClusterAuthorizedOperations=True,
            IncludeTopicAuthorizedOperations=True,
        )
        if version >= 8:
            assert asked[0].pop("TopicAuthorizedOperations") & 1 << 3, asked
            del rows[0]["TopicAuthorizedOperations"]
        exactly(asked, rows[:1])


@with_bus()
def metadata_by_id(bus, client):
    one, other = rig.create(client, "one", 1), uuid.UUID(int=77)
    for version in range(10, 14):
        with rig.connect(bus) as client:
            answer = client.call(
                "Metadata", version, Topics=[{"TopicId": one, "Name": None}, {"TopicId": other, "Name": None}]
            )
            if version < 12:
                rows = [missing_row(version, "", 42, one), missing_row(version, "", 42, other)]
            else:
                rows = [topic_row(version, "one", one, 1), missing_row(version, None, 100, other)]
            exactly(answer["Topics"], rows)


@with_bus(**{"auto.create.topics.enable": "true", "num.partitions": 3})
def auto_create(bus, _):
    """Unless the client says no, which it can from version 4 on; before, it always says yes."""
    for version, client in each(bus, "Metadata"):
        name = f"t{version}-{client.strange}"
        if version >= 4:
            answer = client.call("Metadata", version, Topics=[{"Name": name}], AllowAutoTopicCreation=False)
            exactly(answer["Topics"], [missing_row(version, name, 3)])
        answer = client.call("Metadata", version, Topics=[{"Name": name}])
        (row,) = answer["Topics"]
        topic_id = row.get("TopicId")
        assert topic_id != codec.NOTHING
        exactly(row, topic_row(version, name, topic_id, 3))
        answer = client.call("Metadata", version, Topics=[{"Name": "__consumer_offsets"}])
        assert answer["Topics"][0]["Partitions"] == [] or answer["Topics"][0]["IsInternal"]


@with_bus()
def no_auto_create(bus, _):
    """busd has the last word."""
    for version, client in each(bus, "Metadata"):
        answer = client.call("Metadata", version, Topics=[{"Name": "t"}])
        exactly(answer["Topics"], [missing_row(version, "t", 3)])


# ---- Produce ------------------------------------------------------------------------------------


def produced(version, index, offset, **values):
    return {
        "Index": index,
        "ErrorCode": 0,
        "BaseOffset": offset,
        "LogAppendTimeMs": -1,
        **since(version, 5, LogStartOffset=0),
        **since(version, 8, RecordErrors=[], ErrorMessage=None),
        **values,
    }


@with_bus()
def produce_versions(bus, client):
    rig.create(client, "t", 2)
    next_offset = 0
    for version, client in each(bus, "Produce"):
        for acks in (1, -1):
            answer = client.call(
                "Produce",
                version,
                TransactionalId=None,
                Acks=acks,
                TimeoutMs=10000,
                TopicData=[
                    {"Name": "t", "PartitionData": [
                        {"Index": 0, "Records": batches.build(TWO)},
                        {"Index": 7, "Records": batches.build(TWO)},
                        {"Index": 1, "Records": batches.build(TWO)},
                    ]},
                    {"Name": "no", "PartitionData": [{"Index": 0, "Records": batches.build(TWO)}]},
                ],
            )  # fmt: skip
            unknown = {"ErrorCode": 3, **since(version, 5, LogStartOffset=-1)}
            for topic in answer["Responses"]:
                for row in topic["PartitionResponses"]:
                    if row["ErrorCode"] and version >= 8:
                        assert row["ErrorMessage"]
                        row["ErrorMessage"] = None
            rows = [
                produced(version, 0, next_offset),
                produced(version, 7, -1, **unknown),
                produced(version, 1, next_offset),
            ]
            lost = [produced(version, 0, -1, **unknown)]
            exactly(
                answer,
                {
                    "Responses": [
                        {"Name": "t", "PartitionResponses": rows},
                        {"Name": "no", "PartitionResponses": lost},
                    ],
                    "ThrottleTimeMs": 0,
                },
            )
            next_offset += 2


@with_bus()
def produce_acks_none(bus, client):
    """Without acks there is no answer; the next request has the next one."""
    topic_id = rig.create(client, "t")
    for version, client in each(bus, "Produce"):
        part = [{"Index": 0, "Records": batches.build(TWO)}]
        client.send("Produce", version, Acks=0, TopicData=[{"Name": "t", "PartitionData": part}])
        client.sent.pop()
        assert rig.fetch(client, "t", topic_id)["HighWatermark"] > 0
        connection.Client.driven.add((client.transport, 0, version))
        part = [{"Index": 0, "Records": b"junk"}]
        client.send("Produce", version, Acks=0, TopicData=[{"Name": "t", "PartitionData": part}])
        assert client.is_closed()


@with_bus()
def old_produce(bus, client):
    """Announced for the sake of old clients, and refused: the connection ends."""
    rig.create(client, "t")
    for version in range(3):
        with rig.connect(bus) as client:
            client.send_frame(client.header(0, version, 1, False) + b"\0\1\0\0\0\1\0\0\0\0")
            assert client.is_closed()


@with_bus()
def append_time(bus, client):
    topic_id = rig.create(client, "t", message_timestamp_type="LogAppendTime")
    for version, client in each(bus, "Produce"):
        row = produce(client, "t", batches.build(TWO), version)
        assert row["ErrorCode"] == 0 and row["LogAppendTimeMs"] > NOW, row
        fetched = batches.read(rig.fetch(client, "t", topic_id, offset=row["BaseOffset"])["Records"])
        header, records = fetched[-1]
        assert header["Attributes"] & 8 and header["MaxTimestamp"] == row["LogAppendTimeMs"]
        assert {record[1] for record in records} == {row["LogAppendTimeMs"]}


@with_bus()
def largest_time(_, client):
    """A maximum of the timestamps that is wrong, as some clients send it, is put right."""
    codecs = [number for number in range(5) if batches.available(number)]
    for number in codecs:
        topic_id = rig.create(client, f"t{number}")
        for wrong in (-1, 0, NOW, NOW + 4, NOW + 99999999, 2**63 - 1):
            row = produce(client, f"t{number}", batches.build(TWO, number, MaxTimestamp=wrong))
            assert row["ErrorCode"] == 0, row
            raw = rig.fetch(client, f"t{number}", topic_id, offset=row["BaseOffset"])["Records"]
            ((header, records),) = batches.read(raw)
            assert header["MaxTimestamp"] == NOW + 5, (wrong, header)
            exactly([record[1:] for record in records], TWO)


@with_bus()
def produce_idempotent(bus, own):
    topic_id = rig.create(own, "t")
    for version, client in each(bus, "Produce"):
        known = client.call("InitProducerId", 5, TransactionalId=None, ProducerId=-1, ProducerEpoch=-1)

        def send(sequence, epoch=0):
            fields = {"ProducerId": known["ProducerId"], "ProducerEpoch": epoch, "BaseSequence": sequence}
            return produce(client, "t", batches.build(TWO, **fields), version)

        first = send(0)
        second = send(2)
        assert second["BaseOffset"] == first["BaseOffset"] + 2
        same(send(0), {"ErrorCode": 0, "BaseOffset": first["BaseOffset"]})
        same(send(9), {"ErrorCode": 45, "BaseOffset": -1})
        same(send(0, 1), {"ErrorCode": 0})
        same(send(4, 0), {"ErrorCode": 47})
    header, _ = batches.read(rig.fetch(own, "t", topic_id)["Records"])[0]
    assert header["ProducerId"] >= 0 and header["BaseSequence"] == 0


# ---- InitProducerId -----------------------------------------------------------------------------


@with_bus()
def producer_ids(bus, _):
    ids = set()
    for version, client in each(bus, "InitProducerId"):
        refused = {"ThrottleTimeMs": 0, "ProducerId": -1, "ProducerEpoch": -1}

        def ask(**values):
            told = {"TransactionTimeoutMs": 60000, "ProducerId": -1, "ProducerEpoch": -1, **values}
            return client.call("InitProducerId", version, **told)

        for values in ({}, {"ProducerId": 5, "ProducerEpoch": 2}):
            answer = ask(**values)
            ids.add(answer["ProducerId"])
            same(answer, {"ThrottleTimeMs": 0, "ErrorCode": 0, "ProducerEpoch": 0})
        exactly(ask(TransactionalId=""), {**refused, "ErrorCode": 42})
        exactly(ask(TransactionalId="tx"), {**refused, "ErrorCode": 53})
        if version >= 3:
            exactly(ask(ProducerId=5), {**refused, "ErrorCode": 42})
            exactly(ask(ProducerEpoch=5), {**refused, "ErrorCode": 42})
    assert len(ids) == 2 * (6 + 4) and min(ids) >= 0, ids


rig.run("ApiVersions: every version, sorted, nothing beyond the layouts", announced)
rig.run("ApiVersions: a newer one is answered in version 0", newer_api_versions)
rig.run("ApiVersions: names of client software are checked", software_names)
rig.run("Metadata: every version", metadata)
rig.run("Metadata: by id", metadata_by_id)
rig.run("Metadata: creates what both sides want created", auto_create)
rig.run("Metadata: creates nothing unless busd wants it", no_auto_create)
rig.run("Produce: every version", produce_versions)
rig.run("Produce: acks=0", produce_acks_none)
rig.run("Produce: versions 0 to 2 end the connection", old_produce)
rig.run("Produce: LogAppendTime", append_time)
rig.run("Produce: a wrong maximum of timestamps is put right", largest_time)
rig.run("Produce: idempotence", produce_idempotent)
rig.run("InitProducerId: every version", producer_ids)
rig.done(wire_client.DATA)
