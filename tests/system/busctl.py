# SPDX-License-Identifier: Apache-2.0
"""Every command of busctl with its options, as text and as JSON, against a real busd."""

import base64
import json
import os
import re
import shutil
import subprocess
import time

import harness
import tap

LINES = [f"key{i % 7}:value {i}" for i in range(500)]
TEXT = "".join(line + "\n" for line in LINES)
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
HOUR_MS = 3600 * 1000

bus = harness.Bus()


def fails(done, code, *words):
    missing = [word for word in words if word not in done.stderr]
    assert done.returncode == code and not missing, (code, missing, done)


def consumed(topic, *arguments):
    """Records as JSON objects."""
    return bus.json("consume", "-e", *arguments, topic)


def create(topic, *arguments):
    bus.busctl("topic", "create", topic, *arguments)
    return topic


def script(topic, lines, *settings):
    """Sends records with exact timestamps, nulls and headers through the worker."""
    path = bus.folder / f"{topic}.script"
    path.write_text("".join(line + "\n" for line in lines))
    with open(path, encoding="utf-8") as text:
        worker = bus.worker("script", topic, 0, 0, *settings, stdin=text)
        assert worker.wait() == 0, worker.tail()


# ---- topics -------------------------------------------------------------------------------------


def topics():
    done = bus.busctl("topic", "create", "orders", "-p", "4", "-c", "retention.ms=3600000")
    assert done.stdout == "" and done.stderr == ""
    bus.busctl("topic", "create", "one", "two")
    listed = bus.json("topic", "list")
    assert [(row["topic"], row["partitions"]) for row in listed] == [("one", 1), ("orders", 4), ("two", 1)]
    assert len({row["id"] for row in listed}) == 3
    text = bus.busctl("topic", "list").stdout
    assert all(name in text for name in ("orders", "one", "two")), text
    one = bus.json("topic", "describe", "orders")[0]
    assert one["topic"] == "orders" and one["partition_count"] == 4, one
    expected = {"start_offset": 0, "end_offset": 0, "durable_offset": 0}
    for number, row in enumerate(one["partitions"]):
        assert row["partition"] == number and row.items() >= expected.items(), row
    assert one["settings"] == [{"name": "retention.ms", "value": "3600000", "default": False}], one
    everything = bus.json("topic", "describe", "--all", "orders", "one")
    assert [row["topic"] for row in everything] == ["orders", "one"]
    assert len(everything[0]["settings"]) > 15
    assert "retention.ms" in bus.busctl("topic", "describe", "orders").stdout


def topic_alter():
    create("altered")
    bus.busctl("topic", "alter", "altered", "-c", "segment.ms=60000", "-c", "retention.bytes=1g", "-p", "3")
    one = bus.json("topic", "describe", "altered")[0]
    settings = {row["name"]: row["value"] for row in one["settings"]}
    assert one["partition_count"] == 3, one
    assert settings == {"segment.ms": "60000", "retention.bytes": str(1 << 30)}, settings
    bus.busctl("topic", "alter", "altered", "-c", "segment.ms")
    one = bus.json("topic", "describe", "altered")[0]
    assert [row["name"] for row in one["settings"]] == ["retention.bytes"], one
    bus.busctl("produce", "-p", "2", "altered", stdin="to the new partition\n")
    assert consumed("altered")[0]["partition"] == 2
    fails(bus.busctl("topic", "alter", "altered", check=False), 2, "-c", "-p")
    fails(bus.busctl("topic", "alter", "altered", "-p", "2", check=False), 1, "altered", "3")
    done = bus.busctl("topic", "alter", "altered", "-c", "segment.ms=5", "-c", "nonsense=1", check=False)
    fails(done, 1, "nonsense")
    one = bus.json("topic", "describe", "altered")[0]
    assert [row["name"] for row in one["settings"]] == ["retention.bytes"], "all or none"


def topic_delete():
    create("goes", "stays")
    bus.busctl("produce", "goes", stdin="x\n")
    # Standard input is no terminal, so nothing is asked.
    bus.busctl("topic", "delete", "goes")
    names = [row["topic"] for row in bus.json("topic", "list")]
    assert "goes" not in names and "stays" in names, names
    assert not bus.partition_folder("goes").exists()
    create("goes")
    assert consumed("goes") == [], "a topic of the same name begins anew"
    done = bus.busctl("topic", "delete", "--yes", "goes", "unknown", "stays", check=False)
    fails(done, 1, "unknown")
    names = [row["topic"] for row in bus.json("topic", "list")]
    assert "goes" not in names and "stays" not in names, names


def topic_compact():
    create("compacted", "-p", "2", "-c", "cleanup.policy=compact")
    for _ in range(3):
        bus.busctl("produce", "-k", ":", "-p", "0", "compacted", stdin=TEXT)
    rows = bus.json("topic", "compact", "compacted")
    assert [row["partition"] for row in rows] == [0, 1], rows
    first = rows[0]
    assert first["result"] == "compacted" and first["clean_offset"] == 1500, rows
    assert first["records_removed"] == 1500 - 7 and first["bytes_after"] < first["bytes_before"], rows
    assert rows[1]["result"] == "nothing to do" and rows[1]["records_removed"] == 0, rows
    left = {row["key"]: row["value"] for row in consumed("compacted")}
    assert left == dict(line.split(":") for line in LINES), left
    assert len(consumed("compacted")) == 7
    (again,) = bus.json("topic", "compact", "-p", "0", "compacted")
    assert again["result"] in ("compacted", "nothing to do") and again["records_removed"] == 0, again
    bus.busctl("produce", "-k", ":", "-p", "1", "compacted", stdin=TEXT)
    (asked,) = bus.json("topic", "compact", "-p", "1", "--no-wait", "compacted")
    assert asked["partition"] == 1 and asked["result"] in ("asked", "compacted"), asked
    bus.busctl("topic", "compact", "compacted")
    assert len(consumed("compacted", "-p", "1")) == 7
    assert bus.busctl("topic", "compact", "compacted").stdout.count("\n") == 3
    create("kept")
    fails(bus.busctl("topic", "compact", "kept", check=False), 1, "kept", "cleanup.policy")
    fails(bus.busctl("topic", "compact", "unknown", check=False), 1, "no topic unknown", "topic create")
    fails(bus.busctl("topic", "compact", "-p", "2", "compacted", check=False), 1, "compacted", "partition 2")
    fails(bus.busctl("topic", "compact", "-p", "x", "compacted", check=False), 2, "-p x")
    fails(bus.busctl("topic", "compact", check=False), 2, "topic")


# ---- produce and consume ------------------------------------------------------------------------


def round_trip():
    create("lines")
    done = bus.json("produce", "lines", stdin=TEXT)
    assert done == [{"records": 500, "without_key": 0, "done": True}], done
    assert bus.busctl("consume", "-e", "lines").stdout == TEXT
    rows = consumed("lines")
    assert [row["offset"] for row in rows] == list(range(500))
    assert [row["value"] for row in rows] == LINES
    assert all(row["key"] is None and row["topic"] == "lines" and row["headers"] == [] for row in rows)
    now = time.time() * 1000
    assert all(now - HOUR_MS < row["timestamp"] <= now + 1000 for row in rows)


def last_line():
    create("last")
    bus.busctl("produce", "last", stdin="a\n\nb")
    assert [row["value"] for row in consumed("last")] == ["a", "", "b"]


def files():
    create("files")
    paths = []
    for number in range(3):
        paths.append(bus.folder / f"file{number}")
        paths[-1].write_text(f"first of {number}\nsecond of {number}\n")
    bus.busctl("produce", "files", paths[0], "-", paths[2], stdin="from stdin\n")
    values = [row["value"] for row in consumed("files")]
    assert values == ["first of 0", "second of 0", "from stdin", "first of 2", "second of 2"], values
    done = bus.busctl("produce", "files", paths[1], bus.folder / "missing", check=False)
    fails(done, 1, str(bus.folder / "missing"))
    fails(bus.busctl("produce", "files", bus.folder, check=False), 1, str(bus.folder), "folder")
    assert len(consumed("files")) == 7, "what came before the trouble was sent"


def keys():
    create("keys", "-p", "4")
    bus.busctl("produce", "-k", ":", "keys", stdin=TEXT)
    rows = consumed("keys")
    assert sorted(f"{row['key']}:{row['value']}" for row in rows) == sorted(LINES)
    places = {}
    for row in rows:
        assert places.setdefault(row["key"], row["partition"]) == row["partition"], "a key moved"
    assert len(set(places.values())) > 1, places
    for partition in range(4):
        offsets = [row["offset"] for row in rows if row["partition"] == partition]
        assert offsets == list(range(len(offsets)))


def delimiters():
    create("stanzas")
    bus.busctl("produce", "-D", r"\n\n", "-k", r"\t", "stanzas", stdin="a\t1\n2\n\nb\t3\n\nc\t\x00")
    rows = consumed("stanzas")
    pairs = [(row["key"], row["value"]) for row in rows]
    assert pairs == [("a", "1\n2"), ("b", "3"), ("c", "\x00")], pairs
    fails(bus.busctl("produce", "-D", r"\q", "stanzas", check=False), 2, r"\q")
    fails(bus.busctl("produce", "-D", "", "stanzas", check=False), 2, "delimiter")


def headers_and_nulls():
    create("headers")
    bus.busctl("produce", "-H", "a=1", "-H", "b=x=y", "-H", "empty=", "-Z", "-k", ":", "headers", stdin="k:v\nk:\n")
    rows = consumed("headers")
    expected = [{"key": k, "value": v} for k, v in (("a", "1"), ("b", "x=y"), ("empty", ""))]
    assert all(row["headers"] == expected for row in rows), rows
    assert [row["value"] for row in rows] == ["v", None], rows
    fails(bus.busctl("produce", "-H", "novalue", "headers", check=False), 2, "novalue")


def partition():
    create("chosen", "-p", "3")
    bus.busctl("produce", "-p", "2", "chosen", stdin="a\nb\n")
    bus.busctl("produce", "-p", "0", "chosen", stdin="c\n")
    places = [(row["partition"], row["offset"], row["value"]) for row in consumed("chosen")]
    assert sorted(places) == [(0, 0, "c"), (2, 0, "a"), (2, 1, "b")], places
    assert [row["value"] for row in consumed("chosen", "-p", "0")] == ["c"]
    assert [row["value"] for row in consumed("chosen", "-p", "1-2")] == ["a", "b"]
    assert len(consumed("chosen", "-p", "0,2")) == 3
    done = bus.busctl("produce", "-p", "3", "chosen", stdin="d\n", check=False)
    fails(done, 1, "chosen", "0 to 2")
    assert "before" not in done.stderr, "nothing was sent before the first record"
    fails(bus.busctl("consume", "-p", "3", "-e", "chosen", check=False), 1, "3", "0 to 2")
    fails(bus.busctl("consume", "-p", "x", "-e", "chosen", check=False), 2, "x")


def acks():
    create("acks")
    for acks_text in ("0", "1", "all"):
        bus.busctl("produce", "--acks", acks_text, "acks", stdin=acks_text + "\n")
    assert [row["value"] for row in consumed("acks")] == ["0", "1", "all"]
    state = bus.partitions("acks")[0]
    assert state["durable_offset"] == 3, state
    fails(bus.busctl("produce", "--acks", "2", "acks", check=False), 2, "acks", "0|1|all")
    bus.busctl("produce", "--linger", "5", "-X", "batch.size=1k", "acks", stdin=TEXT)
    assert len(consumed("acks")) == 503
    fails(bus.busctl("produce", "-X", "batch.sise=1k", "acks", check=False), 2, "batch.sise", "batch.size")
    fails(bus.busctl("produce", "--linger", "x", "acks", check=False), 2, "linger.ms")


def compression():
    for codec in CODECS:
        topic = create(f"codec-{codec}")
        done = bus.busctl("produce", "--compression", codec, "-k", ":", topic, stdin=TEXT, check=False)
        if done.returncode != 0 and codec != "zstd":
            assert codec in done.stderr and "build" in done.stderr, done
            continue
        assert done.returncode == 0, done
        rows = consumed(topic)
        assert [f"{row['key']}:{row['value']}" for row in rows] == LINES, codec
        batches = bus.json("log", "dump", bus.partition_folder(topic))
        assert {row["codec"] for row in batches} == {codec}, batches
        assert all(row["crc_ok"] for row in batches)
    fails(bus.busctl("produce", "--compression", "rar", "x", check=False), 2, "compression.type", "zstd")


def strict():
    create("strict")
    text = "a:1\nno key\nb:2\nneither\n"
    done = bus.busctl("produce", "-k", ":", "strict", stdin=text)
    assert "2 records" in done.stderr and "record 2" in done.stderr and "--strict" in done.stderr, done
    create("lenient")
    done = bus.busctl("produce", "-k", ":", "lenient", stdin="no key\n")
    assert "1 record without" in done.stderr, done
    pairs = [(row["key"], row["value"]) for row in consumed("strict")]
    assert pairs == [("a", "1"), (None, "no key"), ("b", "2"), (None, "neither")], pairs
    told = bus.json("produce", "-k", ":", "strict", stdin=text)
    assert told == [{"records": 4, "without_key": 2, "done": True}], told
    done = bus.busctl("produce", "--strict", "-k", ":", "strict", stdin=text, check=False)
    fails(done, 1, "record 2", "':'", "--strict")
    assert len(consumed("strict")) == 9, "the record before the mistake was sent, none behind it"


# ---- where to begin, when to end ----------------------------------------------------------------


def starts():
    create("starts")
    now = int(time.time() * 1000)
    times = [now - 3 * HOUR_MS, now - 2 * HOUR_MS, now - HOUR_MS // 2, now]
    script("starts", [f"{ms} - {f'v{i}'.encode().hex()}" for i, ms in enumerate(times)])

    def values(start, *arguments):
        return [row["value"] for row in consumed("starts", "-o", start, *arguments)]

    every = ["v0", "v1", "v2", "v3"]
    assert values("beginning") == every
    assert values("end") == []
    assert values("0") == every and values("3") == ["v3"] and values("4") == []
    assert values("-1") == ["v3"] and values("-3") == every[1:] and values("-100") == every
    assert values("@-1h") == every[2:]
    assert values("@-2h30m") == every[1:]
    assert values("@-1w") == every
    assert values(f"@{times[1]}") == every[1:]
    assert values(f"@{times[1] + 1}") == every[2:]
    assert values(f"@{times[1] // 1000}") == every[1:]
    assert values("@now") == []
    stamp = time.strftime("@%Y-%m-%dT%H:%M:%SZ", time.gmtime(times[2] / 1000))
    assert values(stamp) == every[2:], stamp
    assert values("@2001-01-01") == every
    assert values("1", "-c", "2") == ["v1", "v2"]
    assert values("beginning", "-c", "0") == []
    for bad in ("@yesterday", "@-1x", "@2026-13-01", "first", "1x"):
        fails(bus.busctl("consume", "-e", "-o", bad, "starts", check=False), 2, bad.lstrip("@"))


def ranges():
    create("ranges")
    now = int(time.time() * 1000)
    times = [now - 3 * HOUR_MS, now - 2 * HOUR_MS, now - HOUR_MS // 2, now]
    script("ranges", [f"{ms} - {f'v{i}'.encode().hex()}" for i, ms in enumerate(times)])

    def values(range_, *arguments):
        # Without -e: a range ends by itself.
        return [row["value"] for row in bus.json("consume", "-p", "0", "-o", range_, *arguments, "ranges")]

    assert values("1:3") == ["v1", "v2"]
    assert values("2:2") == [] and values("2:100") == ["v2", "v3"]
    assert values("beginning:1") == ["v0"] and values("3:end") == ["v3"]
    assert values("-3:-1") == ["v1", "v2"] and values("1:-1") == ["v1", "v2"]
    assert values("@-1w:@-1h") == ["v0", "v1"]
    assert values("@-2h30m:@-20m") == ["v1", "v2"]
    assert values(f"@{times[0]}:@{times[2]}") == ["v0", "v1"], "the end does not belong to it"
    assert values(f"@{times[1]}:@{now + HOUR_MS}") == ["v1", "v2", "v3"]
    assert values("@-1m:@-1m") == []
    stamps = [time.strftime("@%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms / 1000)) for ms in times]
    assert values(f"{stamps[1]}:{stamps[2]}") == ["v1"], stamps
    assert values("0:3", "-c", "1") == ["v0"]
    bus.busctl("topic", "alter", "ranges", "-p", "2")
    both = bus.json("consume", "-o", "@-1w:@-1h", "ranges")
    assert [row["value"] for row in both] == ["v0", "v1"], "the other partition is empty"
    text = bus.busctl("consume", "-p", "0", "-o", "beginning:2", "ranges").stdout
    assert text == "v0\nv1\n", text
    for bad in ("3:1", "-1:-3", "@-1h:@-2h", "end:1"):
        done = bus.busctl("consume", "-o", bad, "ranges", check=False)
        fails(done, 2, "ends at", "before its start")
    for bad in ("1:", ":1", "1:2:3", "@-1h:@", "@-1h:5"):
        fails(bus.busctl("consume", "-o", bad, "ranges", check=False), 2, "write")


def outside():
    create("outside")
    bus.busctl("produce", "outside", stdin="a\nb\n")
    done = bus.busctl("consume", "-e", "-o", "7", "outside", check=False)
    fails(done, 1, "outside-0", "0 to 2", "7", "begin at")
    coming = time.strftime("@%Y-%m-%d", time.localtime(time.time() + 48 * HOUR_MS / 1000))
    done = bus.busctl("consume", "-e", "-o", coming, "outside")
    assert done.stdout == "" and "is in the future" in done.stderr, done
    assert bus.busctl("consume", "-e", "-o", "@now", "outside").stderr == ""


def count_without_exit():
    """-c ends it without -e; more records than there are are waited for."""
    create("count")
    bus.busctl("produce", "count", stdin="a\nb\n")
    assert bus.busctl("consume", "-c", "1", "count").stdout == "a\n"
    busctl = harness.BUILD / "tools/busctl/busctl"
    waiting = bus.spawn(
        [busctl, "--socket", bus.socket, "consume", "-c", "3", "count"], "consume", env=bus.environment()
    )
    waiting.line("^b$")
    bus.busctl("produce", "count", stdin="c\nd\n")
    assert waiting.wait() == 0 and waiting.out() == "a\nb\nc\n", waiting.tail()


def follow_until_interrupted():
    create("follow")
    busctl = harness.BUILD / "tools/busctl/busctl"
    command = [busctl, "--socket", bus.socket, "consume", "-o", "end", "-J", "follow"]
    bus.busctl("produce", "follow", stdin="old\n")
    follower = bus.spawn(command, "consume", env=bus.environment())

    def told():
        bus.busctl("produce", "follow", stdin="new\n")
        return follower.lines()

    rows = [json.loads(line) for line in harness.until(told, "the follower to see something")]
    assert all(row["value"] == "new" for row in rows), rows
    follower.signal(2)
    assert follower.wait() == 0, follower.tail()


def formats():
    create("formats", "-p", "2")
    script("formats", ["1234 6b31 7631 6831 6131 6832 -", "5678 - -"], "worker.partition=1")
    text = bus.busctl("consume", "-e", "-f", r"%t|%p|%o|%k|%s|%h|%T|%K|%S|%%|\t|\x41\n", "formats").stdout
    expected = "formats|1|0|k1|v1|h1=a1,h2=|1234|2|2|%|\t|A\nformats|1|1||||5678|-1|-1|%|\t|A\n"
    assert text == expected, text
    rows = consumed("formats", "-J")
    assert rows[0]["headers"] == [{"key": "h1", "value": "a1"}, {"key": "h2", "value": None}], rows
    assert rows[0]["timestamp"] == 1234 and rows[1]["key"] is None and rows[1]["value"] is None, rows
    for bad in ("%q", "abc%", r"\q"):
        fails(bus.busctl("consume", "-e", "-f", bad, "formats", check=False), 2, bad[-2:].lstrip("c"))


def binary():
    """Any bytes come through; JSON has what is no UTF-8 as base64."""
    create("binary")
    value = bytes(range(256))
    script("binary", [f"1 ff00 {value.hex()}"])
    row = consumed("binary")[0]
    assert base64.b64decode(row["value"]["base64"]) == value, row
    assert base64.b64decode(row["key"]["base64"]) == b"\xff\x00", row
    done = subprocess.run(
        [str(harness.BUILD / "tools/busctl/busctl"), "--socket", str(bus.socket), "consume", "-e", "binary"],
        env=bus.environment(),
        capture_output=True,
        check=True,
    )
    assert done.stdout == value + b"\n"


def durable_only():
    create("durable")
    bus.busctl("produce", "durable", stdin="flushed\n")
    assert [row["value"] for row in consumed("durable", "--durable")] == ["flushed"]
    assert [row["value"] for row in consumed("durable", "-X", "check.crcs=true")] == ["flushed"]
    fails(bus.busctl("consume", "-X", "check.crc=true", "durable", check=False), 2, "check.crcs")


# ---- segment files ------------------------------------------------------------------------------


def one_segment(topic, *arguments):
    create(topic, *arguments)
    bus.busctl("produce", "-X", "batch.size=2k", "--acks", "all", "-k", ":", topic, stdin=TEXT)
    # busd goes on working in its folder, so only what does not change any more is taken.
    name = f"{0:020}.log"
    folder = bus.folder / f"{topic}.copy"
    folder.mkdir()
    path = folder / name
    shutil.copy(bus.partition_folder(topic) / name, path)
    return path


def log_dump():
    path = one_segment("dumped")
    batches = bus.json("log", "dump", path)
    assert len(batches) > 3 and sum(row["records"] for row in batches) == 500, batches
    position = offset = 0
    for row in batches:
        assert (row["position"], row["base_offset"]) == (position, offset), row
        assert row["last_offset"] == offset + row["records"] - 1 and row["crc_ok"], row
        assert row["timestamp_type"] == "CreateTime" and row["codec"] == "none", row
        position += row["bytes"]
        offset += row["records"]
    records = bus.json("log", "dump", "-r", path)
    assert [f"{row['key']}:{row['value']}" for row in records] == LINES
    few = bus.json("log", "dump", "-r", "-o", "100", "-c", "3", path)
    assert [row["offset"] for row in few] == [100, 101, 102], few
    assert bus.busctl("log", "dump", path.parent).stdout.count("\n") >= len(batches)
    done = bus.busctl("log", "dump", bus.folder / "nothing", check=False)
    fails(done, 1, str(bus.folder / "nothing"))


def log_verify_good():
    path = one_segment("verified")
    for what in (path, path.parent, bus.data):
        summary = bus.json("log", "verify", what)[-1]
        assert summary["damages"] == 0 and summary["records"] >= 500, summary
    assert "500" in bus.busctl("log", "verify", path).stdout


def log_verify_compacted():
    """Where offsets may be missing, the folder tells; elsewhere a missing one is damage."""
    create("squeezed", "-c", "cleanup.policy=compact")
    for _ in range(3):
        # Of idempotent producers a batch would stay, without records.
        bus.busctl("produce", "-X", "enable.idempotence=false", "-k", ":", "squeezed", stdin=TEXT)
    bus.busctl("topic", "compact", "squeezed")
    assert len(consumed("squeezed")) == 7
    bus.busctl("log", "verify", bus.partition_folder("squeezed"))
    folder = shutil.copytree(bus.partition_folder("squeezed"), bus.folder / "squeezed")
    checkpoint = folder / "cleaner-checkpoint"
    first = folder / f"{0:020}.log"
    good = checkpoint.read_text()
    assert good.split() == ["0", "clean", "1500", "rewritten", "1500"], good

    def damages(*arguments):
        done = bus.busctl("--json", "log", "verify", *arguments, folder, check=False)
        summary = json.loads(done.stdout.splitlines()[-1])
        assert (done.returncode != 0) == (summary["damages"] > 0), done
        return summary["damages"], done.stderr

    assert damages()[0] == 0
    bus.busctl("log", "verify", first)
    # Not compacted so far: what is missing there is lost.
    checkpoint.write_text(good.replace("rewritten 1500", "rewritten 10"))
    count, told = damages()
    assert count > 0 and "the offsets 0 to 999 are missing" in told, told
    assert damages("-C") == (0, "")
    for bad in ("", "nonsense", "1\nclean 1500\nrewritten 1500\n", good + "and more\n"):
        checkpoint.write_text(bad)
        count, told = damages()
        assert count == 1 and f"{checkpoint}: " in told and "no cleaner-checkpoint" in told, told
    checkpoint.unlink()
    assert damages()[0] > 0 and damages("-C")[0] == 0
    # A crash in the middle of an exchange leaves segments that count no more.
    left = folder / f"{5:020}.log"
    shutil.copy(first, left)
    checkpoint.write_text(good)
    assert damages()[0] > 0
    checkpoint.write_text(f"{good}swap 0 1500 {first.stat().st_size}\n")
    assert damages() == (0, "")
    left.rename(folder / f"{1500:020}.log")
    assert damages()[0] > 0, "only what the exchange covers"


def log_of_indexes():
    """An index file is dumped entry by entry, and verified with its segment."""
    path = one_segment("pointed", "-c", "index.interval.bytes=512")
    folder = bus.partition_folder("pointed")
    for suffix, size in ((".index", 8), (".timeindex", 12)):
        harness.until(
            lambda: any(p.stat().st_size >= size for p in folder.glob("*" + suffix)), f"an entry in {suffix}"
        )
        shutil.copy(folder / (path.stem + suffix), path.with_suffix(suffix))
    batches = {row["position"]: row for row in bus.json("log", "dump", path)}
    rows = bus.json("log", "dump", path.with_suffix(".index"))
    assert rows and all(batches[row["position"]]["last_offset"] == row["offset"] for row in rows), rows
    rows = bus.json("log", "dump", path.with_suffix(".timeindex"))
    assert rows and all(list(row) == ["timestamp", "offset"] for row in rows), rows
    times = {row["last_offset"]: row["max_timestamp"] for row in batches.values()}
    assert all(times[row["offset"]] == row["timestamp"] for row in rows), (rows, times)
    done = bus.busctl("log", "dump", path.with_suffix(".index"), path)
    assert "OFFSET  POSITION" in done.stdout and "BASE OFFSET" in done.stdout, "two tables"
    for suffix in (".index", ".timeindex", ".log"):
        summary = bus.json("log", "verify", path.with_suffix(suffix))[-1]
        assert (summary["indexes"], summary["records"], summary["damages"]) == (2, 500, 0), summary
    fails(bus.busctl("log", "dump", "-r", path.with_suffix(".index"), check=False), 1, "-r", str(path)[:-4])
    with open(path.with_suffix(".timeindex"), "ab") as file:
        file.write(b"\1\2\3")
    for command in ("dump", "verify"):
        done = bus.busctl("log", command, path.with_suffix(".timeindex"), check=False)
        fails(done, 1, str(path.with_suffix(".timeindex")), "cut off", "remove the file")
    fails(bus.busctl("log", "dump", bus.folder / "no.index", check=False), 1, str(bus.folder / "no.index"))


def log_of_other_files():
    """What has no batch in it is not called sound."""
    other = bus.folder / "other"
    other.write_text("no segment\n" * 1000)
    folder = bus.partition_folder(create("others"))
    bus.busctl("produce", "others", stdin="x\n")
    for path in (other, bus.data / "format", bus.data / "meta/data.mdb", folder / "writers.lock"):
        for command in ("dump", "verify"):
            done = bus.busctl("log", command, path, check=False)
            fails(done, 1, str(path), "no batch", "name a segment")
    (bus.folder / "none").mkdir()
    for command in ("dump", "verify"):
        done = bus.busctl("log", command, bus.folder / "none", check=False)
        fails(done, 1, str(bus.folder / "none"), "no segment file")
        fails(bus.busctl("log", command, bus.folder / "gone", check=False), 1, "gone", "name a file")
    # A spare is a segment, with nothing in it yet.
    harness.until(lambda: list(folder.glob("spare-*.log")), "a spare")
    spare = next(folder.glob("spare-*.log"))
    assert bus.json("log", "verify", spare)[-1]["files"] == 1 and bus.json("log", "dump", spare) == []
    # Under whatever name, a copy of a segment is one.
    shutil.copy(one_segment("renamed"), bus.folder / "any-name")
    assert bus.json("log", "verify", bus.folder / "any-name")[-1]["records"] == 500


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def log_verify_damaged():
    path = one_segment("damaged")
    batches = bus.json("log", "dump", path)
    second = batches[1]
    flip(path, second["position"] + 100)
    done = bus.busctl("--json", "log", "verify", path, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    fails(done, 1, str(path), f"position {second['position']}", f"offset {second['base_offset']}")
    assert rows[-1]["damages"] == 1 and rows[0]["offset"] == second["base_offset"], rows
    assert rows[-1]["records"] == 500 - second["records"], rows
    done = bus.busctl("--json", "log", "dump", path, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and [row["crc_ok"] for row in rows].count(False) == 1, done
    # A header that makes no sense: everything behind it is still found.
    flip(path, second["position"] + 100)
    flip(path, second["position"] + 16)
    done = bus.busctl("--json", "log", "dump", "-r", path, check=False)
    offsets = [json.loads(line)["offset"] for line in done.stdout.splitlines()]
    gone = set(range(second["base_offset"], second["last_offset"] + 1))
    fails(done, 1, f"position {second['position']}")
    assert offsets == [offset for offset in range(500) if offset not in gone], offsets
    fails(bus.busctl("log", "verify", path, check=False), 1, f"position {second['position']}")


def log_verify_cut():
    """A hole of zeros in the middle, and a file that ends within a batch."""
    path = one_segment("cut")
    batches = bus.json("log", "dump", path)
    with open(path, "r+b") as file:
        file.seek(batches[1]["position"])
        file.write(bytes(batches[1]["bytes"]))
    fails(bus.busctl("log", "verify", path, check=False), 1, f"position {batches[1]['position']}")
    path = one_segment("short")
    batches = bus.json("log", "dump", path)
    os.truncate(path, batches[-1]["position"] + batches[-1]["bytes"] - 1)
    fails(bus.busctl("log", "verify", path, check=False), 1, f"position {batches[-1]['position']}")


def log_verify_index():
    path = one_segment("indexed", "-c", "index.interval.bytes=512")
    folder = bus.partition_folder("indexed")
    harness.until(
        lambda: any(p.stat().st_size >= 16 for p in folder.glob("*.index")), "an index with two entries"
    )
    copy = next(folder.glob("*.index"))
    index = path.with_suffix(".index")
    shutil.copy(copy, index)
    bus.busctl("log", "verify", path)
    flip(index, 15)
    fails(bus.busctl("log", "verify", path, check=False), 1, str(index), "remove")
    os.unlink(index)
    bus.busctl("log", "verify", path)


# ---- the rest -----------------------------------------------------------------------------------


def bench():
    common = ("--runs", "1", "--count", "200")
    row = bus.json("bench", "latency", *common)[0]
    expected = ["bench", "size", "batch", "p50_ns", "p99_ns", "p999_ns", "floor_p50_ns"]
    assert list(row) == expected and row["bench"] == "latency" and row["size"] == 32, row
    row = bus.json("bench", "throughput", "--size", "50", "--batch", "10", *common)[0]
    expected = ["bench", "size", "batch", "msgs_per_s", "bytes_per_s", "floor_bytes_per_s"]
    assert list(row) == expected and (row["size"], row["batch"]) == (50, 10), row
    row = bus.json("bench", "durable", "--producers", "2", "--runs", "1", "--seconds", "1")[0]
    assert list(row) == expected + ["producers", "p99_us", "floor_fdatasync_p99_us"], row
    assert row["producers"] == 2 and all(v > 0 for v in row.values() if not isinstance(v, str)), row
    text = bus.busctl("bench", "throughput", *common).stdout
    assert re.search(r"\d", text) and "{" not in text, text
    row = bus.json("bench", "latency", "--floor-only", "--runs", "1")[0]
    assert row["floor_p50_ns"] > 0 and "p50_ns" not in row, row
    left = [row["topic"] for row in bus.json("topic", "list") if "bench" in row["topic"]]
    assert left == [], "a bench removes its topics"


def config():
    rows = bus.json("config", "list")
    scopes = {row["scope"] for row in rows}
    assert scopes >= {"topic", "busd", "client", "producer", "consumer"}, scopes
    assert list(rows[0]) == ["name", "scope", "type", "default", "range", "unit"], rows[0]
    only = bus.json("config", "list", "--scope", "topic")
    assert {row["scope"] for row in only} == {"topic"} and 0 < len(only) < len(rows)
    busd = {row["name"]: row for row in bus.json("config", "list", "--busd")}
    assert busd["log.segment.bytes"]["value"] == str(1 << 20), busd["log.segment.bytes"]
    assert not busd["log.segment.bytes"]["default"] and busd["num.partitions"]["default"]
    create("configured", "-c", "segment.ms=1h")
    topic = {row["name"]: row for row in bus.json("config", "list", "--topic", "configured")}
    assert topic["segment.ms"]["value"] == str(HOUR_MS) and not topic["segment.ms"]["default"], topic
    assert topic["segment.bytes"]["value"] == str(1 << 20), "busd's own value is the topic's default"
    assert "retention.ms" in bus.busctl("config", "list").stdout
    fails(bus.busctl("config", "list", "--scope", "x", check=False), 2, "x", "topic")
    row = bus.json("config", "explain", "retention.ms")[0]
    assert row["scope"] == "topic" and "records" in row["text"], row
    assert "Where" in bus.busctl("config", "explain", "socket.path").stdout
    fails(bus.busctl("config", "explain", "retention.mss", check=False), 1, "retention.ms")
    assert len(bus.json("config", "explain")) == len(rows)
    # All that busd takes is there, and nothing else.
    assert {row["name"] for row in rows if row["scope"] == "busd"} == set(busd)
    row = bus.json("config", "explain", "log.segment.bytes")[0]
    assert row["default_of"] == "segment.bytes" and row["scope"] == "busd", row
    row = bus.json("config", "explain", "segment.bytes")[0]
    assert row["busd_setting"] == "log.segment.bytes", row


def status():
    row = bus.json("status")[0]
    keys = ["version", "data_folder", "cluster_id", "node_id", "uptime_ms"]
    keys += ["partitions", "open_partitions", "connections", "listeners", "memory_bytes"]
    assert list(row) == keys and row["data_folder"] == str(bus.data) and row["connections"] == 1, row
    assert 100_000 < row["memory_bytes"] < 1 << 32, row
    assert str(bus.data) in bus.busctl("status").stdout


def near_misses():
    """What was written, and what may have been meant, is named."""
    for words, *told in (
        ["list", "did you mean 'topic list' or 'group list' or '"],
        ["topics", "did you mean 'topic'?"],
        ["topic creat", "did you mean 'topic create'?"],
        ["topic ls", "no command 'topic ls'", "topic --help'"],
        ["consume --cuont 4 t", "no option --cuont: did you mean --count?"],
        ["consume --exit=1 t", "option --exit takes no value"],
        ["consume --json -xe t", "no option -x:"],
        ["consume --count", "option --count needs a value"],
        ["consume -c -1 t", "-c -1: a number of at least 0 is wanted"],
        ["replay --s 1", "--s may be short for several options"],
        ["-V", "no option -V"],
        ["top --" + "a" * 500, "no option --aaaa"],
    ):
        fails(bus.busctl(*words.split(), check=False), 2, *told)
    create("single")
    fails(bus.busctl("consume", "-p", "3", "single", check=False), 1, "partition 0 only")
    fails(bus.busctl("topic", "compact", "single", check=False), 1, "alter -c cleanup.policy=compact single")


COMMANDS = [
    ["topic", "create"],
    ["topic", "list"],
    ["topic", "describe"],
    ["topic", "alter"],
    ["topic", "compact"],
    ["topic", "delete"],
    ["produce"],
    ["consume"],
    ["replay"],
    ["log", "dump"],
    ["log", "verify"],
    ["bench", "latency"],
    ["bench", "throughput"],
    ["bench", "durable"],
    ["config", "list"],
    ["config", "explain"],
    ["status"],
    ["top"],
]


def help_texts():
    text = bus.busctl("--help").stdout
    for words in COMMANDS:
        assert " ".join(words) in text, words
        one = bus.busctl(*words, "--help")
        assert "Examples:" in one.stdout and f"busctl {' '.join(words)}" in one.stdout, one
        assert one.stderr == "" and bus.busctl("help", *words).stdout == one.stdout
        assert all(len(line) <= 100 for line in one.stdout.splitlines()), one
        assert all(len(line) <= 80 for line in one.stdout.split("Examples:")[0].splitlines()), one
    for group in ("topic", "log", "bench", "config"):
        assert f"{group} " in bus.busctl(group, "--help").stdout
        assert bus.busctl(group, check=False).returncode == 2
    assert re.search(r"\d+\.\d+\.\d+", bus.busctl("--version").stdout)


def mistakes():
    for arguments, word in (
        (["topik"], "topic"),
        (["topic", "creat"], "topic create"),
        (["nothing-like-it"], "nothing-like-it"),
        (["topic", "list", "extra"], "extra"),
        (["topic", "create"], "missing"),
        (["consume", "--nonsense", "t"], "--nonsense"),
        (["consume", "-c"], "-c"),
        (["consume", "-c", "many", "t"], "many"),
        (["topic", "create", "t", "-c", "novalue"], "novalue"),
    ):
        done = bus.busctl(*arguments, check=False)
        fails(done, 2, word)
        assert done.stdout == "", done
    assert bus.busctl(check=False).returncode == 2


def completion():
    """The script is sourced in a bash and asked as the shell would ask."""
    create("complete-me")
    path = bus.folder / "completion.bash"
    text = (harness.SOURCE / "tools/busctl/completion.bash.in").read_text()
    path.write_text(text.replace("@busctl@", "busctl").replace("@busctl_function@", "busctl"))
    folder = bus.folder / "path"
    folder.mkdir()
    (folder / "busctl").symlink_to(harness.BUILD / "tools/busctl/busctl")
    env = bus.environment(extra={"PATH": f"{folder}:{os.environ['PATH']}"})

    def candidates(*words):
        line = " ".join(f"'{word}'" for word in words)
        program = f'. "{path}"; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _busctl; '
        program += 'printf "%s\\n" "${COMPREPLY[@]}"'
        done = bus.run("bash", "-c", program, env=env)
        assert done.returncode == 0 and not done.stderr, done
        return done.stdout.split()

    assert {"topic", "produce", "consume", "log", "bench", "config", "status"} <= set(candidates("busctl", ""))
    assert candidates("busctl", "pro") == ["produce"]
    assert candidates("busctl", "topic", "cr") == ["create"]
    assert "--compression" in candidates("busctl", "produce", "--")
    assert candidates("busctl", "produce", "--compression", "zs") == ["zstd"]
    found = candidates("busctl", "--socket", str(bus.socket), "consume", "complete")
    assert found == ["complete-me"], found
    assert candidates("busctl", "topic", "create", "-c", "retention.b") == ["retention.bytes="]
    assert "retention.ms" in candidates("busctl", "config", "explain", "retention")
    # bash makes words of its own of the '='; others leave name=value whole.
    for words, expected in (
        (("topic", "create", "-c", "storage.type", "="), ["disk", "memory"]),
        (("topic", "create", "-c", "storage.type", "=", "m"), ["memory"]),
        (("topic", "create", "-c", "storage.type=m"), ["storage.type=memory"]),
        (("topic", "alter", "-c", "cleanup.policy", "=", "compact,d"), ["compact,delete"]),
        (("topic", "alter", "-c", "flush.on.ack", "=", ""), ["true", "false"]),
        (("topic", "alter", "-c", "storage.type", "=", "disk", "-c", "retention.b"), ["retention.bytes="]),
        (("consume", "-X", "auto.offset.reset", "=", "ear"), ["earliest"]),
        (("consume", "-X", "storage.type", "=", ""), []),
        (("topic", "alter", "-c", "retention.ms", "=", ""), []),
        (("group", "reset", "--to", ""), ["beginning", "end", "offset", "time", "shift"]),
    ):
        assert candidates("busctl", *words) == expected, (words, candidates("busctl", *words))
    bus.busctl("group", "reset", "complete-us", "complete-me", "--to", "end")
    where = ("busctl", "--socket", str(bus.socket), "group")
    assert candidates(*where, "describe", "compl") == ["complete-us"]
    assert candidates(*where, "reset", "--to", "offset", "5", "compl") == ["complete-us"]
    assert candidates(*where, "reset", "complete-us", "compl") == ["complete-me"]
    assert str(path) in candidates("busctl", "log", "verify", str(path)[:-3])


def broken_pipe():
    """A reader of the output that has seen enough is no failure."""
    create("pipe")
    bus.busctl("produce", "pipe", stdin="x" * 1000 + "\n" + TEXT * 20)
    busctl = harness.BUILD / "tools/busctl/busctl"
    line = f'set -o pipefail; "{busctl}" --socket "{bus.socket}" consume -e pipe | head -n 1'
    done = bus.run("bash", "-c", line)
    assert done.returncode == 0 and done.stderr == "" and done.stdout == "x" * 1000 + "\n", done
    # A follower that nobody reads ends as well, though nothing comes that it could fail to write.
    create("quiet-pipe")
    bus.busctl("produce", "quiet-pipe", stdin="one\n")
    line = f'set -o pipefail; "{busctl}" --socket "{bus.socket}" consume quiet-pipe | head -n 1'
    done = bus.run("bash", "-c", line)
    assert done.returncode == 0 and done.stderr == "" and done.stdout == "one\n", done


with bus:
    bus.settings.update(harness.SMALL)
    bus.start()
    for name, function in (
        ("topic create, list, describe", topics),
        ("topic alter", topic_alter),
        ("topic delete", topic_delete),
        ("topic compact", topic_compact),
        ("produce and consume", round_trip),
        ("the last line without its end", last_line),
        ("produce files", files),
        ("produce -k", keys),
        ("produce -D", delimiters),
        ("produce -H and -Z", headers_and_nulls),
        ("produce -p and consume -p", partition),
        ("produce --acks, --linger and -X", acks),
        ("produce --compression", compression),
        ("produce --strict and without", strict),
        ("consume -o", starts),
        ("consume -o with a range", ranges),
        ("consume -o outside of the log", outside),
        ("consume -c without -e", count_without_exit),
        ("consume follows until it is interrupted", follow_until_interrupted),
        ("consume -f", formats),
        ("bytes that are no text", binary),
        ("consume --durable and -X", durable_only),
        ("log dump", log_dump),
        ("log verify of what is good", log_verify_good),
        ("log verify of what was compacted", log_verify_compacted),
        ("log dump and verify of indexes", log_of_indexes),
        ("log dump and verify of other files", log_of_other_files),
        ("log dump and verify of flipped bits", log_verify_damaged),
        ("log verify of zeros and of a cut file", log_verify_cut),
        ("log verify of a damaged index", log_verify_index),
        ("bench", bench),
        ("config list and explain", config),
        ("status", status),
        ("help and examples", help_texts),
        ("near misses name what may have been meant", near_misses),
        ("mistakes in the command line", mistakes),
        ("bash completion", completion),
        ("a broken pipe", broken_pipe),
    ):
        tap.run(name, function)
    tap.case("busd ends cleanly after all of it", bus.stop() == 0, bus.busd.tail())
tap.done()
