#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns kafka.messages into messages.h (structs) and messages.c (schema tables).

usage: gen.py kafka.messages OUTPUT_FOLDER

The input's notation is told at its head. Mistakes in it are reported with the
API's name, exit code 1; nothing is written then.
"""

import os
import re
import sys

NEVER = 32767  # SCHEMA_NEVER
DOORS = ("unix", "kafka", "peer")
TYPES = {  # notation: (FIELD_, C type, smallest, largest default)
    "b": ("BOOL", "bool ", 0, 1),
    "i8": ("I8", "int8_t ", -(2**7), 2**7 - 1),
    "i16": ("I16", "int16_t ", -(2**15), 2**15 - 1),
    "u16": ("U16", "uint16_t ", 0, 2**16 - 1),
    "i32": ("I32", "int32_t ", -(2**31), 2**31 - 1),
    "i64": ("I64", "int64_t ", -(2**63), 2**63 - 1),
    "f64": ("F64", "double ", 0, 0),
    "uuid": ("UUID", "struct uuid ", 0, 0),
    "str": ("STR", "const char *", 0, 0),
    "bytes": ("BYTES", "struct bytes ", 0, 0),
    "RECORDS": ("RECORDS", "struct bytes ", 0, 0),
}
TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Z]\w*)(?:/(?P<alias>\w+))?(?P<type>:(?:\[\])?\w+|[\[{])"
    r"|(?P<close>[\]}])|<(?P<versions>[\d+-]+)>|(?P<null>\?)(?:\((?P<null_in>[\d+-]+)\))?"
    r"|#t(?P<tag>\d+)|=(?P<value>-?\w+))"
)


class Mistake(Exception):
    """Something in the input that cannot be meant."""


def need(condition, text):
    if not condition:
        raise Mistake(text)


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def singular(name):
    if name.endswith("ies"):
        return name[:-3] + "y"
    return name[:-1] if name.endswith("s") else name


def parse_range(text):
    """'3+', '0-7' or '2' as (first, last)."""
    found = re.fullmatch(r"(\d+)(?:(\+)|-(\d+))?", text)
    need(found, f"versions {text}")
    first = int(found[1])
    last = NEVER if found[2] else int(found[3] or first)
    need(first <= last, f"versions {text}")
    return first, last


class Field:
    def __init__(self, name, alias, kind):
        self.name = snake(name)
        self.alias = alias or singular(self.name)
        self.array = kind == "[" or kind.startswith(":[]")
        self.type = "struct" if kind in "[{" else kind.lstrip(":[]")
        self.versions = (0, NEVER)
        self.null = (NEVER, NEVER)
        self.tag = -1
        self.value = 0
        self.fields = []
        self.struct = None  # C name of the struct, once known
        need(self.type == "struct" or self.type in TYPES, f"type of {name}: {kind}")

    def modify(self, token):
        if token["versions"]:
            self.versions = parse_range(token["versions"])
        elif token["null"]:
            self.null = parse_range(token["null_in"] or "0+")
        elif token["tag"]:
            self.tag = int(token["tag"])
        else:
            words = {"true": 1, "false": 0}
            self.value = words[token["value"]] if token["value"] in words else int(token["value"], 0)

    def check(self, versions, flexible):
        """That the field makes sense inside something that exists in `versions`."""
        first = max(self.versions[0], versions[0])
        last = min(self.versions[1], versions[1])
        need(first <= last, f"{self.name} is in no version")
        if self.tag >= 0:
            need(first >= flexible, f"{self.name} is tagged before the flexible versions")
        if self.type == "struct" and not self.array:
            need(self.null[0] != NEVER or self.tag >= 0, f"struct {self.name} is never absent")
            need(self.null[0] == NEVER or self.tag < 0, f"struct {self.name} is tagged and null")
            need(self.null[0] in (0, NEVER), f"struct {self.name} is null in some versions only")
        elif self.type != "struct":
            _, _, least, most = TYPES[self.type]
            plain = self.value == 0 or not self.array
            need(plain and least <= self.value <= most, f"default of {self.name}")
        check_fields(self.fields, (first, last), flexible)

    def c_type(self):
        if self.type == "struct":
            return f"struct {self.struct} *"
        text = TYPES[self.type][1]
        return text + "*" if self.array else text


def check_fields(fields, versions, flexible):
    names = [f.name for f in fields] + [f"{f.name}_count" for f in fields if f.array]
    need(len(names) == len(set(names)), f"a name stands twice among {', '.join(names)}")
    tags = [f.tag for f in fields if f.tag >= 0]
    need(tags == sorted(set(tags)), f"tags {tags} do not ascend")
    for field in fields:
        field.check(versions, flexible)


def parse_fields(text):
    """The tree of fields that `text` describes."""
    top = []
    open_lists = [(top, None)]
    field = None
    at = 0
    text = text.strip()
    while at < len(text):
        token = TOKEN.match(text, at)
        need(token, f"cannot read: {text[at:at + 40]}")
        at = token.end()
        if token["name"]:
            field = Field(token["name"], token["alias"], token["type"])
            open_lists[-1][0].append(field)
            if token["type"] in "[{":
                open_lists.append((field.fields, field))
                field = None
        elif token["close"]:
            need(len(open_lists) > 1, "a bracket closes nothing")
            field = open_lists.pop()[1]
            need(token["close"] == ("]" if field.array else "}"), f"bracket of {field.name}")
        else:
            need(field, f"{token[0]} follows no field")
            field.modify(token)
    need(len(open_lists) == 1, "a bracket is not closed")
    return top


class Message:
    """A request, a response or a piece of data: the fields and the C names."""

    def __init__(self, api, kind, text):
        self.title = f"{api.name}{kind}"
        self.struct = snake(self.title)
        self.api = api
        self.fields = parse_fields(text)
        check_fields(self.fields, api.versions, api.flexible)
        self.structs = []  # (C name, title, fields), inner ones first
        self.collect(self.struct, self.title, self.fields)

    def collect(self, struct, title, fields):
        for field in fields:
            if field.type == "struct":
                field.struct = f"{struct}_{field.alias}"
                self.collect(field.struct, f"{title} {field.name}", field.fields)
        self.structs.append((struct, title, fields))


class Api:
    def __init__(self, words):
        need(len(words) >= 3 and words[1].isdigit(), "api KEY Name …")
        self.key, self.name = int(words[1]), words[2]
        options = dict(word.split("=", 1) for word in words[3:])
        self.versions = parse_range(options.pop("versions"))
        need(self.versions[1] != NEVER, "versions without an end")
        self.announced = int(options.pop("announced", self.versions[0]))
        flexible = options.pop("flexible")
        self.flexible = NEVER if flexible == "none" else parse_range(flexible)[0]
        self.doors = options.pop("doors", ",".join(DOORS)).split(",")
        need(all(door in DOORS for door in self.doors), f"doors {self.doors}")
        need(not options, f"unknown options {options}")
        self.request = self.response = None

    def messages(self):
        return [self.request, self.response]


class Data:
    """What is no request: a key or a value of a record."""

    def __init__(self, words, text):
        need(len(words) >= 2, "data Name …")
        self.name = words[1]
        options = dict(word.split("=", 1) for word in words[2:])
        self.versions = parse_range(options.pop("versions"))
        need(self.versions[1] != NEVER, "versions without an end")
        flexible = options.pop("flexible")
        self.flexible = NEVER if flexible == "none" else parse_range(flexible)[0]
        need(not options, f"unknown options {options}")
        self.content = Message(self, "", text)

    def messages(self):
        return [self.content]


def parse_data(block):
    found = re.fullmatch(r"(data [^\n]*)\n\s+F\b(.*)", block, re.S)
    need(found, f"a data block needs F: {block[:40]}")
    try:
        return Data(found[1].split(), found[2])
    except (Mistake, ValueError, KeyError) as mistake:
        raise Mistake(f"{found[1]}: {mistake}") from mistake


def parse(path):
    """The APIs of the file, sorted by key, and its data."""
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file if not re.match(r"\s*#(\s|$)", line)]
    apis = []
    data = []
    for block in re.split(r"^(?=api |data )", "".join(lines), flags=re.M):
        if not block.strip():
            continue
        if block.startswith("data "):
            data.append(parse_data(block))
            continue
        found = re.fullmatch(r"(api [^\n]*)\n\s+Q\b(.*?)\n\s+R\b(.*)", block, re.S)
        need(found, f"an api block needs Q and R: {block[:40]}")
        try:
            api = Api(found[1].split())
            api.request = Message(api, "Request", found[2])
            api.response = Message(api, "Response", found[3])
        except (Mistake, ValueError, KeyError) as mistake:
            raise Mistake(f"{found[1]}: {mistake}") from mistake
        apis.append(api)
    apis.sort(key=lambda api: api.key)
    keys = [api.key for api in apis]
    need(len(keys) == len(set(keys)), "a key stands twice")
    return apis, data


def versions_comment(field):
    """Which versions have the field, and what else to know of it, as a comment."""
    first, last = field.versions
    notes = []
    if (first, last) != (0, NEVER):
        notes.append(f"v{first}+" if last == NEVER else f"v{first}-{last}")
    if field.null[0] == 0 and field.null[1] == NEVER:
        notes.append("may be null")
    elif field.null[0] != NEVER:
        last = "+" if field.null[1] == NEVER else f"-{field.null[1]}"
        notes.append(f"may be null in v{field.null[0]}{last}")
    if field.tag >= 0:
        notes.append(f"tag {field.tag}")
    if field.value:
        notes.append(f"default {field.value}")
    return f" /* {', '.join(notes)} */" if notes else ""


def write_struct(out, struct, fields):
    out.append(f"struct {struct} {{")
    for field in fields:
        out.append(f"    {field.c_type()}{field.name};{versions_comment(field)}")
        if field.array:
            null = " /* -1: null */" if field.null[0] != NEVER else ""
            out.append(f"    int32_t {field.name}_count;{null}")
    if not fields:
        out.append("    char empty; /* the message has no fields */")
    out.append("};\n")


def write_structs(out, title, described):
    text = f"v{described.versions[0]}-{described.versions[1]}"
    flexible = (
        "never flexible" if described.flexible == NEVER else f"flexible from v{described.flexible}"
    )
    out.append(f"/* {title}, {text}, {flexible} */\n")
    for message in described.messages():
        for struct, _, fields in message.structs:
            write_struct(out, struct, fields)
        out += [f"extern const struct schema {s}_schema;" for s, _, _ in message.structs]
        out.append("")


def header(apis, data):
    out = [
        "/* SPDX-License-Identifier: Apache-2.0",
        " * The messages as C structs. Made by gen.py from kafka.messages: do not edit.",
        " */",
        "#ifndef PROTOCOL_MESSAGES_H",
        "#define PROTOCOL_MESSAGES_H\n",
        '#include "protocol/schema.h"\n',
        "/** The keys of the APIs. */",
        "enum api_key {",
    ]
    out += [f"    API_{snake(api.name).upper()} = {api.key}," for api in apis]
    out.append("};\n")
    for api in apis:
        write_structs(out, f"{api.name} (key {api.key})", api)
    for content in data:
        write_structs(out, content.name, content)
    out.append("#endif")
    return "\n".join(out) + "\n"


def field_row(struct, field):
    kind = "STRUCT" if field.type == "struct" else TYPES[field.type][0]
    count = f"offsetof(struct {struct}, {field.name}_count)" if field.array else "0"
    inner = f"&{field.struct}_schema" if field.struct else "NULL"
    value = "INT64_MIN" if field.value == -(2**63) else f"{field.value}LL"
    return (
        f'    {{.name = "{field.name}", .type = FIELD_{kind}, .array = {str(field.array).lower()},'
        f" .first = {field.versions[0]}, .last = {field.versions[1]},\n"
        f"        .null_first = {field.null[0]}, .null_last = {field.null[1]}, .tag = {field.tag},\n"
        f"        .offset = offsetof(struct {struct}, {field.name}), .count_offset = {count},\n"
        f"        .schema = {inner}, .value = {value}}},"
    )


def write_schema(out, message, struct, title, fields):
    if fields:
        out.append(f"static const struct field {struct}_fields[] = {{")
        out += [field_row(struct, field) for field in fields]
        out.append("};\n")
    api = message.api
    out.append(f"const struct schema {struct}_schema = {{")
    out.append(f'    .name = "{title}",')
    out.append(f"    .fields = {f'{struct}_fields' if fields else 'NULL'},")
    out.append(f"    .field_count = {len(fields)}, .size = sizeof(struct {struct}),")
    out.append(f"    .min = {api.versions[0]}, .max = {api.versions[1]},")
    out.append(f"    .flexible_from = {api.flexible},\n}};\n")


def source(apis, data):
    out = [
        "/* SPDX-License-Identifier: Apache-2.0",
        " * The schema tables. Made by gen.py from kafka.messages: do not edit.",
        " */",
        '#include "protocol/apis.h"\n',
    ]
    for described in apis + data:
        for message in described.messages():
            for struct, title, fields in message.structs:
                write_schema(out, message, struct, title, fields)
    out.append("const struct api_info api_table[] = {")
    for api in apis:
        doors = " | ".join(f"API_DOOR_{door.upper()}" for door in api.doors)
        out.append(
            f'    {{.key = {api.key}, .name = "{api.name}", .min_announced = {api.announced},\n'
            f"        .min = {api.versions[0]}, .max = {api.versions[1]},"
            f" .flexible_from = {api.flexible},\n"
            f"        .request = &{api.request.struct}_schema,"
            f" .response = &{api.response.struct}_schema,\n"
            f"        .doors = {doors}}},"
        )
    out.append("};\n")
    out.append("const size_t api_table_count = sizeof api_table / sizeof api_table[0];")
    return "\n".join(out) + "\n"


def main(arguments):
    if len(arguments) != 3:
        sys.exit(__doc__.strip())
    try:
        apis, data = parse(arguments[1])
    except (Mistake, OSError) as mistake:
        sys.exit(f"gen.py: {arguments[1]}: {mistake}")
    os.makedirs(arguments[2], exist_ok=True)
    for name, text in (("messages.h", header(apis, data)), ("messages.c", source(apis, data))):
        with open(os.path.join(arguments[2], name), "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main(sys.argv)
