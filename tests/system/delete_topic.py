# SPDX-License-Identifier: Apache-2.0
"""Deleted topics: gone at once, their space comes back, and busd goes on meanwhile.

Also when busd dies in the middle: a topic that is made anew under the same name starts empty, and
what the old one had on disk and in shared memory goes at the next start.
"""

import re

import harness
import history
import tap

SETTINGS = {**harness.SMALL, "flush.interval.ms": 100}
SEGMENTS = 6
# Each removal of a file takes so long that whoever waits for all of them is seen to wait.
SLOW = "before:unlink@.log:1+:delay:400"


def fill(bus, topic, segments=SEGMENTS):
    """A topic with several segments; the worker."""
    bus.busctl("topic", "create", topic, "-p", "1")
    worker = bus.worker("produce", topic, 1, 110 * segments, "worker.size=20000", "acks=1")
    assert worker.wait() == 0, worker.tail()
    folder = bus.partition_folder(topic)
    assert len(list(folder.glob("*.log"))) >= segments, sorted(f.name for f in folder.iterdir())
    return worker


def left(bus, topic):
    """What is on disk of the topic, or waits to be removed."""
    deleted = bus.data / "deleted"
    found = list((bus.data / "topics").glob(f"{topic}-*"))
    return found + [path for folder in deleted.iterdir() for path in [folder] + list(folder.iterdir())]


def is_gone(bus, topic, but=()):
    """Waits until nothing is left of it on disk, in shared memory and in the table of topics."""
    harness.until(
        lambda: not [path for path in left(bus, topic) if path not in but],
        f"the files of {topic} to go",
        detail=lambda: f"{left(bus, topic)}\n{bus.busd.tail()}",
    )
    assert topic not in bus.busctl("topic", "list").stdout.split()


def starts_empty(bus, topic):
    """The name is free, and nothing of the old topic is seen under it."""
    bus.busctl("topic", "create", topic, "-p", "1")
    (partition,) = bus.partitions(topic)
    assert (partition["start_offset"], partition["end_offset"]) == (0, 0), partition
    worker = bus.worker("produce", topic, 5, 50)
    assert worker.wait() == 0, worker.tail()
    history.expect_good([worker], bus.read_all(topic), least=50)


def in_the_background():
    """busd answers others, also to make the topic anew, while the files go one by one."""
    with harness.Bus(settings=SETTINGS) as bus:
        bus.start(env=bus.environment(fault=SLOW))
        fill(bus, "t")
        bus.busctl("topic", "delete", "t")
        assert "t" not in bus.busctl("topic", "list").stdout.split()
        bus.busctl("topic", "create", "another", "-p", "1")
        a_few = bus.worker("produce", "another", 3, 20)
        assert a_few.wait() == 0, a_few.tail()
        assert left(bus, "t"), "the files went before busd answered"
        starts_empty(bus, "t")
        is_gone(bus, "t-none")
        assert len(bus.generations()) == 2, bus.generations()
        assert bus.stop() == 0, bus.busd.tail()


def its_clients_are_told():
    """Those who have it attached hear of it, and others are not disturbed."""
    with harness.Bus(settings=SETTINGS) as bus:
        bus.start(env=bus.environment(fault=SLOW))
        bus.busctl("topic", "create", "other", "-p", "1")
        other = bus.worker("produce", "other", 2, 0, "worker.pause_us=500")
        other.told("ack", 10)
        fill(bus, "t")
        writer = bus.worker("produce", "t", 3, 0, "acks=all", "worker.pause_us=500")
        writer.told("ack", 10)
        bus.busctl("topic", "delete", "t")
        writer.told("fail", 1)
        assert "UNKNOWN_TOPIC_OR_PARTITION" in writer.out(), writer.tail()
        other.told("ack", 100)
        is_gone(bus, "t")
        assert other.stop() == 0, other.tail()
        history.expect_good([other], bus.read_all("other"), least=100)
        assert bus.stop() == 0, bus.busd.tail()


def no_trouble():
    """That a topic goes while busd looks after it is no error."""
    with harness.Bus(settings=SETTINGS) as bus:
        bus.start()
        for i in range(20):
            fill(bus, f"t{i}", 1)
            bus.busctl("topic", "delete", f"t{i}")
        is_gone(bus, "t19")
        assert bus.stop() == 0, bus.busd.tail()
        troubles = [line for line in bus.busd.err().splitlines() if re.match("<[0-3]>", line)]
        assert not troubles, troubles


def killed(rule, recreate_first):
    """busd dies at a call of the removal; the next one finishes it."""
    with harness.Bus(settings=SETTINGS) as bus:
        switch = bus.folder / "on"
        bus.start(env=bus.environment(fault=rule, when=switch))
        fill(bus, "t")
        switch.touch()
        bus.busctl("topic", "delete", "t", check=False)
        bus.busd.wait()
        if recreate_first:
            bus.start()
            assert "t" not in bus.busctl("topic", "list").stdout.split()
            starts_empty(bus, "t")
            is_gone(bus, "t-none", but=[bus.partition_folder("t")])
        else:
            bus.start()
            is_gone(bus, "t")
            assert not bus.generations(), bus.generations()
            starts_empty(bus, "t")
        assert bus.stop() == 0, bus.busd.tail()


def tried_again(rule):
    """What fails is tried again; meanwhile nobody gets the name."""
    with harness.Bus(settings=SETTINGS) as bus:
        switch = bus.folder / "on"
        bus.start(env=bus.environment(fault=rule, when=switch))
        fill(bus, "t")
        switch.touch()
        bus.busctl("topic", "delete", "t")
        assert "t" not in bus.busctl("topic", "list").stdout.split()
        bus.busd.line("topic t.*(space left|Input/output)")
        switch.unlink()
        starts_empty(bus, "t")
        is_gone(bus, "t-none")
        assert bus.stop() == 0, bus.busd.tail()


tap.run("files are removed in the background", in_the_background)
tap.run("twenty topics, one after the other", no_trouble)
tap.run("clients of the topic are told, those of others go on", its_clients_are_told)
for name, rule in (
    ("before its folder is renamed", "before:rename@/deleted/:1:kill"),
    ("after its folder was renamed", "after:rename@/deleted/:1:kill"),
    ("while its files are removed", "before:unlink@.log:3:kill"),
):
    tap.run(f"busd is killed {name}", killed, rule, False)
    tap.run(f"busd is killed {name}, and the name is used again", killed, rule, True)
tap.run("its folder cannot be renamed for a while", tried_again, "before:rename@/deleted/:1+:EIO")
tap.done()
