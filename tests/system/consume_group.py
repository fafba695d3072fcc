# SPDX-License-Identifier: Apache-2.0
"""`busctl consume -G`: a member of a group on the command line."""

import json
import os
import subprocess

import harness
import tap

SETTINGS = {"group.min.session.timeout.ms": 200, "group.initial.rebalance.delay.ms": 0}
QUICK = ("-X", "heartbeat.interval.ms=50", "-X", "metadata.max.age.ms=100")
BUSCTL = harness.BUILD / "tools/busctl/busctl"


def started(bus, *topics, partitions=1):
    bus.settings.update(SETTINGS)
    bus.start()
    for name in topics:
        bus.busctl("topic", "create", name, "-p", str(partitions))


def send(bus, topic, texts, partition=0):
    bus.busctl("produce", "-p", str(partition), topic, stdin="".join(f"{text}\n" for text in texts))


def consumed(bus, *arguments):
    """What the group has not printed yet."""
    return bus.busctl("consume", "-G", "g", "-e", *QUICK, *arguments).stdout.split()


def member(bus, *arguments):
    """A process that prints on and on."""
    command = [BUSCTL, "--socket", bus.socket, "consume", "-G", "g", *QUICK, *arguments]
    return bus.spawn(command, "consume", env=bus.environment())


def fails(bus, code, *arguments, words):
    done = bus.busctl("consume", *arguments, check=False)
    assert done.returncode == code, (arguments, done)
    for word in words:
        assert word in done.stderr, (word, done.stderr)


def goes_on():
    with harness.Bus() as bus:
        started(bus, "t", "u")
        send(bus, "t", ["a", "b", "c"])
        send(bus, "u", ["x"])
        assert sorted(consumed(bus, "t", "u")) == ["a", "b", "c", "x"]
        assert consumed(bus, "t", "u") == []
        send(bus, "t", ["d", "e", "f"])
        assert consumed(bus, "-c", "2", "t") == ["d", "e"]
        rows = [json.loads(row) for row in consumed(bus, "-J", "t")]
        assert [(row["topic"], row["offset"], row["value"]) for row in rows] == [("t", 5, "f")]
        assert bus.busctl("consume", "-G", "h", "-o", "end", "-e", *QUICK, "t").stdout == ""


def rebalances_are_told():
    with harness.Bus() as bus:
        started(bus, "t", partitions=2)
        one = member(bus, "t")
        one.line(r"^busctl: consume: group g, generation 1: assigned t-0@0 t-1@0$")
        two = member(bus, "t")
        two.line(r"assigned t-[01]@0$")
        one.line(r"revoked t-0@0 t-1@0$")
        assert two.stop() == 0, two.tail()
        two.line(r"revoked t-[01]@0$")
        one.until(lambda p: p.err().count("assigned t-0@0 t-1@0") == 2, "having all again")
        assert one.stop() == 0 and one.out() == "", one.tail()


def crash():
    """Two share; one is killed: everything is printed, and what came back from the end once."""
    with harness.Bus() as bus:
        started(bus, "t", partitions=2)
        quick = ("-X", "session.timeout.ms=1000", "-X", "partition.assignment.strategy=range")
        members = [member(bus, *quick, "t") for _ in range(2)]
        for one in members:
            one.until(lambda p: p.err().rsplit("assigned", 1)[-1].count("t-") == 1, "a share each")
        for partition in (0, 1):
            send(bus, "t", [f"{partition}-{n}" for n in range(100)], partition)
        harness.until(lambda: sum(one.count("0-99") + one.count("1-99") for one in members) == 2, "all")
        members[0].kill()
        for partition in (0, 1):
            send(bus, "t", [f"{partition}+{n}" for n in range(100)], partition)
        members[1].until(lambda p: {"0+99", "1+99"} <= set(p.lines()), "what the other one had")
        assert members[1].stop() == 0
        printed = set(members[0].lines()) | set(members[1].lines())
        assert len(printed) == 400
        assert consumed(bus, "t") == []


def nobody_reads():
    """What could not be printed is not committed."""
    with harness.Bus() as bus:
        started(bus, "t")
        send(bus, "t", range(1000))
        for arguments in (("-e",), ("-c", "5"), ()):
            command = [BUSCTL, "--socket", bus.socket, "consume", "-G", "g", *QUICK, *arguments, "t"]
            reading, writing = os.pipe()
            os.close(reading)
            with open("/dev/full", "w") as full:
                for target, code in ((writing, 0), (full, 1)):
                    done = subprocess.run(
                        command, stdout=target, stderr=subprocess.PIPE, timeout=60, check=False
                    )
                    assert done.returncode == code, (arguments, done)
            os.close(writing)
        assert consumed(bus, "t") == [str(n) for n in range(1000)]


def topics_come_and_go():
    with harness.Bus() as bus:
        started(bus, "t")
        one = member(bus, "t", "later")
        one.line(r"no topic later.*waiting for it")
        one.line(r"assigned t-0@0$")
        started_later = bus.busctl("topic", "create", "later")
        assert started_later.returncode == 0
        send(bus, "later", ["x"])
        one.line(r"^x$")
        bus.busctl("topic", "delete", "--yes", "later")
        one.line(r"later.*the group goes on without it")
        send(bus, "t", ["y"])
        one.line(r"^y$")
        assert one.stop() == 0, one.tail()


def refused():
    with harness.Bus() as bus:
        started(bus, "t")
        fails(bus, 2, "-G", "g", "-p", "0", "t", words=["-p", "leave out"])
        for start in ("5", "-5", "@-1h", "1:2"):
            fails(bus, 2, "-G", "g", "-o", start, "t", words=["-o", "beginning or end", "group reset"])
        fails(bus, 2, "-G", "", "t", words=["-G"])
        fails(bus, 2, "-G", "g", words=["topics"])
        fails(bus, 2, "t", "u", words=["t"])
        fails(bus, 1, "-G", "g", "-e", "t", "nowhere", words=["nowhere"])
        one = member(bus, "-X", "partition.assignment.strategy=sticky", "t")
        one.line(r"assigned t-0@0$")
        fails(bus, 1, "-G", "g", "t", words=["group g", "partition.assignment.strategy"])
        fails(
            bus,
            1,
            "-G",
            "h",
            "-X",
            "session.timeout.ms=100",
            "t",
            words=["session.timeout.ms=100", "group.min.session.timeout.ms"],
        )


def not_allowed():
    if harness.ordinary_uid() == os.geteuid():
        return
    with harness.Bus() as bus:
        started(bus, "t")
        bus.busctl("topic", "create", "secret", "-c", "access.read=self")
        for topics in (["secret"], ["t", "secret"]):
            command = [bus.program("busctl"), "--socket", bus.socket, "consume", "-G", "g", *topics]
            done = bus.run(*command, preexec=harness.drop_root)
            assert done.returncode == 1 and "secret" in done.stderr, done


tap.run("a group goes on where it stopped; -c commits what it printed", goes_on)
tap.run("rebalances are told on standard error", rebalances_are_told)
tap.run("a member is killed: the other one prints on", crash)
tap.run("what could not be printed is not committed", nobody_reads)
tap.run("topics come and go", topics_come_and_go)
tap.run("what is refused", refused)
tap.run("a topic that may not be read", not_allowed)
tap.done()
