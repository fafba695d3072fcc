# SPDX-License-Identifier: Apache-2.0
"""Fault F11: the wall clock jumps by a day, forth and back. Nothing expires early, nothing
rebalances."""

import re
import struct

import harness
import tap
from feed import Feed, send

SETTINGS = {
    **harness.SMALL,
    "flush.interval.ms": 50,
    "log.retention.check.interval.ms": 100,
}
DAY_S = 86400
JUMPS = (1, 0, -1, 0, 1)


def start_offset(bus):
    return bus.partitions("t")[0]["start_offset"]


def set_clock(path, days):
    """The wall clock of a busd under the shim is so many days ahead."""
    if not path.exists():
        path.write_bytes(bytes(8))
    with open(path, "r+b") as file:
        file.write(struct.pack("=q", days * DAY_S))


def nothing_expires():
    feed = Feed()
    with harness.Bus(settings=SETTINGS) as bus:
        clock = bus.folder / "clock"
        set_clock(clock, 0)
        bus.start(env=bus.environment(extra={"LD_PRELOAD": str(harness.SHIM), "SHMBUS_WALL": str(clock)}))
        bus.busctl("topic", "create", "t", "-c", f"retention.ms={DAY_S * 500}")
        send(bus, feed, 15000)
        for days in JUMPS:
            told = len(re.findall("wall clock has jumped", bus.busd.err()))
            set_clock(clock, days)
            bus.busd.until(
                lambda p: len(re.findall("wall clock has jumped", p.err())) > told, "the jump is seen"
            )
        # A whole look at the partition with the new time.
        bus.busctl("topic", "create", "u", "-c", "retention.bytes=0")
        bus.busctl("produce", "u", stdin="x" * 900000 + "\n" + "y" * 900000 + "\n")
        harness.until(lambda: bus.partitions("u")[0]["start_offset"] > 0, "retention has looked")
        assert start_offset(bus) == 0, bus.busd.tail()
        # A restart remembers the jump.
        assert bus.stop() == 0
        bus.start(env=bus.environment(extra={"LD_PRELOAD": str(harness.SHIM), "SHMBUS_WALL": str(clock)}))
        bus.busctl("produce", "u", stdin="x" * 900000 + "\n" + "y" * 900000 + "\n")
        harness.until(lambda: bus.partitions("u")[0]["start_offset"] > 1, "retention has looked")
        assert start_offset(bus) == 0, bus.busd.tail()
        # What is really too old goes.
        bus.busctl("topic", "alter", "t", "-c", "retention.ms=1")
        harness.until(lambda: start_offset(bus) > 0, "the start moves")


def told(members, *words):
    lines = [line for member in members for line in member.lines()]
    return [line for line in lines if line.split(" ")[0] in words]


def nothing_rebalances():
    settings = {
        "group.min.session.timeout.ms": 500,
        "group.initial.rebalance.delay.ms": 0,
        "offsets.retention.minutes": 60,
        "offsets.retention.check.interval.ms": 1000,
    }
    with harness.Bus(settings=settings) as bus:
        clock = bus.folder / "clock"
        set_clock(clock, 0)
        env = bus.environment(extra={"LD_PRELOAD": str(harness.SHIM), "SHMBUS_WALL": str(clock)})
        bus.start(env=env)
        bus.busctl("topic", "create", "t", "-p", "4")
        members = [
            bus.worker(
                "group", "t", number, 0, "group.id=g", "session.timeout.ms=10000",
                "heartbeat.interval.ms=100", "auto.commit.interval.ms=100",
                "auto.offset.reset=earliest", env=env,
            )
            for number in range(2)
        ]
        harness.until(lambda: len(told(members, "assigned")) >= 4, "sharing out")
        producer = bus.worker("produce", "t", 7, 0, "worker.pause_us=1000", env=env)
        harness.until(lambda: all(m.count("read") > 10 for m in members), "records")
        before = told(members, "assigned", "revoked", "lost")
        for days in JUMPS:
            seen = len(re.findall("wall clock has jumped", bus.busd.err()))
            set_clock(clock, days)
            bus.busd.until(
                lambda p: len(re.findall("wall clock has jumped", p.err())) > seen, "the jump is seen"
            )
            counts = [m.count("read") for m in members]
            # Several heartbeats and commits later they go on as before.
            harness.until(
                lambda: all(m.count("read") > n + 300 for m, n in zip(members, counts)), "more records"
            )
            assert told(members, "assigned", "revoked", "lost", "error") == before
        committed = [row for row in bus.json("group", "describe", "g") if "committed" in str(row)]
        assert committed, bus.json("group", "describe", "g")
        assert producer.stop() == 0
        for member in members:
            assert member.stop() == 0, member.tail()


tap.run("a wall clock that jumps: nothing expires", nothing_expires)
tap.run("a wall clock that jumps: nothing rebalances", nothing_rebalances)
tap.done()
