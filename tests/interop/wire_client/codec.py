# SPDX-License-Identifier: Apache-2.0
"""Writes and reads Kafka's messages as layouts.txt describes them; a message is a dict by names.

Reading is strict: what the layout does not allow is a Broken. Tagged fields that the layout does
not know are kept under "?tags", so that a test can see that there are none.
"""

import pathlib
import re
import struct
import uuid

FOREVER = 1 << 15
NUMBERS = {"i8": ">b", "i16": ">h", "u16": ">H", "i32": ">i", "i64": ">q", "f64": ">d", "b": ">b"}
NOTHING = uuid.UUID(int=0)
TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z]\w*)(?P<kind>:(?:\[\])?\w+|[\[{])|(?P<close>[\]}])"
    r"|<(?P<versions>[\d+-]+)>|(?P<null>\?)(?:\((?P<null_in>[\d+-]+)\))?|#t(?P<tag>\d+)"
    r"|=(?P<default>-?\w+))"
)


class Broken(Exception):
    """The bytes are not what the layout says."""


def expect(condition, what):
    if not condition:
        raise Broken(what)


def span(text):
    """'3+', '0-7' or '2' as (first, last)."""
    first, last = re.fullmatch(r"(\d+)(\+|-\d+)?", text).groups()
    if last is None:
        return int(first), int(first)
    return int(first), FOREVER if last == "+" else int(last[1:])


class Field:
    def __init__(self, name, kind):
        self.name = name
        self.array = kind == "[" or kind.startswith(":[]")
        self.type = "struct" if kind in "[{" else kind.lstrip(":[]")
        self.versions, self.null = (0, FOREVER), None
        self.tag, self.default, self.fields = None, None, []

    def present(self, version):
        return self.versions[0] <= version <= self.versions[1]

    def nullable(self, version):
        return self.null is not None and self.null[0] <= version <= self.null[1]

    def standard(self, version):
        """What is sent when a test says nothing."""
        if self.default in ("true", "false"):
            return self.default == "true"
        if self.default is not None:
            return int(self.default, 0)
        if self.nullable(version):
            return None
        if self.array:
            return []
        return {"str": "", "bytes": b"", "RECORDS": b"", "uuid": NOTHING, "struct": None}.get(self.type, 0)


def parse_fields(text):
    top, field = [], None
    opened = [(top, None)]
    at = 0
    while at < len(text):
        token = TOKEN.match(text, at)
        assert token, text[at : at + 40]
        at = token.end()
        if token["name"]:
            field = Field(token["name"], token["kind"])
            opened[-1][0].append(field)
            if token["kind"] in "[{":
                opened.append((field.fields, field))
        elif token["close"]:
            field = opened.pop()[1]
        elif token["versions"]:
            field.versions = span(token["versions"])
        elif token["null"]:
            field.null = span(token["null_in"] or "0+")
        elif token["tag"]:
            field.tag = int(token["tag"])
        else:
            field.default = token["default"]
    assert len(opened) == 1
    return top


class Api:
    def __init__(self, head, request, response):
        key, self.name, announced, flexible = head.split()
        self.key = int(key)
        self.first, self.last = (int(n) for n in announced.split("-"))
        self.flexible_from = FOREVER if flexible == "flexnone" else span(flexible[4:])[0]
        self.request, self.response = parse_fields(request), parse_fields(response)

    def flexible(self, version):
        return version >= self.flexible_from

    def versions(self):
        """Those that can be asked for: Produce announces three that nobody serves any more."""
        return range(3 if self.key == 0 else self.first, self.last + 1)


def load():
    """The APIs of layouts.txt by name."""
    text = pathlib.Path(__file__).with_name("layouts.txt").read_text()
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    apis = {}
    for block in text.strip().split("\n\n"):
        head, rest = block.split("\n", 1)
        request, response = re.fullmatch(r"\s*Q(.*?)\n  R(.*)", rest, re.S).groups()
        api = Api(head, request.strip(), response.strip())
        apis[api.name] = api
    return apis


APIS = load()
BY_KEY = {api.key: api for api in APIS.values()}


# ---- writing ------------------------------------------------------------------------------------


def uvarint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


class Writer:
    """`strange`: a tagged field that nobody knows goes into every struct of a flexible version."""

    def __init__(self, version, flexible, strange=False):
        self.version, self.flexible, self.strange = version, flexible, strange
        self.out = bytearray()

    def length(self, value, form):
        if self.flexible:
            self.out += uvarint(value + 1)
        else:
            self.out += struct.pack(form, value)

    def value(self, field, value):
        form = NUMBERS.get(field.type)
        if form:
            self.out += struct.pack(form, int(value) if field.type != "f64" else value)
        elif field.type == "uuid":
            self.out += value.bytes
        elif field.type == "struct":
            self.struct(field.fields, value)
        elif value is None:
            self.length(-1, ">h" if field.type == "str" else ">i")
        elif field.type == "str":
            raw = value.encode() if isinstance(value, str) else value
            self.length(len(raw), ">h")
            self.out += raw
        else:
            self.length(len(value), ">i")
            self.out += value

    def field(self, field, value):
        if value is None:
            expect(field.nullable(self.version) or field.tag is not None, f"{field.name} cannot be null")
        if not field.array:
            if field.type == "struct" and field.tag is None:
                self.out += b"\xff" if value is None else b"\x01"
                if value is None:
                    return
            self.value(field, value)
            return
        self.length(-1 if value is None else len(value), ">i")
        for item in value or ():
            self.value(field, item)

    def struct(self, fields, values):
        known = {field.name for field in fields}
        assert known >= set(values), f"unknown fields {set(values) - known}"
        tagged = []
        for field in fields:
            if not field.present(self.version):
                continue
            if field.tag is None:
                self.field(field, values.get(field.name, field.standard(self.version)))
            elif field.name in values:
                tagged.append(field)
        if self.flexible:
            self.tags(tagged, values)

    def tags(self, tagged, values):
        self.out += uvarint(len(tagged) + 2 * self.strange)
        for field in sorted(tagged, key=lambda f: f.tag):
            inner = Writer(self.version, True, self.strange)
            inner.field(field, values[field.name])
            self.out += uvarint(field.tag) + uvarint(len(inner.out)) + inner.out
        if self.strange:
            self.out += uvarint(1000) + uvarint(0) + uvarint(70000) + uvarint(200) + b"\xff" * 200


def encode(api, version, values, strange=False):
    writer = Writer(version, api.flexible(version), strange)
    writer.struct(api.request, values)
    return bytes(writer.out)


# ---- reading ------------------------------------------------------------------------------------


class Reader:
    def __init__(self, raw, version, flexible):
        self.raw, self.at = raw, 0
        self.version, self.flexible = version, flexible

    def take(self, count):
        expect(0 <= count <= len(self.raw) - self.at, f"{count} bytes at {self.at} of {len(self.raw)}")
        self.at += count
        return self.raw[self.at - count : self.at]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def uvarint(self):
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                expect(shift == 0 or byte, "a varint that is longer than it need be")
                return value
        raise Broken("a varint without an end")

    def length(self, field, form):
        value = self.uvarint() - 1 if self.flexible else self.number(form)
        expect(value >= -1, f"{field.name} has length {value}")
        expect(value >= 0 or field.nullable(self.version), f"{field.name} is null")
        return value

    def value(self, field):
        if field.type == "b":
            byte = self.take(1)[0]
            expect(byte < 2, f"{field.name} is {byte}")
            return bool(byte)
        if field.type in NUMBERS:
            return self.number(NUMBERS[field.type])
        if field.type == "uuid":
            return uuid.UUID(bytes=bytes(self.take(16)))
        if field.type == "struct":
            return self.struct(field.fields)
        count = self.length(field, ">h" if field.type == "str" else ">i")
        if count < 0:
            return None
        raw = bytes(self.take(count))
        return raw.decode() if field.type == "str" else raw

    def field(self, field):
        if not field.array:
            if field.type == "struct" and field.tag is None:
                mark = self.number(">b")
                expect(mark in (-1, 1), f"{field.name} begins with {mark}")
                expect(mark == 1 or field.nullable(self.version), f"{field.name} is null")
                if mark < 0:
                    return None
            return self.value(field)
        count = self.length(field, ">i")
        plain = Field(field.name, "[" if field.type == "struct" else ":" + field.type)
        plain.array, plain.fields = False, field.fields
        return None if count < 0 else [self.value(plain) for _ in range(count)]

    def struct(self, fields):
        values = {}
        for field in fields:
            if field.present(self.version) and field.tag is None:
                values[field.name] = self.field(field)
        if self.flexible:
            self.tags(fields, values)
        return values

    def tags(self, fields, values):
        known = {f.tag: f for f in fields if f.tag is not None and f.present(self.version)}
        before = -1
        for _ in range(self.uvarint()):
            tag, size = self.uvarint(), self.uvarint()
            expect(tag > before, "tags that do not ascend")
            before = tag
            inner = Reader(self.take(size), self.version, True)
            if tag not in known:
                values.setdefault("?tags", {})[tag] = bytes(inner.raw)
                continue
            values[known[tag].name] = inner.field(known[tag])
            expect(inner.at == size, f"bytes behind the tagged {known[tag].name}")


def strange_tags(value):
    """Tags in an answer that the layouts do not know."""
    if isinstance(value, dict):
        own = list(value.get("?tags", ()))
        return own + [tag for inner in value.values() for tag in strange_tags(inner)]
    if isinstance(value, list):
        return [tag for inner in value for tag in strange_tags(inner)]
    return []


def decode(api, version, raw):
    """The body of a response; every byte of it."""
    reader = Reader(raw, version, api.flexible(version))
    values = reader.struct(api.response)
    expect(reader.at == len(raw), f"{len(raw) - reader.at} bytes behind the last field")
    expect(not strange_tags(values), f"tags {strange_tags(values)}")
    return values
