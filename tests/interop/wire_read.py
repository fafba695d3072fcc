# SPDX-License-Identifier: Apache-2.0
"""Fetch, ListOffsets and OffsetForLeaderEpoch in every version that busd announces."""

import uuid

import wire_client
from wire_client import batches, connection, rig
from wire_client.rig import NOW, each, exactly, fetch, produce, same, since, with_bus

TWO = [(NOW, b"key", b"value", [("h", b"1"), ("h", None)]), (NOW + 5, None, None, [])]
LATEST, EARLIEST, MAX_TIME, EARLIEST_LOCAL, LATEST_TIERED = -1, -2, -3, -4, -5


def fill(client, topic, count, codec_number=0, partition=0):
    """Batches of two records each."""
    for _ in range(count):
        row = produce(client, topic, batches.build(TWO, codec_number), partition=partition)
        assert row["ErrorCode"] == 0, row


def records_at(offset):
    return [(offset + i, *record) for i, record in enumerate(TWO)]


# ---- Fetch --------------------------------------------------------------------------------------


def fetched(version, index, end, records, aborted=None, **values):
    return {
        "PartitionIndex": index,
        "ErrorCode": 0,
        "HighWatermark": end,
        "LastStableOffset": end,
        **since(version, 5, LogStartOffset=0),
        "AbortedTransactions": aborted,
        **since(version, 11, PreferredReadReplica=-1),
        "Records": records,
        **values,
    }


def wanted_part(partition, offset, **values):
    return {"Partition": partition, "CurrentLeaderEpoch": -1, "FetchOffset": offset, "LastFetchedEpoch": -1,
            "LogStartOffset": -1, "PartitionMaxBytes": 1 << 20, **values}  # fmt: skip


def named(version, topic, topic_id, partitions):
    """A topic as the version names it."""
    if version >= 13:
        return {"TopicId": topic_id, "Partitions": partitions}
    return {"Topic": topic, "Partitions": partitions}


@with_bus()
def fetch_versions(bus, own):
    topic_id, other = rig.create(own, "t", 2), uuid.UUID(int=9)
    fill(own, "t", 2)
    for version, client in each(bus, "Fetch"):
        for isolation, aborted in ((0, None), (1, [])):
            parts = [wanted_part(0, 2), wanted_part(1, 0), wanted_part(5, 0), wanted_part(0, 99)]
            answer = client.call(
                "Fetch",
                version,
                **since(version, 12, ClusterId="whichever"),
                **since(version, 15, ReplicaState={"ReplicaId": -1, "ReplicaEpoch": -1}),
                ReplicaId=-1,
                MaxWaitMs=10000,
                MinBytes=1,
                MaxBytes=1 << 20,
                IsolationLevel=isolation,
                SessionId=0,
                SessionEpoch=0,
                Topics=[
                    named(version, "t", topic_id, parts),
                    named(version, "no", other, [wanted_part(0, 0)]),
                ],
                ForgottenTopicsData=[
                    {**since(version, 13, TopicId=other), **({"Topic": "x"} if version < 13 else {}), "Partitions": [1]}
                ],
                RackId="r1",
            )
            topics = answer.pop("Responses")
            exactly(answer, {"ThrottleTimeMs": 0, **since(version, 7, ErrorCode=0, SessionId=0)})
            lost = {"LastStableOffset": -1, **since(version, 5, LogStartOffset=-1), "ErrorCode": 3}
            raw = topics[0]["Partitions"][0]["Records"]
            (batch,) = batches.read(raw)
            exactly(batch[1], records_at(2))
            rows = [
                fetched(version, 0, 4, raw, aborted),
                fetched(version, 1, 0, b"", aborted),
                fetched(version, 5, -1, b"", aborted, **lost),
                fetched(version, 0, -1, b"", aborted, **{**lost, "ErrorCode": 1}),
            ]
            exactly(topics[0], named(version, "t", topic_id, rows))
            error = 100 if version >= 13 else 3
            rows = [fetched(version, 0, -1, b"", aborted, **{**lost, "ErrorCode": error})]
            exactly(topics[1], named(version, "no", other, rows))


@with_bus()
def fetch_sessions(bus, own):
    """Sessions are not kept: full requests get session 0, others are told to send a full one."""
    topic_id = rig.create(own, "t")
    fill(own, "t", 1)
    for version, client in each(bus, "Fetch"):
        if version < 7:
            continue
        for number, epoch in ((0, 0), (0, -1), (7, -1), (7, 0)):
            same(fetch(client, "t", topic_id, version, SessionId=number, SessionEpoch=epoch), {"ErrorCode": 0})
        refused = {"ThrottleTimeMs": 0, "ErrorCode": 70, "SessionId": 0, "Responses": []}
        exactly(fetch(client, "t", topic_id, version, SessionId=7, SessionEpoch=3), refused)


@with_bus()
def fetch_epochs(bus, own):
    topic_id = rig.create(own, "t")
    fill(own, "t", 1)
    for version, client in each(bus, "Fetch"):
        if version >= 9:
            same(fetch(client, "t", topic_id, version, CurrentLeaderEpoch=0), {"ErrorCode": 0})
            same(fetch(client, "t", topic_id, version, CurrentLeaderEpoch=8), {"ErrorCode": 75})
        if version >= 12:
            row = fetch(client, "t", topic_id, version, offset=2, LastFetchedEpoch=0)
            assert row["ErrorCode"] == 0 and "DivergingEpoch" not in row, row
            row = fetch(client, "t", topic_id, version, offset=2, LastFetchedEpoch=8)
            assert row["ErrorCode"] == 1 and "DivergingEpoch" not in row, row


@with_bus()
def fetch_limits(bus, own):
    """The first partition with data gives a whole batch, however little is asked for."""
    topic_id = rig.create(own, "t", 2)
    fill(own, "t", 3)
    fill(own, "t", 3, partition=1)
    size = len(batches.build(TWO))
    for version, client in each(bus, "Fetch"):
        for most, part, counts in (
            (1, 1 << 20, [1, 0]),
            (1 << 20, 1, [1, 0]),
            (2 * size, 1 << 20, [2, 0]),
            (4 * size, 1 << 20, [3, 1]),
            (1 << 20, 2 * size, [2, 2]),
        ):
            parts = [wanted_part(i, 0, PartitionMaxBytes=part) for i in (0, 1)]
            told = {"ReplicaId": -1, "MinBytes": 1, "MaxBytes": most, "SessionEpoch": -1}
            answer = client.call("Fetch", version, Topics=[named(version, "t", topic_id, parts)], **told)
            rows = answer["Responses"][0]["Partitions"]
            exactly([len(batches.read(row["Records"])) for row in rows], counts)
            assert all(row["ErrorCode"] == 0 for row in rows)


@with_bus()
def fetch_waits(bus, own):
    """A fetch at the end waits for min_bytes, for max_wait at most, and holds up nobody else."""
    topic_id = rig.create(own, "t")
    for version, client in each(bus, "Fetch"):
        row = fetch(client, "t", topic_id, version, offset=end_of(own, "t"), MaxWaitMs=30, MinBytes=1)
        assert row["Records"] == b""
        end = end_of(own, "t")
        part = [wanted_part(0, end)]
        told = {"ReplicaId": -1, "MaxWaitMs": 60000, "MinBytes": 1, "MaxBytes": 1 << 20, "SessionEpoch": -1}
        client.send("Fetch", version, Topics=[named(version, "t", topic_id, part)], **told)
        client.send("Metadata", 1, Topics=[])
        fill(own, "t", 1)
        row = client.receive()["Responses"][0]["Partitions"][0]
        assert [r[0] for _, found in batches.read(row["Records"]) for r in found] == [end, end + 1]
        assert client.receive()["Brokers"]


@with_bus()
def fetch_zstd(bus, own):
    """Consumers before version 10 cannot read zstd and are told so; other codecs they get."""
    topic_id = rig.create(own, "t", 5)
    for number in range(5):
        fill(own, "t", 1, number, partition=number)
    for version, client in each(bus, "Fetch"):
        for number in range(5):
            row = fetch(client, "t", topic_id, version, partition=number)
            if number == batches.ZSTD and version < 10:
                same(row, {"ErrorCode": 76, "Records": b""})
            else:
                (batch,) = batches.read(row["Records"])
                assert batch[0]["Attributes"] == number
                exactly(batch[1], records_at(0))


# ---- ListOffsets --------------------------------------------------------------------------------


def end_of(client, topic, partition=0):
    part = {"PartitionIndex": partition, "Timestamp": LATEST}
    answer = client.call("ListOffsets", 1, ReplicaId=-1, Topics=[{"Name": topic, "Partitions": [part]}])
    return answer["Topics"][0]["Partitions"][0]["Offset"]


@with_bus()
def list_offsets(bus, own):
    rig.create(own, "t")
    fill(own, "t", 3)
    start_at_two(own)
    later = [(NOW + 100, b"k", b"v", []), (NOW + 50, b"k", b"v", [])]
    assert produce(own, "t", batches.build(later))["BaseOffset"] == 6
    places = (  # time asked for, offset, time told, since version
        (LATEST, 8, -1, 1),
        (EARLIEST, 2, -1, 1),
        (MAX_TIME, 6, NOW + 100, 7),
        (EARLIEST_LOCAL, 2, -1, 8),
        (LATEST_TIERED, -1, -1, 9),
        (0, 2, NOW, 1),
        (NOW + 5, 3, NOW + 5, 1),
        (NOW + 6, 6, NOW + 100, 1),
        (NOW + 101, -1, -1, 1),
    )
    for version, client in each(bus, "ListOffsets"):
        for isolation in (0, 1):
            parts = [
                {"PartitionIndex": 0, "CurrentLeaderEpoch": -1, "Timestamp": place[0]} for place in places
            ] + [{"PartitionIndex": 3, "CurrentLeaderEpoch": -1, "Timestamp": LATEST}]
            answer = client.call(
                "ListOffsets",
                version,
                ReplicaId=-1,
                IsolationLevel=isolation,
                Topics=[{"Name": "t", "Partitions": parts}, {"Name": "no", "Partitions": parts[:1]}],
                TimeoutMs=1000,
            )
            rows = [
                {
                    "PartitionIndex": 0,
                    "ErrorCode": 0 if version >= first else 35,
                    "Timestamp": told if version >= first else -1,
                    "Offset": offset if version >= first else -1,
                    **since(version, 4, LeaderEpoch=0 if offset >= 0 and version >= first else -1),
                }
                for _, offset, told, first in places
            ]
            lost = {"ErrorCode": 3, "Timestamp": -1, "Offset": -1, **since(version, 4, LeaderEpoch=-1)}
            topics = [
                {"Name": "t", "Partitions": [*rows, {"PartitionIndex": 3, **lost}]},
                {"Name": "no", "Partitions": [{"PartitionIndex": 0, **lost}]},
            ]
            exactly(answer, {**since(version, 2, ThrottleTimeMs=0), "Topics": topics})
        if version >= 4:
            part = {"PartitionIndex": 0, "CurrentLeaderEpoch": 4, "Timestamp": LATEST}
            answer = client.call("ListOffsets", version, Topics=[{"Name": "t", "Partitions": [part]}])
            same(answer["Topics"][0]["Partitions"][0], {"ErrorCode": 75, "Offset": -1})


def start_at_two(client):
    part = {"PartitionIndex": 0, "Offset": 2}
    answer = client.call("DeleteRecords", 2, Topics=[{"Name": "t", "Partitions": [part]}], TimeoutMs=1000)
    same(answer["Topics"][0]["Partitions"][0], {"LowWatermark": 2, "ErrorCode": 0})


# ---- OffsetForLeaderEpoch -----------------------------------------------------------------------


@with_bus()
def epoch_ends(bus, own):
    rig.create(own, "t")
    fill(own, "t", 2)
    for version, client in each(bus, "OffsetForLeaderEpoch"):
        parts = [
            {"Partition": 0, "CurrentLeaderEpoch": -1, "LeaderEpoch": 0},
            {"Partition": 0, "CurrentLeaderEpoch": 0, "LeaderEpoch": 6},
            {"Partition": 0, "CurrentLeaderEpoch": 3, "LeaderEpoch": 0},
            {"Partition": 4, "CurrentLeaderEpoch": -1, "LeaderEpoch": 0},
        ]
        answer = client.call(
            "OffsetForLeaderEpoch",
            version,
            ReplicaId=-1,
            Topics=[{"Topic": "t", "Partitions": parts}, {"Topic": "no", "Partitions": parts[:1]}],
        )

        def row(partition, error, epoch=-1, end=-1):
            return {"ErrorCode": error, "Partition": partition, "LeaderEpoch": epoch, "EndOffset": end}

        rows = [row(0, 0, 0, 4), row(0, 0), row(0, 75), row(4, 3)]
        topics = [{"Topic": "t", "Partitions": rows}, {"Topic": "no", "Partitions": [row(0, 3)]}]
        exactly(answer, {"ThrottleTimeMs": 0, "Topics": topics})


rig.run("Fetch: every version", fetch_versions)
rig.run("Fetch: sessions are not kept", fetch_sessions)
rig.run("Fetch: leader epochs", fetch_epochs)
rig.run("Fetch: limits, and a whole batch in any case", fetch_limits)
rig.run("Fetch: waits for records, in the order of requests", fetch_waits)
rig.run("Fetch: zstd", fetch_zstd)
rig.run("ListOffsets: every version", list_offsets)
rig.run("OffsetForLeaderEpoch: every version", epoch_ends)
rig.done(wire_client.READING)
