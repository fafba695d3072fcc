# SPDX-License-Identifier: Apache-2.0
"""Batches that no sound client sends: Kafka's error code, a line in the trace, nobody disturbed."""

import os
import struct

from wire_client import batches, codec, rig
from wire_client.rig import NOW, each, fetch, produce, same, with_bus

import tap

NONE, CORRUPT, TOO_LARGE, TOO_LARGE_LIST, BAD_TIME, NO_CODEC, INVALID = 0, 2, 10, 18, 32, 76, 87
ONE = [(NOW, b"key", b"value", [("h", b"x")])]
TWO = ONE + [(NOW + 1, None, b"", [])]


def damage(raw, at, value):
    return raw[:at] + value + raw[at + len(value) :]


def body(records=ONE):
    return b"".join(batches.write_record(i, record, NOW) for i, record in enumerate(records))


def with_body(raw, **fields):
    return batches.seal({"BaseTimestamp": NOW, "MaxTimestamp": NOW + 1, **fields}, raw)


GOOD = batches.build(ONE)
BAD = {  # what is wrong: (bytes, error)
    "null": (None, INVALID),
    "nothing": (b"", INVALID),
    "magic 0": (damage(GOOD, 16, b"\0"), INVALID),
    "magic 1": (damage(GOOD, 16, b"\1"), INVALID),
    "magic 3": (damage(GOOD, 16, b"\3"), INVALID),
    "CRC": (damage(GOOD, 17, b"\0\0\0\0"), CORRUPT),
    "a byte of a record": (damage(GOOD, len(GOOD) - 3, b"?"), CORRUPT),
    "cut in the header": (GOOD[:40], INVALID),
    "cut in the records": (GOOD[:-1], INVALID),
    "a byte too many": (GOOD + b"\0", INVALID),
    "two batches": (GOOD + GOOD, INVALID),
    "a length of 0": (batches.build(ONE, Length=0), CORRUPT),
    "a negative length": (batches.build(ONE, Length=-1), CORRUPT),
    "a huge length": (batches.build(ONE, Length=0x7FFFFFFF), INVALID),
    "an offset": (batches.build(ONE, BaseOffset=5), INVALID),
    "no records": (with_body(b"", Count=0, LastDelta=0), INVALID),
    "more records than there are": (with_body(body(), Count=2, LastDelta=1), CORRUPT),
    "fewer records than there are": (with_body(body(TWO), Count=1), CORRUPT),
    "a million records": (with_body(body(), Count=1 << 20, LastDelta=(1 << 20) - 1), CORRUPT),
    "a negative count": (with_body(body(), Count=-1), CORRUPT),
    "a control batch": (batches.build(ONE, Attributes=0x20), INVALID),
    "a producer id without a sequence": (batches.build(ONE, ProducerId=4, ProducerEpoch=0), INVALID),
    "LogAppendTime": (batches.build(ONE, Attributes=8), BAD_TIME),
    "codec 5": (batches.build(ONE, Attributes=5), NO_CODEC),
    "codec 7": (batches.build(ONE, Attributes=7), NO_CODEC),
    "a record that passes the end": (with_body(b"\x7e" + body()[1:]), CORRUPT),
    "a record without an end": (with_body(b"\xff" * 20), CORRUPT),
    "a varint that is too long": (with_body(b"\x80" * 12 + b"\1"), CORRUPT),
}
BAD.update(
    {
        f"{batches.NAMES[number]} that is none": (with_body(b"junk" * 9, Attributes=number), CORRUPT)
        for number in range(1, 5)
    }
)
BAD.update(
    {
        f"{batches.NAMES[number]} that is cut": (
            batches.build(ONE * 9, number, pack=lambda raw, n=number: batches.PACK[n](raw)[:-5]),
            CORRUPT,
        )
        for number in range(1, 5)
        if batches.available(number)
    }
)


def bomb(number):
    """A record of 70 MB in a small batch."""
    value = batches.write_record(0, (NOW, None, bytes(70 << 20), []), NOW)
    return with_body(batches.PACK[number](value), Attributes=number)


# ---- batches ------------------------------------------------------------------------------------


@with_bus()
def refused(bus, client):
    """Each is refused alone, named in the trace, and what comes behind it is appended."""
    topic_id = rig.create(client, "t", 2)
    end = 0
    for what, (records, error) in BAD.items():
        answer = client.call(
            "Produce",
            9,
            Acks=1,
            TimeoutMs=10000,
            TopicData=[{"Name": "t", "PartitionData": [
                {"Index": 0, "Records": records}, {"Index": 1, "Records": GOOD},
            ]}],
        )  # fmt: skip
        bad, good = answer["Responses"][0]["PartitionResponses"]
        assert (bad["ErrorCode"], good["ErrorCode"], good["BaseOffset"]) == (error, 0, end), (what, bad, good)
        assert bad["BaseOffset"] == -1 and bad["ErrorMessage"], (what, bad)
        end += 1
    same(fetch(client, "t", topic_id), {"HighWatermark": 0, "Records": b""})
    same(fetch(client, "t", topic_id, partition=1), {"HighWatermark": end})
    told = [line for line in bus.busd.err().splitlines() if "Produce of" in line]
    assert told and "topic t partition 0" in told[0], bus.busd.tail()
    assert len(told) < len(BAD) / 2, "the trace is flooded"


@with_bus()
def sizes(bus, client):
    rig.create(client, "t", max_message_bytes=200)
    rig.create(client, "segment", max_message_bytes=5 << 20)
    for count, error in ((100, NONE), (300, TOO_LARGE)):
        same(produce(client, "t", batches.build([(NOW, None, bytes(count), [])])), {"ErrorCode": error})
    large = batches.build([(NOW, None, bytes(2 << 20), [])])
    same(produce(client, "segment", large), {"ErrorCode": TOO_LARGE_LIST})


def resident(bus):
    """How much memory busd has had at most, bytes."""
    status = open(f"/proc/{bus.busd.pid}/status", encoding="ascii").read()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


@with_bus()
def bombs(bus, client):
    """What decompresses to very much is refused without being held."""
    rig.create(client, "t")
    produce(client, "t", GOOD)
    for number in range(1, 5):
        if not batches.available(number):
            continue
        raw = bomb(number)
        if len(raw) > 1 << 20:
            continue
        row = produce(client, "t", raw)
        assert row["ErrorCode"] == TOO_LARGE and "decompress" in row["ErrorMessage"], row
    if os.environ.get("SANITIZED") != "yes":  # a sanitizer keeps freed memory for a while
        assert resident(bus) < 128 << 20, resident(bus)


@with_bus()
def zstd_in_old_versions(bus, own):
    rig.create(own, "t")
    for version, client in each(bus, "Produce"):
        error = produce(client, "t", batches.build(ONE, batches.ZSTD), version)["ErrorCode"]
        assert error == (NO_CODEC if version < 7 else NONE), (version, error)


@with_bus()
def rules_of_topics(bus, own):
    """Keys on compacted topics, times that are too far away: the records concerned are named."""
    rig.create(own, "compacted", cleanup_policy="compact")
    rig.create(own, "timely", message_timestamp_before_max_ms=3600000 * 3)
    old = (NOW - 3600000 * 9, b"k", b"", [])
    for version, client in each(bus, "Produce"):
        for topic, records, error, index in (
            ("compacted", ONE + [(NOW, None, b"v", [])], INVALID, 1),
            ("timely", [old, *ONE], BAD_TIME, 0),
        ):
            for number in (batches.NONE, batches.GZIP):
                row = produce(client, topic, batches.build(records, number), version)
                same(row, {"ErrorCode": error, "BaseOffset": -1})
                if version >= 8:
                    (found,) = row["RecordErrors"]
                    assert found["BatchIndex"] == index and found["BatchIndexErrorMessage"], found


@with_bus()
def acks(bus, client):
    rig.create(client, "t")
    for wrong in (2, -2, 17):
        same(produce(client, "t", GOOD, acks=wrong), {"ErrorCode": 21, "BaseOffset": -1})


# ---- frames -------------------------------------------------------------------------------------


@with_bus()
def frames(bus, client):
    """Frames that lie end their own connection, with a line in the trace, and no other."""
    api = codec.APIS["Metadata"]
    good = client.header(3, 9, 1, True) + codec.encode(api, 9, {"Topics": [{"Name": "t"}]})
    lies = {
        "an unknown key": client.header(9999, 0, 1, False),
        "a negative key": client.header(-1, 0, 1, False),
        "a version beyond ours": client.header(3, 14, 1, True),
        "a negative version": client.header(3, -1, 1, False),
        "nothing": b"",
        "half a header": good[:6],
        "a name that passes the end": struct.pack(">hhih", 3, 1, 1, 30000) + b"x",
        "a negative name": struct.pack(">hhih", 3, 1, 1, -2) + bytes(20),
        "bytes behind the body": good + b"\0",
        "a count that passes the end": client.header(3, 9, 1, True) + b"\xff\xff\xff\xff\x07\0\0\0\0",
        "a varint without an end": client.header(3, 9, 1, True) + b"\xff" * 12,
        "a null that may not be": client.header(3, 0, 1, False) + b"\xff\xff\xff\xff",
        "tags that do not ascend": good[:-1] + b"\2\5\0\5\0",
        "a tag that passes the end": good[:-1] + b"\1\5\x7f",
        "ApiVersions with a version below 0": client.header(18, -1, 1, False),
    }
    for cut in range(11, len(good)):
        lies[f"cut at {cut}"] = good[:cut]
    for what, raw in lies.items():
        with rig.connect(bus) as other:
            other.send_frame(raw)
            assert other.is_closed(), what
    for size in (-1, -(1 << 31), 104857601, 0x7FFFFFFF):
        with rig.connect(bus) as other:
            other.link.sendall(struct.pack(">i", size))
            assert other.is_closed(), size
    assert client.call("ApiVersions", 0)["ErrorCode"] == 0
    told = bus.busd.err()
    assert "connection cut: request with API key 9999, version 0 is not served" in told, told


@with_bus()
def half_frames(bus, client):
    """Who stops in the middle holds up nobody."""
    waiting = rig.connect(bus)
    waiting.link.sendall(struct.pack(">i", 5000) + waiting.header(3, 9, 1, True))
    piecewise = rig.connect(bus)
    frame = piecewise.header(18, 0, 5, False)
    for byte in struct.pack(">i", len(frame)) + frame:
        piecewise.link.sendall(bytes([byte]))
        assert client.call("ApiVersions", 0)["ErrorCode"] == 0
    assert piecewise.receive_frame()[:4] == b"\0\0\0\5"
    waiting.close()
    piecewise.close()


@with_bus()
def pipelined(bus, client):
    """Many requests at once are answered in their order, the last ones before the end included."""
    rig.create(client, "t")
    for i in range(50):
        client.send("Produce", 3 + i % 9, Acks=1, TimeoutMs=1000, TopicData=[
            {"Name": "t", "PartitionData": [{"Index": 0, "Records": GOOD}]}])  # fmt: skip
        client.send("ListOffsets", 1 + i % 10, Topics=[
            {"Name": "t", "Partitions": [{"PartitionIndex": 0, "Timestamp": -1}]}])  # fmt: skip
    client.send_frame(client.header(9999, 0, 1, False))
    for i in range(50):
        assert client.receive()["Responses"][0]["PartitionResponses"][0]["BaseOffset"] == i
        assert client.receive()["Topics"][0]["Partitions"][0]["Offset"] == i + 1
    assert client.is_closed()


rig.run("bad batches: refused one by one, and told", refused)
rig.run("batches that are too large", sizes)
rig.run("compressed bombs", bombs)
rig.run("zstd before Produce 7", zstd_in_old_versions)
rig.run("records that a topic does not take are named", rules_of_topics)
rig.run("acks that do not exist", acks)
rig.run("frames that lie end their connection", frames)
rig.run("half a frame holds up nobody", half_frames)
rig.run("pipelined requests", pipelined)
tap.done()
