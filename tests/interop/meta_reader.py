# SPDX-License-Identifier: Apache-2.0
"""Reads the metadata as shmbus-format(7) describes them, and is written from that page only.

Python's library has nothing for LMDB, so there is a walk through its pages here (LMDB 0.9, 64 bits,
little-endian), for files that nobody writes at the moment.
"""

import struct

import reader
from reader import Damage, expect

PAGE_BYTES, HEAD_BYTES = 4096, 16
META = struct.Struct("<IIQQ48s48sQQ")
BRANCH, LEAF = 1, 2
BIG, TREE = 1, 2
NO_PAGE = (1 << 64) - 1


# ---- LMDB ---------------------------------------------------------------------------------------


class Environment:
    def __init__(self, path):
        self.data = path.read_bytes()
        metas = [META.unpack_from(self.data, n * PAGE_BYTES + HEAD_BYTES) for n in (0, 1)]
        expect(all(meta[0] == 0xBEEFC0DE for meta in metas), "no file of LMDB")
        main = max(metas, key=lambda meta: meta[7])[5]
        self.tables = {name.decode(): dict(self._tree(tree)) for name, tree in self._tree(main)}

    def _tree(self, tree):
        return self._pairs(struct.unpack_from("<Q", tree, 40)[0])

    def _pairs(self, number):
        """Keys and values below a page."""
        if number == NO_PAGE:
            return
        start = number * PAGE_BYTES
        flags, lower = struct.unpack_from("<HH", self.data, start + 10)
        for i in range((lower - HEAD_BYTES) // 2):
            (at,) = struct.unpack_from("<H", self.data, start + HEAD_BYTES + 2 * i)
            low, high, kind, key_bytes = struct.unpack_from("<HHHH", self.data, start + at)
            key_at = start + at + 8
            if flags & BRANCH:
                yield from self._pairs(low | high << 16 | kind << 32)
                continue
            expect(flags & LEAF and kind in (0, BIG, TREE), "an unknown page")
            size, value_at = low | high << 16, key_at + key_bytes
            if kind == BIG:
                (first,) = struct.unpack_from("<Q", self.data, value_at)
                value_at = first * PAGE_BYTES + HEAD_BYTES
            yield self.data[key_at : key_at + key_bytes], self.data[value_at : value_at + size]


def content(key, value):
    """A value without its checksum, which is right."""
    expect(len(value) >= 4, "a value without a checksum")
    (crc,) = struct.unpack_from(">I", value)
    expect(crc == reader.crc32c(key + value[4:]), f"the CRC of {key.hex()}")
    return value[4:]


# ---- fields -------------------------------------------------------------------------------------


class Fields:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, form):
        expect(self.at + struct.calcsize(">" + form) <= len(self.data), "a field passes the end")
        (value,) = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return value

    def take(self, count):
        expect(self.at + count <= len(self.data), "a field passes the end")
        self.at += count
        return self.data[self.at - count : self.at]

    def rest(self):
        return self.take(len(self.data) - self.at)

    def uuid(self):
        return self.take(16)

    def string(self):
        length = self.number("H")
        return None if length == 65535 else self.take(length).decode()

    def text(self):
        length = self.number("h")
        return None if length == -1 else self.take(length).decode()

    def form(self):
        expect(self.number("b") == 1, "form")

    def times(self, form, each):
        return [each() for _ in range(self.number(form))]

    def node(self):
        return self.number("i")

    def setting(self):
        return self.string(), self.string()

    def end(self):
        expect(self.at == len(self.data), f"{len(self.data) - self.at} bytes are left")


def whole(data, read):
    fields = Fields(data)
    result = read(fields)
    fields.end()
    return result


# ---- tables -------------------------------------------------------------------------------------


def identity(f):
    f.form()
    return {"node": f.node(), "instance": f.uuid(), "cluster": f.take(22).decode()}


def rule(f):
    row = {name: f.number("b") for name in ("resource", "pattern")}
    row.update({name: f.string() for name in ("name", "principal", "host")})
    return {**row, "operation": f.number("b"), "permission": f.number("b")}


def credential(f):
    mechanism, iterations = f.number("b"), f.number("i")
    expect(mechanism in (1, 2), "a mechanism")
    size = 32 * mechanism
    row = {"mechanism": mechanism, "iterations": iterations, "salt": f.take(f.number("B"))}
    return {**row, "stored key": f.take(size), "server key": f.take(size)}


def command(f):
    row = plain_command(f)
    more = {8: rule, 10: credential}.get(row["type"])
    return {**row, "more": more(f)} if more else row


def plain_command(f):
    f.form()
    return {
        "type": f.number("b"),
        "name": f.string(),
        "topic": f.uuid(),
        "node": f.node(),
        "count": f.number("i"),
        "replicas": f.times("b", f.node),
        "settings": f.times("i", lambda: (f.number("b"), *f.setting())),
    }


def partition(f):
    names = ("leader", "leader epoch", "epoch")
    row = {name: f.number("i") for name in names}
    return {**row, "replicas": f.times("b", f.node), "in sync": f.times("b", f.node)}


def row_of_state(key, f):
    f.form()
    if key[:1] == b"t" and len(key) == 17:
        return {
            "name": f.string(),
            "partitions": f.times("i", lambda: partition(f)),
            "settings": dict(f.times("i", f.setting)),
        }
    if key[:1] == b"n" and len(key) == 5:
        return {"host": f.string(), "port": f.number("i")}
    if key == b"s":
        return dict(f.times("i", f.setting))
    if key[:1] == b"a" and len(key) == 17:
        return rule(f)
    if key[:1] == b"u":
        row = credential(f)
        expect(key[1] == row["mechanism"] and len(key) > 2, f"a row {key.hex()}")
        return row
    expect(key == b"p", f"a row {key.hex()}")
    return f.number("q")


def checkpoint(data):
    names = ("topic", "partition", "generation", "base", "position", "durable", "start")
    expect(len(data) == 56, "the size of a checkpoint")
    return dict(zip(names, struct.unpack("=16siIqqqq", data)))


def removal(f):
    f.form()
    return {"name": f.string(), "partitions": f.number("i"), "memory": f.number("b")}


def member(f):
    row = {name: f.text() for name in ("id", "instance", "client", "host")}
    row.update({name: f.number("i") for name in ("rebalance", "session")})
    row.update({name: f.take(f.number("i")) for name in ("subscription", "assignment")})
    return row


def group_metadata(f):
    expect(f.number("h") == 3, "version")
    return {
        "type": f.text(),
        "generation": f.number("i"),
        "protocol": f.text(),
        "leader": f.text(),
        "since": f.number("q"),
        "members": f.times("i", lambda: member(f)),
    }


def row_of_offsets(key, f):
    kind = key[:1]
    expect(len(key) == (13 if kind == b"4" else 5), f"a row {key.hex()}")
    if kind == b"0":
        return f.number("q")
    if kind == b"1":
        return {"topic": f.uuid(), "end": f.number("q")}
    if kind == b"2":
        return {"topic": f.uuid(), "name": f.rest().decode()}
    if kind == b"3":
        row = {"since": f.number("q"), "name": f.take(f.number("I")).decode()}
        metadata = f.rest()
        return {**row, "metadata": whole(metadata, group_metadata) if metadata else None}
    expect(kind == b"4", f"a row {key.hex()}")
    row = {"offset": f.number("q"), "leader epoch": f.number("i")}
    row.update({name: f.number("q") for name in ("committed", "age", "retention")})
    return {**row, "metadata": f.rest().decode()}


def producer(f):
    row = {"id": f.number("q"), "epoch": f.number("h"), "silent": f.number("q")}
    names = (("sequence", "i"), ("delta", "i"), ("base", "q"), ("time", "q"))
    return {**row, "batches": f.times("b", lambda: {name: f.number(form) for name, form in names})}


def producers(f):
    end, durable = f.number("q"), f.number("q")
    f.form()
    return {"end": end, "durable": durable, "producers": f.times("I", lambda: producer(f))}


class Metadata:
    """All of it, decoded, by table and key."""

    def __init__(self, folder):
        self.raw = {
            table: {key: content(key, value) for key, value in pairs.items()}
            for table, pairs in Environment(folder / "data.mdb").tables.items()
        }
        decode = {
            "identity": lambda _, data: whole(data, identity),
            "log": lambda _, data: whole(data, command),
            "rows": lambda key, data: whole(data, lambda f: row_of_state(key, f)),
            "checkpoints": lambda _, data: checkpoint(data),
            "removals": lambda _, data: whole(data, removal),
            "offsets": lambda key, data: whole(data, lambda f: row_of_offsets(key, f)),
            "producers": lambda _, data: whole(data, producers),
        }
        expect(set(self.raw) == set(decode), f"tables {sorted(self.raw)}")
        for table, pairs in self.raw.items():
            rows = {key: decode[table](key, data) for key, data in pairs.items()}
            setattr(self, table, rows)


def backup(path):
    """The identity's lines, and the rows."""
    text = path.read_bytes()
    cut = text.rindex(b"end ")
    expect(text[cut:] == b"end %08x\n" % reader.crc32c(text[:cut]), "the backup's CRC")
    lines = [line.split(" ") for line in text[:cut].decode().splitlines()]
    expect(lines[0] == ["shmbus-metadata", "1"], "the first line")
    if any(len(line) != (3 if line[0] == "row" else 2) for line in lines):
        raise Damage("a line of the backup")
    rows = {bytes.fromhex(line[1]): bytes.fromhex(line[2]) for line in lines if line[0] == "row"}
    return dict(line for line in lines if line[0] != "row"), rows
