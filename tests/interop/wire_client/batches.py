# SPDX-License-Identifier: Apache-2.0
"""RecordBatch v2 as a client makes and reads it, with the codecs of the C libraries, by ctypes.

A record is (timestamp, key, value, headers); read ones have their offset in front.
"""

import ctypes
import ctypes.util
import struct
import zlib

HEADER = struct.Struct(">qiibIhiqqqhii")
NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
NAMES = ("none", "gzip", "snappy", "lz4", "zstd")
XERIAL = b"\x82SNAPPY\0"
LIMIT = 64 << 20


def _library(name, *symbols):
    found = ctypes.util.find_library(name)
    if not found:
        return None
    library = ctypes.CDLL(found)
    for symbol in symbols:
        getattr(library, symbol).restype = ctypes.c_size_t
    return library


_zstd = _library(
    "zstd", "ZSTD_compress", "ZSTD_compressBound", "ZSTD_decompress", "ZSTD_getFrameContentSize"
)
_lz4 = _library(
    "lz4", "LZ4F_compressFrame", "LZ4F_compressFrameBound", "LZ4F_decompress",
    "LZ4F_createDecompressionContext", "LZ4F_freeDecompressionContext",
)  # fmt: skip
_snappy = _library("snappy")


def available(codec):
    return codec in (NONE, GZIP) or {SNAPPY: _snappy, LZ4: _lz4, ZSTD: _zstd}.get(codec) is not None


# ---- codecs -------------------------------------------------------------------------------------


def _call(function, room, *arguments):
    out = ctypes.create_string_buffer(room)
    done = function(out, ctypes.c_size_t(room), *arguments)
    assert done <= room, f"the library failed: {done}"
    return out.raw[:done]


def _zstd_pack(raw):
    room = _zstd.ZSTD_compressBound(ctypes.c_size_t(len(raw)))
    return _call(_zstd.ZSTD_compress, room, raw, ctypes.c_size_t(len(raw)), 3)


def _zstd_unpack(raw):
    size = _zstd.ZSTD_getFrameContentSize(raw, ctypes.c_size_t(len(raw)))
    room = size if size < LIMIT else LIMIT
    return _call(_zstd.ZSTD_decompress, max(room, 1), raw, ctypes.c_size_t(len(raw)))


def _lz4_pack(raw):
    room = _lz4.LZ4F_compressFrameBound(ctypes.c_size_t(len(raw)), None)
    return _call(_lz4.LZ4F_compressFrame, room, raw, ctypes.c_size_t(len(raw)), None)


def _lz4_unpack(raw):
    context = ctypes.c_void_p()
    assert _lz4.LZ4F_createDecompressionContext(ctypes.byref(context), 100) == 0
    out = b""
    room = ctypes.create_string_buffer(1 << 20)
    hint = 1
    while hint and raw:
        made, used = ctypes.c_size_t(len(room)), ctypes.c_size_t(len(raw))
        hint = _lz4.LZ4F_decompress(context, room, ctypes.byref(made), raw, ctypes.byref(used), None)
        assert hint < 1 << 40 and (made.value or used.value), "lz4 failed"
        out += room.raw[: made.value]
        raw = raw[used.value :]
    _lz4.LZ4F_freeDecompressionContext(context)
    assert not hint and not raw, "an lz4 frame that does not end here"
    return out


def _snappy_block(function, room, raw):
    out = ctypes.create_string_buffer(max(room, 1))
    size = ctypes.c_size_t(room)
    assert function(raw, ctypes.c_size_t(len(raw)), out, ctypes.byref(size)) == 0, "snappy failed"
    return out.raw[: size.value]


def _snappy_pack(raw):
    """A raw block, as librdkafka writes it."""
    return _snappy_block(_snappy.snappy_compress, 32 + len(raw) + len(raw) // 6, raw)


def _xerial_pack(raw):
    """Blocks in the framing of Java's client."""
    out = XERIAL + struct.pack(">ii", 1, 1)
    for at in range(0, len(raw), 32768):
        block = _snappy_pack(raw[at : at + 32768])
        out += struct.pack(">i", len(block)) + block
    return out


def _snappy_unblock(raw):
    size = ctypes.c_size_t()
    assert _snappy.snappy_uncompressed_length(raw, ctypes.c_size_t(len(raw)), ctypes.byref(size)) == 0
    assert size.value <= LIMIT
    return _snappy_block(_snappy.snappy_uncompress, size.value, raw)


def _snappy_unpack(raw):
    if not raw.startswith(XERIAL):
        return _snappy_unblock(raw)
    out, at = b"", 16
    while at < len(raw):
        (count,) = struct.unpack_from(">i", raw, at)
        out += _snappy_unblock(raw[at + 4 : at + 4 + count])
        at += 4 + count
    return out


def _gzip_pack(raw):
    stream = zlib.compressobj(wbits=31)
    return stream.compress(raw) + stream.flush()


def _gzip_unpack(raw):
    stream = zlib.decompressobj(wbits=31)
    out = stream.decompress(raw) + stream.flush()
    assert stream.eof and not stream.unused_data
    return out


PACK = {NONE: bytes, GZIP: _gzip_pack, SNAPPY: _snappy_pack, LZ4: _lz4_pack, ZSTD: _zstd_pack}
UNPACK = {NONE: bytes, GZIP: _gzip_unpack, SNAPPY: _snappy_unpack, LZ4: _lz4_unpack, ZSTD: _zstd_unpack}
XERIAL_PACK = _xerial_pack


# ---- CRC-32C ------------------------------------------------------------------------------------


def _table():
    rows = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        rows.append(value)
    return rows


_TABLE = _table()


def crc32c(raw):
    crc = 0xFFFFFFFF
    for byte in raw:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


# ---- records ------------------------------------------------------------------------------------


def varint(value):
    value = value << 1 if value >= 0 else (-value << 1) - 1
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def _nullable(raw):
    return varint(-1) if raw is None else varint(len(raw)) + raw


def write_record(delta, record, base_time):
    timestamp, key, value, headers = record
    body = b"\0" + varint(timestamp - base_time) + varint(delta) + _nullable(key) + _nullable(value)
    body += varint(len(headers))
    for name, content in headers:
        body += _nullable(name.encode()) + _nullable(content)
    return varint(len(body)) + body


class Cursor:
    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def varint(self):
        value = shift = 0
        while True:
            byte = self.raw[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value >> 1 ^ -(value & 1)

    def nullable(self):
        count = self.varint()
        if count < 0:
            assert count == -1
            return None
        self.at += count
        assert self.at <= len(self.raw)
        return bytes(self.raw[self.at - count : self.at])


def read_record(cursor, header):
    size = cursor.varint()
    end = cursor.at + size
    assert cursor.raw[cursor.at] == 0, "attributes of a record"
    cursor.at += 1
    timestamp, offset = cursor.varint() + header["BaseTimestamp"], cursor.varint()
    key, value = cursor.nullable(), cursor.nullable()
    headers = [(cursor.nullable().decode(), cursor.nullable()) for _ in range(cursor.varint())]
    assert cursor.at == end, "a record that does not end where it says"
    if header["Attributes"] & 8:
        timestamp = header["MaxTimestamp"]
    return header["BaseOffset"] + offset, timestamp, key, value, headers


# ---- batches ------------------------------------------------------------------------------------

FIELDS = (
    "BaseOffset", "Length", "LeaderEpoch", "Magic", "Crc", "Attributes", "LastDelta", "BaseTimestamp",
    "MaxTimestamp", "ProducerId", "ProducerEpoch", "BaseSequence", "Count",
)  # fmt: skip


def seal(fields, body):
    """A header in front of the body, with the length and the CRC that they have unless told."""
    fields = {"BaseOffset": 0, "LeaderEpoch": -1, "Magic": 2, "Attributes": 0, "LastDelta": 0,
              "BaseTimestamp": 0, "MaxTimestamp": 0, "ProducerId": -1, "ProducerEpoch": -1,
              "BaseSequence": -1, "Count": 1, **fields}  # fmt: skip
    fields.setdefault("Length", HEADER.size - 12 + len(body))
    bare = HEADER.pack(*(fields.get(name, 0) for name in FIELDS)) + body
    fields.setdefault("Crc", crc32c(bare[21:]))
    return HEADER.pack(*(fields[name] for name in FIELDS)) + body


def build(records, codec=NONE, pack=None, **fields):
    """One batch; `fields` replace those of the header."""
    base = records[0][0]
    body = b"".join(write_record(i, record, base) for i, record in enumerate(records))
    told = {
        "Attributes": codec,
        "LastDelta": len(records) - 1,
        "BaseTimestamp": base,
        "MaxTimestamp": max(record[0] for record in records),
        "Count": len(records),
    }
    return seal({**told, **fields}, (pack or PACK[codec])(body))


def read(raw):
    """The batches of a fetch as (header, records); a cut one at the end is left out, as clients do."""
    found, at = [], 0
    while len(raw) - at >= HEADER.size:
        header = dict(zip(FIELDS, HEADER.unpack_from(raw, at)))
        size = header["Length"] + 12
        if size > len(raw) - at:
            break
        assert header["Magic"] == 2 and crc32c(raw[at + 21 : at + size]) == header["Crc"]
        cursor = Cursor(UNPACK[header["Attributes"] & 7](bytes(raw[at + HEADER.size : at + size])))
        records = [read_record(cursor, header) for _ in range(header["Count"])]
        assert cursor.at == len(cursor.raw), "bytes behind the records"
        found.append((header, records))
        at += size
    return found
