# SPDX-License-Identifier: Apache-2.0
"""What only libbus can ask of busd, on a real one: records are deleted, a connection comes and goes.
The rest of the administration is in busctl.py."""

import harness
import tap

LINES = [f"line {i}" for i in range(100)]


def values(bus, *arguments):
    return bus.busctl("consume", "-e", *arguments, "t").stdout.splitlines()


def filled(bus):
    bus.start()
    bus.busctl("topic", "create", "t", "-p", "2")
    bus.busctl("produce", "-p", "1", "t", stdin="\n".join(LINES))
    bus.busctl("produce", "-p", "0", "t", stdin="other\n")


def cut(bus, offset, partition=1):
    """Deletes; the exit code and what was told."""
    worker = bus.worker("cut", "t", partition, offset)
    return worker.wait(), worker.out().strip()


def start_of(bus, partition=1):
    return bus.partitions("t")[partition]["start_offset"]


def records_are_deleted(bus):
    """What is below the offset is gone for everyone, for good, and nothing else is."""
    filled(bus)
    follower = bus.worker("consume", "t", 0, 0, "worker.partition=1")
    assert cut(bus, 40) == (0, "start 40") and start_of(bus) == 40
    assert cut(bus, 10) == (0, "start 40"), "the start does not go back"
    assert values(bus, "-p", "1") == LINES[40:] and values(bus, "-p", "0") == ["other"]
    done = bus.busctl("consume", "-e", "-p", "1", "-o", "39", "t", check=False)
    assert done.returncode == 1 and "40 to 100" in done.stderr and "39" in done.stderr, done
    assert values(bus, "-p", "1", "-o", "-1000") == LINES[40:]
    for end in (bus.stop, bus.kill):
        end()
        bus.start()
        assert start_of(bus) == 40 and values(bus, "-p", "1") == LINES[40:]
    assert cut(bus, -1) == (0, "start 100"), "-1 is the end"
    assert values(bus, "-p", "1") == [] and values(bus, "-p", "0") == ["other"]
    bus.busctl("produce", "-p", "1", "t", stdin="new\n")
    assert values(bus, "-p", "1") == ["new"] and bus.partitions("t")[1]["end_offset"] == 101
    assert follower.stop() == 0 and follower.count("error") == 0, follower.tail()
    assert follower.lines()[-1] == "end 1 101", follower.tail()


def mistakes(bus):
    filled(bus)
    for offset, partition, words in ((101, 1, ("t-1", "0 to 100", "name one")), (-7, 1, ("t-1", "0 to 100", "name one")), (0, 2, ("topic t", "partition 2"))):
        code, told = cut(bus, offset, partition)
        assert code == 1 and told.startswith("error") and all(word in told for word in words), (code, told)
    assert start_of(bus) == 0 and values(bus, "-p", "1") == LINES


def connection(bus):
    """A program can ask whether busd is there; it comes back by itself."""
    bus.start()
    bus.busctl("topic", "create", "t")
    worker = bus.worker("link", "t", 0, 0)

    def told(word, times):
        worker.until(lambda p: p.count(word) >= times, f"{times} times {word}")

    for times in range(1, 4):
        told("connected", times)
        bus.kill()
        told("disconnected", times)
        bus.start()
    told("connected", 4)
    assert worker.stop() == 0, worker.tail()


for name, function in (
    ("records are deleted", records_are_deleted),
    ("records that cannot be deleted", mistakes),
    ("a connection comes and goes", connection),
):
    with harness.Bus(settings=harness.SMALL) as one_bus:
        tap.run(name, function, one_bus)
tap.done()
