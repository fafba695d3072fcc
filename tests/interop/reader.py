# SPDX-License-Identifier: Apache-2.0
"""Reads segment files, their indexes and control pages as shmbus-format(7) describes them.

It is written from that page and from nothing else: what it cannot read, the page does not tell, or
shmbus does not write what the page says. Python's library has no zstd, lz4 and snappy; of batches
compressed with these it reads the header and checks the CRC.
"""

import collections
import struct
import zlib

HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_BYTES = 61
CRC_POSITION, CRC_FROM = 17, 21
CODECS = {0: "none", 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
LOG_APPEND_TIME = 1 << 3

Record = collections.namedtuple("Record", "offset timestamp key value headers")


class Damage(Exception):
    """The bytes are not what the page says."""


def expect(condition, what):
    if not condition:
        raise Damage(what)


# ---- CRC-32C ------------------------------------------------------------------------------------


def _table():
    reflected = int(f"{0x1EDC6F41:032b}"[::-1], 2)
    rows = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (reflected if value & 1 else 0)
        rows.append(value)
    return rows


_TABLE = _table()


def crc32c(data):
    table, crc = _TABLE, 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


# ---- records ------------------------------------------------------------------------------------


class Cursor:
    """A place in bytes, for the records of a batch."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, count):
        expect(count >= 0 and self.at + count <= len(self.data), "a field passes the end")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, bits):
        """A varint (32) or a varlong (64)."""
        raw = 0
        for group in range((bits + 6) // 7):
            byte = self.take(1)[0]
            raw |= (byte & 0x7F) << 7 * group
            if byte < 0x80:
                expect(raw < 1 << bits, "a number is too large")
                return raw >> 1 ^ -(raw & 1)
        raise Damage("a number does not end")

    def nullable(self):
        length = self.number(32)
        expect(length >= -1, "a negative length")
        return None if length == -1 else bytes(self.take(length))


def wrapped(value):
    """As 64 bits in two's complement."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


class Batch:
    """A batch in a segment; its header is checked, its CRC and records when asked for."""

    def __init__(self, data, position):
        expect(position + HEADER_BYTES <= len(data), "a header passes the end")
        fields = HEADER.unpack_from(data, position)
        (self.base_offset, length, self.epoch, self.magic, self.crc, self.attributes) = fields[:6]
        (self.last_delta, self.base_timestamp, self.max_timestamp) = fields[6:9]
        (self.producer_id, self.producer_epoch, self.base_sequence, self.count) = fields[9:]
        expect(length >= HEADER_BYTES - 12, f"batchLength {length}")
        expect(self.magic == 2, f"magic {self.magic}")
        self.position, self.size = position, length + 12
        expect(position + self.size <= len(data), "a batch passes the end")
        self.data = data[position : position + self.size]
        self.codec = CODECS.get(self.attributes & 7)

    @property
    def last_offset(self):
        return self.base_offset + self.last_delta

    def crc_is_right(self):
        return crc32c(self.data[CRC_FROM:]) == self.crc

    def check(self):
        """What the page says of a header."""
        expect(self.crc_is_right(), f"CRC at position {self.position}")
        expect(self.base_offset >= 0 and self.last_delta >= 0, "offsets")
        expect(self.codec is not None, "an unknown compression")
        expect(self.attributes & ~0x7F == 0, "attributes that are not used")
        expect(0 <= self.count <= self.last_delta + 1, "recordCount")

    def records(self):
        """The records, None when this program cannot decompress them."""
        body = self.data[HEADER_BYTES:]
        if self.codec == "gzip":
            stream = zlib.decompressobj(wbits=31)
            body = stream.decompress(body) + stream.flush()
            expect(stream.eof and not stream.unused_data, "a gzip stream that does not end here")
        elif self.codec != "none":
            return None
        cursor = Cursor(body)
        records = [self._record(cursor) for _ in range(self.count)]
        expect(cursor.at == len(body), "bytes behind the records")
        offsets = [record.offset for record in records]
        expect(offsets == sorted(set(offsets)), "offsets that do not rise")
        expect(not offsets or offsets[-1] <= self.last_offset, "an offset above the last one")
        if records and self.attributes & LOG_APPEND_TIME == 0:
            expect(self.max_timestamp == max(r.timestamp for r in records), "maxTimestamp")
        return records

    def _record(self, cursor):
        length = cursor.number(32)
        part = Cursor(cursor.take(length))
        expect(part.take(1) == b"\0", "attributes of a record")
        timestamp = wrapped(self.base_timestamp + part.number(64))
        offset = self.base_offset + part.number(32)
        key, value = part.nullable(), part.nullable()
        headers = [self._header(part) for _ in range(part.number(32))]
        expect(part.at == length, "bytes behind a record")
        if self.attributes & LOG_APPEND_TIME:
            timestamp = self.max_timestamp
        return Record(offset, timestamp, key, value, headers)

    @staticmethod
    def _header(part):
        key = part.nullable()
        expect(key is not None, "a header without a name")
        return key.decode("utf-8"), part.nullable()


# ---- segments and indexes -----------------------------------------------------------------------


def entries(path, form):
    """The entries of an index, up to the zeros at its end; none when the file is missing."""
    data = path.read_bytes() if path.exists() else b""
    data = data[: len(data) - len(data) % form.size]
    found = list(form.iter_unpack(data))
    while found and not any(found[-1]):
        found.pop()
    return found


class Segment:
    def __init__(self, path, base_offset):
        self.path = path
        self.base_offset = base_offset
        self.batches = []
        self.data = b""

    def read(self, end_offset):
        """Reads the batches up to end_offset; None: as long as they continue each other."""
        data = self.data = self.path.read_bytes()
        position, offset = 0, self.base_offset
        while offset != end_offset:
            try:
                batch = Batch(data, position)
                batch.check()
                expect(batch.base_offset == offset, f"offset {batch.base_offset}, not {offset}")
            except Damage as damage:
                if end_offset is None:
                    break
                raise Damage(f"{self.path} at {position}: {damage}") from None
            self.batches.append(batch)
            position += batch.size
            offset = batch.last_offset + 1
        return offset

    def index(self):
        """(offset, position) of each entry."""
        found = entries(self.path.with_suffix(".index"), struct.Struct(">ii"))
        return [(self.base_offset + relative, position) for relative, position in found]

    def time_index(self):
        """(timestamp, offset) of each entry."""
        found = entries(self.path.with_suffix(".timeindex"), struct.Struct(">qi"))
        return [(timestamp, self.base_offset + relative) for timestamp, relative in found]

    def max_timestamp(self):
        return max(batch.max_timestamp for batch in self.batches)


def _begins_at(path):
    """The base offset of a spare that belongs to the log, else None."""
    try:
        batch = Batch(path.read_bytes(), 0)
        batch.check()
    except Damage:
        return None
    return batch.base_offset


class Partition:
    """The log in a folder of a partition that nobody has open."""

    def __init__(self, folder):
        found = {}
        for path in folder.glob("*.log"):
            base = _begins_at(path) if path.name.startswith("spare-") else int(path.stem)
            expect(base not in found or base is None, f"two segments at {base}")
            if base is not None:
                found[base] = Segment(path, base)
        self.segments = [found[base] for base in sorted(found)]
        following = [segment.base_offset for segment in self.segments[1:]] + [None]
        self.end = 0
        for segment, end in zip(self.segments, following):
            self.end = segment.read(end)

    def batches(self):
        for segment in self.segments:
            yield from segment.batches

    def find(self, offset):
        """The batch with the offset, and how many headers were read, as OFFSET INDEX tells."""
        segment = [s for s in self.segments if s.base_offset <= offset][-1]
        before = [position for indexed, position in segment.index() if indexed <= offset]
        position, read = before[-1] if before else 0, 0
        while True:
            batch = Batch(segment.data, position)
            read += 1
            if batch.last_offset >= offset:
                return batch, read
            position += batch.size

    def find_time(self, timestamp):
        """The first record at or after a time as TIME INDEX tells; None: there is none."""
        for segment in self.segments:
            if segment.batches and segment.max_timestamp() >= timestamp:
                break
        else:
            return None
        below = [offset for time, offset in segment.time_index() if time < timestamp]
        offset = below[-1] if below else segment.base_offset
        for batch in segment.batches:
            if batch.last_offset < offset or batch.max_timestamp < timestamp:
                continue
            for record in batch.records() or ():
                if record.timestamp >= timestamp:
                    return record
        raise Damage("a segment has no record with its largest time")


# ---- the control page ---------------------------------------------------------------------------


class ControlPage:
    """What a control page said when it was read, in the byte order of the machine."""

    def __init__(self, data):
        expect(len(data) == 4096, "a page of another size")
        magic, layout, self.partition = struct.unpack_from("=QIi", data, 0)
        expect(magic == 0x6C74632D73756273 and layout == 1, f"magic {magic:x}, layout {layout}")
        (self.state,) = struct.unpack_from("=I", data, 64)
        (self.active,) = struct.unpack_from("=q", data, 192)
        (self.durable_offset,) = struct.unpack_from("=q", data, 320)
        self.data = data

    def slot(self, number):
        """(base offset, position, next offset, sealed) of a segment; None: it has no slot."""
        at = 512 + 64 * (number % 8)
        found, base, published, _ = struct.unpack_from("=qqQI", self.data, at)
        if found != number:
            return None
        position, offsets = published >> 32 & 0x7FFFFFFF, published & 0xFFFFFFFF
        return base, position, base + offsets, bool(published >> 63)
