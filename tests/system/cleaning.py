# SPDX-License-Identifier: Apache-2.0
"""Retention and compaction in a real busd: beside readers and writers, with a full disk and damage."""

import re

import harness
import tap
from feed import Feed, check, records, send

SETTINGS = {
    **harness.SMALL,
    "flush.interval.ms": 50,
    "log.cleaner.backoff.ms": 100,
    "log.retention.check.interval.ms": 100,
}
COMPACT = ("-c", "cleanup.policy=compact")


def wait_compacted(bus, count=1):
    bus.busd.until(
        lambda p: len(re.findall(r"compacted up to offset", p.err())) >= count, f"{count} compactions"
    )


def start_topic(bus, *settings):
    bus.start()
    bus.busctl("topic", "create", "t", *COMPACT, *settings)


# ---- compaction ---------------------------------------------------------------------------------


def beside_readers():
    feed = Feed()
    with harness.Bus(settings=SETTINGS) as bus:
        start_topic(bus)
        send(bus, feed, 5000)
        for turn in range(8):
            # A reader from the start runs into segments that are exchanged meanwhile (to the worker
            # values that it did not write are torn; here only the offsets count).
            reader = bus.worker("consume", "t", turn, 0)
            send(bus, feed, 4000)
            reader.line(r"^torn 0 \d{4}")
            check(bus, feed)
            assert reader.stop() == 0, reader.tail()
            assert "error" not in reader.out(), reader.tail()
        wait_compacted(bus)
        rows = check(bus, feed)
        assert len(rows) < next(feed.numbers) * 0.9, len(rows)
        leaves_nothing(bus)
        files = bus.busctl("log", "verify", bus.partition_folder("t"), check=False)
        assert files.returncode == 0, files.stdout + files.stderr
        bus.kill()
        bus.start()
        check(bus, feed)
        assert bus.stop() == 0
        bus.forget_shared_memory()
        bus.start()
        check(bus, feed)
        assert bus.stop() == 0, bus.busd.tail()


def leaves_nothing(bus):
    """What a pass writes is gone in the end; a further pass may be at work just now."""
    harness.until(
        lambda: not list(bus.partition_folder("t").glob("*.clean")),
        "no half-done segment",
        detail=bus.busd.tail,
    )


def without_key():
    with harness.Bus(settings=SETTINGS) as bus:
        start_topic(bus)
        for direct in ("auto", "never"):
            done = bus.busctl(
                "produce", "-X", f"direct={direct}", "t", stdin="no key\n", check=False
            )
            assert done.returncode != 0
            assert "key" in done.stderr and "compacted" in done.stderr, done.stderr
        bus.busctl("produce", "-k", ":", "t", stdin="k:000000000\n")
        assert len(records(bus)) == 1


def disk_full():
    feed = Feed()
    with harness.Bus(settings=SETTINGS) as bus:
        bus.start(env=bus.environment(fault="before:pwrite@.log.clean:1+:ENOSPC"))
        bus.busctl("topic", "create", "t", *COMPACT)
        send(bus, feed, 9000)
        bus.busd.line("compaction failed, the old segments stay.*space")
        assert len(check(bus, feed)) == 9000
        leaves_nothing(bus)
        send(bus, feed, 100)
        assert len(re.findall("compaction failed", bus.busd.err())) == 1
        assert bus.stop() == 0
        bus.start()
        wait_compacted(bus)
        assert len(check(bus, feed)) < 9100


def damage():
    feed = Feed()
    with harness.Bus(settings={**SETTINGS, "log.cleaner.threads": 0}) as bus:
        start_topic(bus)
        send(bus, feed, 15000)
        assert bus.stop() == 0
        first = bus.partition_folder("t") / f"{0:020d}.log"
        with open(first, "r+b") as file:
            file.seek(300000)
            file.write(b"\xa5" * 8)
        before = first.read_bytes()
        bus.settings["log.cleaner.threads"] = 1
        bus.start()
        bus.busd.line(r"compaction leaves segment 0{20}\.log as it is: .*")
        wait_compacted(bus)
        assert first.read_bytes() == before
        # Whoever asks for it hears of it, too.
        send(bus, feed, 1000)
        done = bus.busctl("topic", "compact", "t", check=False)
        assert done.returncode == 1 and "in part" in done.stdout, done
        assert re.search(r"t-0: segment 0{20}\.log stays as it is: .+", done.stderr), done
        assert first.read_bytes() == before
        assert bus.stop() == 0


# ---- retention ----------------------------------------------------------------------------------


def start_offset(bus):
    return bus.partitions("t")[0]["start_offset"]


def by_size():
    feed = Feed()
    with harness.Bus(settings=SETTINGS) as bus:
        bus.start()
        bus.busctl("topic", "create", "t")
        send(bus, feed, 15000)
        assert start_offset(bus) == 0
        old = bus.worker("consume", "t", 1, 10)  # holds the first segment
        assert old.wait() == 0
        bus.busctl("topic", "alter", "t", "-c", "retention.bytes=1200000")
        harness.until(lambda: start_offset(bus) > 0, "the start moves")
        start = start_offset(bus)
        names = sorted(path.name for path in bus.partition_folder("t").glob("0*.log"))
        assert names[0] == f"{start:020d}.log", names
        rows = records(bus)
        assert rows[0][0] == start and rows[-1][0] == 14999
        # Below the start the policy of the consumer counts.
        earliest = bus.worker("consume", "t", 2, 1, "worker.from=5", "auto.offset.reset=earliest")
        assert earliest.wait() == 0 and f"torn 0 {start}\n" in earliest.out(), earliest.tail()
        none = bus.worker(
            "consume", "t", 3, 1, "worker.from=5", "auto.offset.reset=none", "worker.give_up_ms=1000"
        )
        none.wait()
        assert f"has the offsets {start} to 15000" in none.out(), none.tail()
        for _ in range(2):
            bus.kill()
            bus.forget_shared_memory()
            bus.start()
            assert start_offset(bus) == start


def closed_partitions():
    """What nobody uses ages as well."""
    feed = Feed()
    with harness.Bus(settings=SETTINGS) as bus:
        bus.start("--set", "log.retention.check.interval.ms=3600000")
        bus.busctl("topic", "create", "t")
        send(bus, feed, 15000)
        bus.busctl("topic", "alter", "t", "-c", "retention.ms=1")
        assert bus.stop() == 0
        folder = bus.partition_folder("t")
        assert len(list(folder.glob("0*.log"))) > 1
        bus.start()
        bus.busd.line("retention removed")
        assert len(list(folder.glob("0*.log"))) == 1


tap.run("compaction beside readers and writers", beside_readers)
tap.run("a record without key is refused", without_key)
tap.run("a full disk leaves the old segments", disk_full)
tap.run("a damaged segment is left alone and reported", damage)
tap.run("retention by size, and consumers below the start", by_size)
tap.run("partitions that nobody uses", closed_partitions)
tap.done()
