# SPDX-License-Identifier: Apache-2.0
"""kafka.messages against the layouts of the wire client: the same fields in every version."""

import importlib.util
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
import harness  # noqa: E402 (the folder has to be known first)
import tap  # noqa: E402

from wire_client import codec  # noqa: E402

OURS = 1000  # keys from here on are private


def load_generator():
    path = harness.SOURCE / "libbus/protocol/gen.py"
    spec = importlib.util.spec_from_file_location("gen", path)
    gen = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gen)
    return gen


GEN = load_generator()


def flat_layout(fields, version):
    """What a version has, as lines that can be compared."""
    rows = []
    for f in fields:
        if not f.present(version):
            continue
        rows.append((GEN.snake(f.name), f.type, f.array, f.nullable(version), f.tag))
        rows += [("  " + row[0],) + row[1:] for row in flat_layout(f.fields, version)]
    return rows


def flat_schema(fields, version):
    rows = []
    for f in fields:
        if not f.versions[0] <= version <= f.versions[1]:
            continue
        null = f.null[0] <= version <= f.null[1]
        rows.append((f.name, f.type, f.array, null, None if f.tag < 0 else f.tag))
        rows += [("  " + row[0],) + row[1:] for row in flat_schema(f.fields, version)]
    return rows


def flat_defaults(fields, value):
    rows = {}
    for f in fields:
        rows[GEN.snake(f.name)] = value(f)
        rows.update(flat_defaults(f.fields, value))
    return rows


def same_api(ours, theirs):
    assert ours.name == theirs.name, ours.name
    announced = (ours.announced, ours.versions[1])
    assert announced == (theirs.first, theirs.last), announced
    flexible = codec.FOREVER if ours.flexible == GEN.NEVER else ours.flexible
    assert flexible == theirs.flexible_from, ours.flexible
    for version in theirs.versions():
        for message, layout in ((ours.request, theirs.request), (ours.response, theirs.response)):
            found, wanted = flat_schema(message.fields, version), flat_layout(layout, version)
            assert found == wanted, f"v{version}\nours:   {found}\nlayout: {wanted}"


def same_defaults(ours, theirs):
    """Defaults that the layouts tell are ours too, where a version has to do without the field."""
    first, last = theirs.versions()[0], theirs.last

    def told(f):
        always = f.versions[0] <= first and last <= f.versions[1]
        return None if f.default is None or always else int(f.standard(0))

    for message, layout in ((ours.request, theirs.request), (ours.response, theirs.response)):
        found = flat_defaults(message.fields, lambda f: f.value)
        wanted = flat_defaults(layout, told)
        for name, value in wanted.items():
            if value is not None and name in found:
                assert found[name] == value, (name, found[name], value)


def all_known(apis):
    unknown = [api.name for api in apis if api.key < OURS and api.key not in codec.BY_KEY]
    assert not unknown, unknown


def main():
    apis, _ = GEN.parse(harness.SOURCE / "libbus/protocol/kafka.messages")
    tap.run("every API of ours has a layout", all_known, apis)
    for api in apis:
        if api.key in codec.BY_KEY:
            tap.run(f"{api.name}: the same fields in every version", same_api, api, codec.BY_KEY[api.key])
            tap.run(f"{api.name}: the same defaults", same_defaults, api, codec.BY_KEY[api.key])
    tap.done()


main()
