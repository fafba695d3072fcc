# SPDX-License-Identifier: Apache-2.0
"""One topic, several doors: what a Kafka client wrote is read by libbus in place, and the other way
round, with the same offsets, timestamps, keys, values and headers, for every codec; and the bytes of
a batch are those that its producer sent."""

import base64
import random
import struct

from wire_client import batches, rig
from wire_client.rig import NOW, exactly, fetch, produce, with_bus

import tap

CODECS = [number for number in range(5) if batches.available(number)]


def some_records(source, count):
    """(timestamp, key, value, headers) of many kinds."""
    found = []
    for _ in range(count):
        size = source.choice((0, 1, 63, 64, 127, 1000, 8191))
        value = (source.randbytes(size // 2) + b"abc " * size)[:size]
        headers = [
            (source.choice(("", "a", "trace-id", "\u00fc")), source.choice((None, b"", b"\0\xff", b"v" * 200)))
            for _ in range(source.choice((0, 0, 1, 3)))
        ]
        key = source.choice((None, b"", b"k", "schl\u00fcssel".encode(), source.randbytes(9)))
        found.append((NOW + source.randrange(-500, 500), key, source.choice((None, value, value)), headers))
    return found


def octets(value):
    """Bytes of the JSON that busctl prints."""
    if isinstance(value, dict):
        return base64.b64decode(value["base64"])
    return None if value is None else value.encode()


def read_by_libbus(bus, topic):
    """What busctl, which reads in place with libbus, tells of a topic."""
    found = []
    for row in bus.json("consume", "-e", "-J", topic):
        headers = [(h["key"], octets(h["value"])) for h in row["headers"]]
        found.append((row["offset"], row["timestamp"], octets(row["key"]), octets(row["value"]), headers))
    return found


def word(data):
    """Bytes as in a script of the worker."""
    return "-" if data is None else data.hex() or "."


def write_by_libbus(bus, topic, records, *settings):
    """A worker sends the records of its script, one batch of them."""
    path = bus.folder / "script"
    with open(path, "w", encoding="ascii") as text:
        for timestamp, key, value, headers in records:
            words = [str(timestamp), word(key), word(value)]
            for name, content in headers:
                words += [word(name.encode()), word(content)]
            text.write(" ".join(words) + "\n")
        text.write("\n")
    with open(path, encoding="ascii") as text:
        extra = ("worker.partition=0", "linger.ms=60000", *settings)
        worker = bus.worker("script", topic, 0, 0, *extra, stdin=text)
        assert worker.wait() == 0, worker.tail()


def read_by_wire(client, topic, topic_id, end):
    """What the wire client fetches, batch by batch."""
    found, offset = [], 0
    while offset < end:
        row = fetch(client, topic, topic_id, offset=offset)
        assert row["ErrorCode"] == 0 and row["Records"], row
        for header, records in batches.read(row["Records"]):
            found += [record for record in records if record[0] >= offset]
            offset = header["BaseOffset"] + header["LastDelta"] + 1
    return found


def raw_batches(client, topic, topic_id, end):
    """The bytes of each batch behind what a broker may change: base offset and leader epoch."""
    found, offset = [], 0
    while offset < end:
        raw = fetch(client, topic, topic_id, offset=offset)["Records"]
        while raw:
            base, length = struct.unpack_from(">qi", raw)
            found.append(raw[16 : length + 12])
            offset = base + struct.unpack_from(">i", raw, 23)[0] + 1
            raw = raw[length + 12 :]
    return found


# ---- what a Kafka client wrote -------------------------------------------------------------------


@with_bus()
def kafka_to_libbus(bus, client):
    for number in CODECS:
        for pack in [batches.PACK[number]] + [batches.XERIAL_PACK] * (number == batches.SNAPPY):
            source = random.Random(number)
            topic = f"t{number}-{pack.__name__.strip('_')}"
            topic_id = rig.create(client, topic)
            wanted, sent = [], []
            for count in (1, 2, 40, 300):
                records = some_records(source, count)
                raw = batches.build(records, number, pack)
                row = produce(client, topic, raw)
                exactly((row["ErrorCode"], row["BaseOffset"]), (0, len(wanted)))
                wanted += [(len(wanted) + i, *record) for i, record in enumerate(records)]
                sent.append(raw[16:])
            exactly(read_by_libbus(bus, topic), wanted)
            exactly(read_by_wire(client, topic, topic_id, len(wanted)), wanted)
            assert raw_batches(client, topic, topic_id, len(wanted)) == sent, "bytes were changed"


# ---- what libbus wrote ---------------------------------------------------------------------------


@with_bus()
def libbus_to_kafka(bus, client):
    for number in CODECS:
        for direct in ("auto", "never"):
            topic = f"t{number}-{direct}"
            topic_id = rig.create(client, topic)
            records = some_records(random.Random(number), 300)
            codec = f"compression.type={batches.NAMES[number]}"
            write_by_libbus(bus, topic, records, codec, f"direct={direct}")
            wanted = [(i, *record) for i, record in enumerate(records)]
            exactly(read_by_wire(client, topic, topic_id, len(wanted)), wanted)
            exactly(read_by_libbus(bus, topic), wanted)


@with_bus()
def in_turns(bus, client):
    """Both write to one partition: one sequence of offsets, the same for all readers."""
    topic_id = rig.create(client, "t")
    source, wanted = random.Random(99), []
    for turn in range(12):
        records = some_records(source, 5)
        if turn % 2:
            raw = batches.build(records, source.choice(CODECS))
            exactly(produce(client, "t", raw)["BaseOffset"], len(wanted))
        else:
            write_by_libbus(bus, "t", records)
        wanted += [(len(wanted) + i, *record) for i, record in enumerate(records)]
    exactly(read_by_libbus(bus, "t"), wanted)
    exactly(read_by_wire(client, "t", topic_id, len(wanted)), wanted)


@with_bus()
def append_time(bus, client):
    """With LogAppendTime all readers see the time of the log."""
    topic_id = rig.create(client, "t", message_timestamp_type="LogAppendTime")
    for number in CODECS:
        row = produce(client, "t", batches.build(some_records(random.Random(1), 4), number))
        assert row["ErrorCode"] == 0 and row["LogAppendTimeMs"] > NOW
    end = 4 * len(CODECS)
    mine, theirs = read_by_wire(client, "t", topic_id, end), read_by_libbus(bus, "t")
    exactly(mine, theirs)


rig.run("what a Kafka client writes is read by libbus", kafka_to_libbus)
rig.run("what libbus writes is read by a Kafka client", libbus_to_kafka)
rig.run("both write in turns", in_turns)
rig.run("LogAppendTime", append_time)
tap.done()
