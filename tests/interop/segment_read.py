# SPDX-License-Identifier: Apache-2.0
"""What shmbus leaves on disk, read by a program that knows shmbus-format(7) only (reader.py).

Records of many kinds go in through busctl and libbus; then busd ends, and the files must hold just
these, as `busctl consume` told them too, with indexes that lead where the page says.
"""

import base64
import pathlib
import random
import re
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
import harness  # noqa: E402 (the folder has to be known first)
import tap  # noqa: E402

import reader  # noqa: E402

PAGE = harness.SOURCE / "man/shmbus-format.7.in"
START_MS = 1700000000000
INTERVAL = 4096  # index.interval.bytes
# name of a topic: settings of its producer
SCRIPTED = {
    "plain": (),
    "mediated": ("direct=never",),
    "gzip": ("compression.type=gzip",),
    "snappy": ("compression.type=snappy",),
    "lz4": ("compression.type=lz4",),
    "zstd": ("compression.type=zstd",),
}


# ---- what goes in -------------------------------------------------------------------------------


def some_bytes(source, size):
    """Half of it compresses well."""
    return (source.randbytes(size // 2) + b"abc " * size)[:size]


def make_batches(seed, count, rising):
    """Batches of records, each (timestamp, key, value, headers); offsets are added when it is read."""
    source = random.Random(seed)
    now = START_MS
    for _ in range(count):
        batch = []
        for _ in range(source.choice((1, 1, 2, 5, 40))):
            now += source.randrange(0, 50) if rising else source.randrange(-100000, 110000)
            size = source.choice((0, 1, 63, 64, 127, 1000, 8191, 20000))
            key = source.choice((None, b"", b"k", "schl\u00fcssel".encode(), source.randbytes(9)))
            value = source.choice((None, *[some_bytes(source, size)] * 7))
            headers = [
                (
                    source.choice(("", "a", "trace-id", "\u00fc")),
                    source.choice((None, b"", b"\0\xff", b"v" * 200)),
                )
                for _ in range(source.choice((0, 0, 1, 3)))
            ]
            batch.append((now, key, value, headers))
        yield batch


def word(data):
    """Bytes as in a script of the worker."""
    return "-" if data is None else data.hex() or "."


def line_of(record):
    timestamp, key, value, headers = record
    words = [str(timestamp), word(key), word(value)]
    for name, content in headers:
        words += [word(name.encode()), word(content)]
    return " ".join(words)


def send(bus, topic, partition, batches, settings):
    path = bus.folder / f"{topic}-{partition}.script"
    path.write_text("".join("".join(line_of(r) + "\n" for r in batch) + "\n" for batch in batches))
    with open(path, encoding="utf-8") as text:
        # Only a flush ends a batch, as far as it is not full.
        extra = (f"worker.partition={partition}", "linger.ms=60000", *settings)
        worker = bus.worker("script", topic, 0, 0, *extra, stdin=text)
        assert worker.wait() == 0, worker.tail()
    return [record for batch in batches for record in batch]


# ---- what comes out -----------------------------------------------------------------------------


def octets(value):
    """Bytes of the JSON that busctl prints."""
    if isinstance(value, dict):
        return base64.b64decode(value["base64"])
    return None if value is None else value.encode()


def told(bus, topic):
    """Records by partition, as busctl tells them."""
    found = {}
    for row in bus.json("consume", "-e", "-J", topic):
        headers = [(h["key"], octets(h["value"])) for h in row["headers"]]
        record = reader.Record(
            row["offset"], row["timestamp"], octets(row["key"]), octets(row["value"]), headers
        )
        found.setdefault(row["partition"], []).append(record)
    return found


# The records are as old as their timestamps say: retention would take them.
SETTINGS = {**harness.SMALL, "log.retention.ms": -1}


class World:
    """All topics, filled once; what went in, and what busctl told before busd ended."""

    def __init__(self):
        self.bus = harness.Bus(settings=SETTINGS)
        self.sent, self.told, self.acks = {}, {}, {}

    def fill(self):
        bus = self.bus
        bus.start()
        topics = [*SCRIPTED, "lines", "busy"]
        bus.busctl("topic", "create", *topics, "-p", "2")
        bus.busctl("topic", "create", "stamped", "-c", "message.timestamp.type=LogAppendTime")
        for number, (topic, settings) in enumerate(SCRIPTED.items()):
            for partition in (0, 1):
                batches = list(make_batches(10 * number + partition, 90, partition == 0))
                self.sent[topic, partition] = send(bus, topic, partition, batches, settings)
        self.fill_lines()
        self.fill_busy()
        stamped = list(make_batches(99, 20, False))
        self.sent["stamped", 0] = send(bus, "stamped", 0, stamped, ())
        for topic in [*topics, "stamped"]:
            for partition, records in told(bus, topic).items():
                self.told[topic, partition] = records
        harness.until(self.indexed, "the indexes of closed segments", detail=bus.busd.tail)
        assert bus.stop() == 0, bus.busd.tail()

    def indexed(self):
        """Whether busd has got round to each closed segment; how well is looked at later."""
        for folder in (self.bus.data / "topics").iterdir():
            for path in sorted(folder.glob("0*.log"))[:-1]:
                index = path.with_suffix(".index")
                if not index.exists() or index.stat().st_size == 0:
                    return False
        return True

    def fill_lines(self):
        """As a user does it: keys before a colon, a line without one, an empty value for null."""
        lines = [f"key{i}:value {i}" for i in range(300)] + ["no key", "gone:", "\u00fc:\u00e4"]
        expected = []
        for codec in ("none", "gzip"):
            self.bus.busctl(
                *("produce", "-k", ":", "-H", "a=b", "-H", "c=", "-Z", "-p", "0"),
                *("--compression", codec, "lines"),
                stdin="".join(line + "\n" for line in lines),
            )
            for line in lines:
                key, colon, value = line.rpartition(":")
                headers = [("a", b"b"), ("c", b"")]
                expected.append((None, key.encode() if colon else None, value.encode() or None, headers))
        self.sent["lines", 0] = expected

    def fill_busy(self):
        """Producers of several kinds at once: what is where, they were told."""
        kinds = ((), ("direct=never",), ("compression.type=gzip",), ("acks=1",))
        workers = [
            self.bus.worker("produce", "busy", i, 250, "worker.size=8000", *kind)
            for i, kind in enumerate(kinds)
        ]
        for worker in workers:
            assert worker.wait() == 0 and worker.count("ack") == 250, worker.tail()
            for line in worker.lines():
                if line.startswith("ack"):
                    number, seq, partition, offset = (int(x) for x in line.split()[1:])
                    self.acks[partition, offset] = (number, seq)

    def partition(self, topic, partition=0):
        return reader.Partition(self.bus.partition_folder(topic, partition))


world = World()


# ---- cases --------------------------------------------------------------------------------------


def the_page():
    """Its numbers and its example are right."""
    text = PAGE.read_text(encoding="utf-8")
    assert reader.crc32c(b"123456789") == 0xE3069283
    numbers = {b"\x00": 0, b"\x01": -1, b"\x02": 1, b"\x03": -2, b"\xac\x02": 150}
    assert all(reader.Cursor(data).number(32) == number for data, number in numbers.items())
    example = text[text.index(".Ss An example") :]
    example = example[example.index(".Bd") : example.index(".Ed")]
    form = re.compile(r"((?:[0-9A-F]{2})+(?: (?:[0-9A-F]{2})+)*)  ?")
    rows = [form.match(line) for line in example.splitlines()[1:]]
    batch = reader.Batch(b"".join(bytes.fromhex(row.group(1)) for row in rows), 0)
    batch.check()
    assert batch.epoch == 0 and batch.size == 70 and len(rows) == 21, len(rows)
    assert batch.records() == [reader.Record(5, 1000, None, b"hi", [])], batch.records()


def the_format():
    """The folder says its version as the page does."""
    text = (world.bus.data / "format").read_text()
    assert re.fullmatch(r"shmbus-data 1\ninstance [0-9a-f]{32}\n", text), text


def compare(topic, partition):
    """Files, busctl and input agree."""
    log = world.partition(topic, partition)
    told_records = world.told[topic, partition]
    assert log.end == len(told_records), (log.end, len(told_records))
    records = []
    for batch in log.batches():
        read = batch.records()
        if read is None:  # compressed with what Python has not; busctl tells what is in it
            read = told_records[batch.base_offset : batch.last_offset + 1]
        assert batch.count == batch.last_delta + 1 == len(read), (batch.position, batch.count)
        records += read
    assert [record.offset for record in records] == list(range(len(records)))
    different = [pair for pair in zip(records, told_records) if pair[0] != pair[1]]
    assert not different, str(different[0])[:2000]
    sent = world.sent.get((topic, partition))
    if sent is not None:
        assert len(sent) == len(records), (len(sent), len(records))
        for record, (timestamp, key, value, headers) in zip(records, sent):
            assert (record.key, record.value, record.headers) == (key, value, headers), record.offset
            assert timestamp in (None, record.timestamp) or topic == "stamped", record.offset
    return log


def scripted(topic):
    codec = topic if topic in reader.CODECS.values() else "none"
    for partition in (0, 1):
        log = compare(topic, partition)
        codecs = {batch.codec for batch in log.batches()}
        assert codecs <= {codec, "none"} and codec in codecs, codecs
        assert len(log.segments) > 1 or codec != "none", "it was to roll"
        assert any(batch.count > 1 for batch in log.batches()), "no batch of several records"
        expect_indexes(log)


def lines():
    log = compare("lines", 0)
    assert {batch.codec for batch in log.batches()} == {"none", "gzip"}
    times = [record.timestamp for batch in log.batches() for record in batch.records()]
    assert times == sorted(times) and times[0] > START_MS, (times[0], times[-1])


def busy():
    seen = {}
    for partition in (0, 1):
        for batch in compare("busy", partition).batches():
            for record in batch.records():
                seen[partition, record.offset] = tuple(int(w) for w in record.value.split(b" ", 2)[:2])
    assert seen == world.acks, sorted(set(seen.items()) ^ set(world.acks.items()))[:10]


def stamped():
    for batch in compare("stamped", 0).batches():
        assert batch.attributes & reader.LOG_APPEND_TIME and batch.max_timestamp > START_MS
        assert {record.timestamp for record in batch.records()} == {batch.max_timestamp}


def expected_indexes(segment):
    """The entries of both indexes that the page asks for, for a closed segment."""
    index, times, last, largest = [], [], 0, (-1, None)
    for batch in segment.batches:
        if batch.max_timestamp > largest[0]:
            largest = (batch.max_timestamp, batch.last_offset)
        if batch.position - last > INTERVAL:
            last = batch.position
            index.append((batch.last_offset, batch.position))
            if not times or largest[0] > times[-1][0]:
                times.append(largest)
    if not times or largest[0] > times[-1][0]:
        times.append(largest)
    return index, times


def expect_indexes(log):
    for segment in log.segments:
        index, times = segment.index(), segment.time_index()
        for rows in (index, times):
            for before, after in zip(rows, rows[1:]):
                assert before[0] < after[0] and before[1] < after[1], (before, after)
        begins = {batch.position: batch.last_offset for batch in segment.batches}
        assert all(begins.get(position) == offset for offset, position in index), segment.path
        ends = {batch.last_offset: batch.max_timestamp for batch in segment.batches}
        assert all(ends.get(offset) == time for time, offset in times), segment.path
        wanted_index, wanted_times = expected_indexes(segment)
        if segment is not log.segments[-1]:
            assert index == wanted_index, (segment.path, len(index), len(wanted_index))
            assert times == wanted_times, (segment.path, times[-3:], wanted_times[-3:])
        else:
            assert index == wanted_index[: len(index)], segment.path
            assert len(index) + 1 >= len(wanted_index), (len(index), len(wanted_index))


def lookups(topic):
    """By offset and by time, with the help of the indexes."""
    for partition in (0, 1):
        log = world.partition(topic, partition)
        records = world.told[topic, partition]
        for offset in range(0, log.end, 7):
            batch, _ = log.find(offset)
            assert batch.base_offset <= offset <= batch.last_offset, offset
        longest = max(batch.size for batch in log.batches())
        for batch in log.batches():
            _, headers = log.find(batch.last_offset)
            assert headers <= 2 + (INTERVAL + longest) // reader.HEADER_BYTES, headers
        for wanted in [record.timestamp for record in records[::11]] + [0, 1 << 60]:
            right = next((r for r in records if r.timestamp >= wanted), None)
            found = log.find_time(wanted)
            assert found == right, (wanted, found and found.offset, right and right.offset)


def damage():
    """This reader can say no: every byte that is flipped in a closed segment is noticed."""
    source = random.Random(5)
    segment = world.partition("plain").segments[0]
    whole = segment.path.read_bytes()
    end = segment.batches[-1].position + segment.batches[-1].size
    successor = segment.batches[-1].last_offset + 1
    for _ in range(20):
        position = source.randrange(end)
        if any(12 <= position - batch.position < 16 for batch in segment.batches):
            continue  # the leader epoch, which no CRC covers
        copy = world.bus.folder / "copy.log"
        flipped = bytearray(whole)
        flipped[position] ^= 1 << source.randrange(8)
        copy.write_bytes(flipped)
        try:
            reader.Segment(copy, segment.base_offset).read(successor)
        except reader.Damage:
            continue
        raise AssertionError(f"a flipped bit at {position} was not noticed")


def control_pages():
    """Without busd, the pages still say where each log ends."""
    ends = []
    for path in world.bus.objects():
        if path.suffix == ".ctl":
            control = reader.ControlPage(path.read_bytes())
            base, position, end, sealed = control.slot(control.active)
            assert control.state == 1 and not sealed and control.durable_offset == end, vars(control)
            ends.append((control.partition, base, position, end))
    expected = []
    for topic, partition in world.told:
        log = world.partition(topic, partition)
        last = log.segments[-1]
        position = last.batches[-1].position + last.batches[-1].size if last.batches else 0
        expected.append((partition, last.base_offset, position, log.end))
    assert not set(expected) - set(ends), (sorted(expected), sorted(ends))


def spare_in_use():
    """A log that went on in the spare without busd: its last segment has the spare's name."""
    folder = world.bus.folder / "spare-in-use"
    shutil.copytree(world.bus.partition_folder("plain"), folder)
    whole = reader.Partition(folder)
    last = whole.segments[-1]
    for path in folder.glob("spare-*"):
        path.unlink()
    last.path.rename(folder / "spare-3.log")
    (folder / "spare-4.log").write_bytes(bytes(1 << 20))
    log = reader.Partition(folder)
    assert [s.base_offset for s in log.segments] == [s.base_offset for s in whole.segments]
    assert log.segments[-1].path.name == "spare-3.log" and log.end == whole.end
    assert [b.data for b in log.batches()] == [b.data for b in whole.batches()]


with world.bus:
    tap.run("the page's own example", the_page)
    world.fill()
    tap.run("the version of the folder", the_format)
    for name in SCRIPTED:
        tap.run(f"records of {name}", scripted, name)
    tap.run("lines of busctl", lines)
    tap.run("many producers", busy)
    tap.run("LogAppendTime", stamped)
    tap.run("look-ups in plain", lookups, "plain")
    tap.run("look-ups in gzip", lookups, "gzip")
    tap.run("control pages", control_pages)
    tap.run("damage is noticed", damage)
    tap.run("a spare that is in use", spare_in_use)
tap.done()
