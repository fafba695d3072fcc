# SPDX-License-Identifier: Apache-2.0
"""busctl replay: what arrives is what was there, in the order of its timestamps and at their pace.

How long a record waits is for the unit test of the pace, which has a clock of its own; here the
speeds are large."""

import os
import pty
import select
import signal
import subprocess
import time

import harness
import tap

BUSCTL = harness.BUILD / "tools/busctl/busctl"
OLD_MS = 1_700_000_000_000

bus = harness.Bus(settings=harness.SMALL)


def script(topic, lines, *settings):
    """Sends records with exact timestamps, nulls and headers through the worker."""
    path = bus.folder / f"{topic}.script"
    path.write_text("".join(line + "\n" for line in lines))
    with open(path, encoding="utf-8") as text:
        worker = bus.worker("script", topic, 0, 0, *settings, stdin=text)
        assert worker.wait() == 0, worker.tail()


def hexed(text):
    return text.encode().hex() or '""'


def source(topic, partitions=3, count=60):
    """A topic whose partitions take turns in time: a record each 100 s, keys, headers, a null."""
    bus.busctl("topic", "create", topic, "-p", str(partitions), "-c", "segment.bytes=1m")
    lines = []
    for i in range(count):
        value = "-" if i % 10 == 9 else hexed(f"value {i}")
        headers = " ".join(f"{hexed(f'name{j}')} {hexed(f'{i}')}" for j in range(i % 3))
        lines.append(f"{OLD_MS + i * 100_000} {hexed(f'key {i}')} {value} {headers}".strip())
    script(topic, lines)


def consumed(topic, *arguments):
    return bus.json("consume", "-e", *arguments, topic)


def by_partition(topic, *fields):
    """For each partition the records in their order, as tuples of the fields."""
    rows = {}
    for row in consumed(topic):
        rows.setdefault(row["partition"], []).append(tuple(str(row[field]) for field in fields))
    return rows


def replay(*arguments, **options):
    return bus.json("replay", *arguments, **options)[0]


def refused(code, words, *arguments):
    done = bus.busctl("replay", *arguments, check=False)
    missing = [word for word in words if word not in done.stderr]
    assert done.returncode == code and not missing, (missing, done)


def copies():
    """Everything, at once, with the old timestamps: the same records, and settings, and a summary."""
    source("src")
    told = replay("src", "--into", "copy", "--create", "--speed", "max", "--keep-timestamps")
    assert told["records"] == 60 and told["done"] is True and told["into"] == "copy", told
    assert (told["first"], told["last"]) == (OLD_MS, OLD_MS + 59 * 100_000), told
    assert told["span_ms"] == 59 * 100_000 and told["bytes"] > 60 * 10, told
    fields = ("offset", "key", "value", "headers", "timestamp")
    assert len(by_partition("src", *fields)) == 3
    assert by_partition("copy", *fields) == by_partition("src", *fields)
    described = bus.json("topic", "describe", "copy")[0]
    assert described["settings"] == [{"name": "segment.bytes", "value": str(1 << 20), "default": False}]
    # Once more into what is there: behind what it has. More partitions are no harm.
    bus.busctl("topic", "alter", "copy", "-p", "5")
    assert replay("src", "--into", "copy", "--create", "-s", "max", "--acks", "1")["records"] == 60
    assert len(consumed("copy")) == 120


def order():
    """One reader that sees all partitions of the target sees the order of the old timestamps."""
    bus.busctl("topic", "create", "ordered", "-p", "3")
    # In a log of one partition the order is visible: the pace gives each its time.
    before = int(time.time() * 1000)
    told = replay("src", "--into", "ordered", "--speed", "100000", "--linger", "0")
    after = int(time.time() * 1000)
    rows = sorted(consumed("ordered"), key=lambda row: row["timestamp"])
    assert [row["key"] for row in rows] == [f"key {i}" for i in range(60)], rows
    # 100 s at that speed are 1 ms: the new timestamps are that far apart, and are the present time.
    first = rows[0]["timestamp"]
    assert [row["timestamp"] - first for row in rows] == list(range(60)), rows
    assert before <= first <= after and told["took_ms"] >= 59, (before, first, after, told)


def ranges():
    """By time, by offset, by partition."""
    bus.busctl("topic", "create", "part", "-p", "3")

    def keys(*arguments):
        bus.busctl("topic", "delete", "-y", "part")
        told = replay("src", "--into", "part", "--create", "-s", "max", *arguments)
        rows = consumed("part")
        assert told["records"] == len(rows), (told, len(rows))
        return sorted(int(row["key"].split()[1]) for row in rows)

    def at(i):
        return str(OLD_MS + i * 100_000)

    assert keys("--from", at(10), "--to", at(20)) == list(range(10, 20))
    assert keys("--from", at(50)) == list(range(50, 60))
    assert keys("--from", "beginning", "--to", "@" + at(5)) == list(range(5))
    assert keys("-o", f"@{at(10)}:@{at(12)}") == [10, 11]
    every = by_partition("src", "key")
    some = keys("-p", "1,2", "-o", "2:4")
    assert some == sorted(int(key.split()[1]) for p in (1, 2) for (key,) in every[p][2:4]), some
    tail = keys("-o", "-1")
    assert tail == sorted(int(every[p][-1][0].split()[1]) for p in range(3)), tail
    # What comes after the start of the command is no part of it, and nothing is said as much.
    done = bus.busctl("--json", "replay", "src", "--into", "part", "--from", "now")
    assert "nothing to replay" in done.stderr and '"records":0' in done.stdout, done


def going_back():
    """Timestamps that go back, far ahead of it all or missing do not hold anything up."""
    bus.busctl("topic", "create", "back")
    stamps = [OLD_MS + 500_000, OLD_MS, OLD_MS + 600_000, OLD_MS + 100, 0]
    script("back", [f"{stamp} - {hexed(str(i))}" for i, stamp in enumerate(stamps)])
    told = replay("back", "--into", "back2", "--create", "--speed", "1000000")
    rows = consumed("back2")
    assert [row["value"] for row in rows] == ["0", "1", "2", "3", "4"], rows
    first = rows[0]["timestamp"]
    differences = [row["timestamp"] - first for row in rows[:4]]
    assert differences == [0, 0, 0, 0], differences
    assert told["first"] == 0 and told["last"] == OLD_MS + 600_000, told


def codecs():
    """Compressed in, compressed out, large values, many segments."""
    bus.busctl("topic", "create", "packed", "-p", "2", "-c", "segment.bytes=1m")
    value = "ab" * 30_000
    script("packed", [f"{OLD_MS + i} {hexed(str(i))} {value}" for i in range(100)], "compression.type=zstd")
    replay("packed", "--into", "packed2", "--create", "-s", "max", "--compression", "lz4")
    replay("packed", "--into", "packed3", "--create", "-s", "1000", "-X", "batch.size=100k")
    fields = ("offset", "key", "value")
    assert by_partition("packed2", *fields) == by_partition("packed", *fields)
    assert by_partition("packed3", *fields) == by_partition("packed", *fields)


def dry_run():
    told = replay("src", "--into", "nowhere", "--create", "--dry-run", "--speed", "100")
    assert told["records"] == 60 and told["span_ms"] == 5_900_000 and told["takes_ms"] == 59_000, told
    assert "nowhere" not in [row["topic"] for row in bus.json("topic", "list")]
    text = bus.busctl("replay", "src", "--into", "copy", "-n").stdout
    assert "records:" in text and "takes ms: 5900000" in text, text
    refused(1, ["nowhere", "--create"], "src", "--into", "nowhere", "-n")


def bad_input():
    refused(2, ["src", "into itself"], "src", "--into", "src")
    refused(2, ["--into is missing"], "src")
    refused(2, ["name of a topic is missing"], "--into", "copy")
    refused(1, ["none-such"], "none-such", "--into", "copy")
    refused(1, ["none-such", "--create"], "src", "--into", "none-such")
    for speed in ("0", "-1", "nan", "fast", "1e9", ""):
        refused(2, ["--speed", "is no speed", "max"], "src", "--into", "copy", "--speed", speed)
    refused(2, ["ends at -2h, before its start -1h"], "src", "--into", "copy", "--from", "-1h", "--to", "-2h")
    refused(2, ["ends at 5, before its start 10"], "src", "--into", "copy", "-o", "10:5")
    refused(2, ["leave out"], "src", "--into", "copy", "-o", "1:5", "--from", "-1h")
    refused(2, ["a time is wanted", "-o FROM:TO"], "src", "--into", "copy", "--from", "10")
    refused(2, ["is no time"], "src", "--into", "copy", "--to", "teatime")
    refused(2, ["acks"], "src", "--into", "copy", "--acks", "2")
    bus.busctl("topic", "create", "narrow", "-p", "2")
    refused(1, ["narrow has 2 partitions", "partition 2 of src", "-p 3"], "src", "--into", "narrow")
    assert replay("src", "-p", "0-1", "--into", "narrow", "-s", "max")["records"] > 0
    refused(1, ["0 to 2"], "src", "-p", "7", "--into", "copy")
    # Offsets that are not there are an error, not another range.
    refused(1, ["offset"], "src", "-o", "900000", "--into", "copy")


def target_refuses():
    """A record that the target does not take ends the replay there, and says which one it is."""
    bus.busctl("topic", "create", "mixed")
    script("mixed", [f"{OLD_MS} {hexed('k')} {hexed('a')}", f"{OLD_MS + 1} - {hexed('b')}"])
    bus.busctl("topic", "create", "compacted", "-c", "cleanup.policy=compact")
    done = bus.busctl("--json", "replay", "mixed", "--into", "compacted", check=False)
    assert done.returncode == 1 and "mixed-0 offset 1" in done.stderr, done
    assert '"records":1,"bytes":2' in done.stdout and '"done":false' in done.stdout, done
    assert len(consumed("compacted")) == 1


def interrupted():
    """Ended in the middle of a wait of a year: what was due is there, and the count is told."""
    bus.busctl("topic", "create", "slow", "-p", "3")
    late = [f"{OLD_MS + 365 * 86_400_000} - {hexed('x')}"]
    # The one that waits stands in front of what comes later in its own partition only.
    script("slow", [f"{OLD_MS} - -"] + late + [f"{OLD_MS + 1} - -"], "worker.partition=0")
    script("slow", [f"{OLD_MS + i} - -" for i in (2, 3)] + late, "worker.partition=1")
    script("slow", [f"{OLD_MS + i} - -" for i in (1, 4)], "worker.partition=2")
    bus.busctl("topic", "create", "slow2", "-p", "3")
    for number in (signal.SIGINT, signal.SIGTERM):
        arguments = [BUSCTL, "--socket", bus.socket, "--json", "replay", "slow", "--into", "slow2"]
        have = len(consumed("slow2"))
        process = bus.spawn(arguments, "replay", env=bus.environment())
        harness.until(lambda h=have: len(consumed("slow2")) == h + 5, "five records", detail=process.tail)
        assert process.alive(), process.tail()
        process.signal(number)
        assert process.wait() == 1, process.tail()
        assert "interrupted after 5 records of slow" in process.err(), process.tail()
        assert '"records":5' in process.out() and '"done":false' in process.out(), process.tail()


def progress():
    """On a terminal a line tells how far it is, and when it goes on."""
    end, other = pty.openpty()
    command = [str(BUSCTL), "--socket", str(bus.socket), "replay", "slow", "--into", "slow2"]
    popen = subprocess.Popen(
        command, stdin=other, stdout=subprocess.DEVNULL, stderr=other, env=bus.environment()
    )
    os.close(other)
    shown = b""
    deadline = time.monotonic() + harness.PATIENCE_S
    while b"next in 364d 23h" not in shown:
        assert time.monotonic() < deadline and popen.poll() is None, shown
        if select.select([end], [], [], 1)[0]:
            shown += os.read(end, 65536)
    assert b"replayed 5 records" in shown and b"62 %" in shown and b"at 2023-11-1" in shown, shown
    popen.send_signal(signal.SIGINT)
    assert popen.wait(harness.PATIENCE_S) == 1
    os.close(end)


def busd_goes_away():
    """busd is killed and comes back while the replay waits for its next record."""
    bus.busctl("topic", "create", "gap", "-p", "2")
    lines = [f"{OLD_MS + i} {hexed(str(i))} {hexed('v')}" for i in range(20)]
    # All in one partition, whatever their keys would say: they stay there.
    script("gap", lines + [f"{OLD_MS + 86_400_000} - -"], "worker.partition=1")
    bus.busctl("topic", "create", "gap2", "-p", "2")
    arguments = [BUSCTL, "--socket", bus.socket, "--json", "replay", "gap", "--into", "gap2", "-s", "20000"]
    process = bus.spawn(arguments, "replay", env=bus.environment())
    harness.until(lambda: len(consumed("gap2")) >= 20, "twenty records", detail=process.tail)
    bus.kill()
    bus.start()
    assert process.wait() == 0, process.tail()
    assert '"records":21' in process.out(), process.tail()
    assert by_partition("gap2", "key", "value") == by_partition("gap", "key", "value")


with bus:
    bus.start()
    tap.run("a copy at once is a copy", copies)
    tap.run("records come in the order of their timestamps, at their distances", order)
    tap.run("ranges of time, of offsets, of partitions", ranges)
    tap.run("timestamps that go back do not wait", going_back)
    tap.run("compressed and large records", codecs)
    tap.run("a dry run counts and changes nothing", dry_run)
    tap.run("what makes no sense is refused", bad_input)
    tap.run("a record that the target refuses ends it, and is named", target_refuses)
    tap.run("signals end it, and the count is told", interrupted)
    tap.run("the progress line", progress)
    tap.run("busd restarts meanwhile", busd_goes_away)
    tap.case("busd ends cleanly after all of it", bus.stop() == 0, bus.busd.tail())
tap.done()
