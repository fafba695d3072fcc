# SPDX-License-Identifier: Apache-2.0
"""Fault F8: the disk fails.

A flush that failed is never turned into an acknowledgement, however often it is asked for again:
the partition is offline for producers until busd is started anew, readers keep what is there, and
other partitions do not notice.
"""

import re

import harness
import history
import tap

SETTINGS = {**harness.SMALL, "flush.interval.ms": 50}
PACE = "worker.pause_us=200"  # so as not to overrun the disk of the test
# A producer that tells soon what is wrong.
IMPATIENT = ("delivery.timeout.ms=1000", "max.block.ms=500", PACE)


class Rig:
    """A bus with a partition to be hurt and one beside it, and producers on both."""

    def __init__(self, bus, rules, *settings, producer_too=False):
        self.bus = bus
        self.switch = bus.folder / "on"
        self.shim = bus.environment(fault=rules, when=self.switch)
        bus.start(env=self.shim)
        for topic in ("bad", "other"):
            bus.busctl("topic", "create", topic, "-p", "1")
        env = self.shim if producer_too else bus.environment()
        self.producer = bus.worker("produce", "bad", 1, 0, *IMPATIENT, *settings, env=env)
        # A restart of busd may take longer than the other one has patience, and is no failure.
        self.other = bus.worker("produce", "other", 2, 0, PACE, *settings)
        self.reader = bus.worker("consume", "bad", 0, 0)
        for worker in (self.producer, self.other):
            worker.told("ack", 50)
        self.reader.told("read", 20)

    def on(self):
        self.switch.touch()

    def off(self):
        self.switch.unlink()


def failures(worker):
    return [line for line in worker.lines() if line.startswith("fail")]


def acks_behind_failure(worker):
    """Records acknowledged after the first failure."""
    lines = worker.lines()
    first = next(i for i, line in enumerate(lines) if line.startswith("fail"))
    return [line for line in lines[first:] if line.startswith("ack")]


def expect_offline(worker):
    """Every failure has the name of the partition, and the later ones say that it is offline."""
    worker.told("fail", 3)
    for line in failures(worker):
        assert "bad-0" in line, line
        assert re.search("KAFKA_STORAGE_ERROR|PARTITION_OFFLINE|REQUEST_TIMED_OUT", line), line
    last = failures(worker)[-1]
    assert "offline" in last and "flush" in last, last


def expect_kept(bus, rig):
    """Everything acknowledged is there; a batch that was sent again after an error may be twice."""
    ends = [worker.stop() for worker in (rig.producer, rig.other, rig.reader)]
    assert ends == [0, 0, 0], ends
    wrong = history.judge(
        [rig.producer], bus.read_all("bad"), readers=[rig.reader], duplicates_allowed=True
    )
    assert not wrong, wrong[:20]
    assert not failures(rig.other), failures(rig.other)
    history.expect_good([rig.other], bus.read_all("other"), duplicates_allowed=True)


def failed_flush(rules, *settings, producer_too=False, crash=False):
    with harness.Bus(settings=SETTINGS) as bus:
        rig = Rig(bus, rules, *settings, producer_too=producer_too)
        rig.on()
        expect_offline(rig.producer)
        bus.busd.line("bad-0.*offline")
        # The disk seems to work again, which proves nothing about what was written before.
        rig.off()
        rig.producer.told("fail", 3)
        late = bus.worker("produce", "bad", 3, 1, *IMPATIENT, "acks=1", *settings)
        assert late.wait() in (0, 1), late.tail()
        assert late.count("ack") == 0 and "offline" in late.out(), late.tail()
        assert acks_behind_failure(rig.producer) == [], rig.producer.tail()
        rig.other.told("ack", 100)
        wrong = history.judge([rig.producer], bus.read_all("bad"), duplicates_allowed=True)
        assert not wrong, wrong[:20]
        if crash:
            bus.kill()
        else:
            assert bus.stop() == 0, bus.busd.tail()
        bus.start()
        rig.producer.told("ack", 50)
        rig.other.told("ack", 50)
        expect_kept(bus, rig)


def failed_flush_at_start():
    """Recovery cannot flush what it found: offline, until it can."""
    with harness.Bus(settings=SETTINGS) as bus:
        bus.start()
        bus.busctl("topic", "create", "bad", "-p", "1")
        worker = bus.worker("produce", "bad", 1, 100)
        assert worker.wait() == 0, worker.tail()
        bus.kill()
        bus.forget_shared_memory()
        bus.start(env=bus.environment(fault="before:fdatasync@bad-0:1+:EIO"))
        late = bus.worker("produce", "bad", 2, 3, *IMPATIENT)
        assert late.wait() in (0, 1) and late.count("ack") == 0, late.tail()
        assert "bad-0" in late.out() and "offline" in late.out(), late.tail()
        history.expect_good([worker], bus.read_all("bad"), least=100)
        assert bus.stop() == 0, bus.busd.tail()
        bus.start()
        late = bus.worker("produce", "bad", 3, 50)
        assert late.wait() == 0, late.tail()
        history.expect_good([worker, late], bus.read_all("bad"), least=150)


def unreadable():
    """Reading a segment fails: whoever needs it is told, and goes on when it can be read again."""
    with harness.Bus(settings=SETTINGS) as bus:
        rig = Rig(bus, "before:pread@bad-0/0:1+:EIO", "worker.size=2000")
        rig.producer.told("ack", 1000)
        rig.on()
        blind = bus.busctl("consume", "bad", "-o", "@1000", "-c", "1", check=False)
        assert blind.returncode == 1 and "bad" in blind.stderr, blind
        assert "storage failed" in blind.stderr, blind
        bus.busd.line("bad-0.*Input/output error")
        assert bus.busctl("consume", "other", "-o", "@1000", "-c", "1").stdout
        rig.other.told("ack", 50)
        rig.producer.told("ack", 50)
        rig.off()
        assert bus.busctl("consume", "bad", "-o", "@1000", "-c", "1").stdout
        expect_kept(bus, rig)


def unreadable_at_start():
    """One partition cannot be recovered yet: busd starts, the others are there, it follows."""
    with harness.Bus(settings=SETTINGS) as bus:
        bus.start()
        for topic in ("bad", "other"):
            bus.busctl("topic", "create", topic, "-p", "1")
        before = [bus.worker("produce", topic, 1, 100) for topic in ("bad", "other")]
        assert [worker.wait() for worker in before] == [0, 0]
        bus.kill()
        bus.forget_shared_memory()
        switch = bus.folder / "on"
        switch.touch()
        bus.start(env=bus.environment(fault="before:pread@bad-0:1+:EIO", when=switch))
        late = bus.worker("produce", "bad", 2, 1, *IMPATIENT)
        assert late.wait() in (0, 1) and late.count("ack") == 0, late.tail()
        assert "bad-0" in late.out() and "Input/output error" in late.out(), late.tail()
        other = bus.worker("produce", "other", 3, 50)
        assert other.wait() == 0 and other.count("ack") == 50, other.tail()
        switch.unlink()
        late = bus.worker("produce", "bad", 4, 50)
        assert late.wait() == 0 and late.count("ack") == 50, late.tail()
        history.expect_good([before[0], late], bus.read_all("bad"), least=150)
        history.expect_good([before[1], other], bus.read_all("other"), least=150)


def metadata(call):
    """LMDB cannot write: changes are refused, records go on, a restart brings everything back."""
    with harness.Bus(settings=SETTINGS) as bus:
        rig = Rig(bus, f"before:{call}@data.mdb:1+:EIO")
        bus.busctl("topic", "create", "before")
        rig.on()
        for _ in range(3):
            refused = bus.busctl("topic", "create", "late", check=False)
            assert refused.returncode == 1, refused
            assert "data.mdb" in refused.stderr or "meta" in refused.stderr, refused
        rig.producer.told("ack", 500)
        rig.off()
        assert "late" not in bus.busctl("topic", "list").stdout.split()
        assert bus.stop() == 0, bus.busd.tail()
        bus.start()
        listed = bus.busctl("topic", "list").stdout.split()
        assert "before" in listed and "bad" in listed and "late" not in listed, listed
        bus.busctl("topic", "create", "late")
        rig.producer.told("ack", 50)
        assert not failures(rig.producer), failures(rig.producer)
        expect_kept(bus, rig)


FLUSH = "before:fdatasync@bad-0:1+:EIO"
tap.run("busd cannot flush for a producer", failed_flush, FLUSH, "direct=never")
tap.run("one flush of busd fails", failed_flush, "after:fdatasync@bad-0:1:EIO", "direct=never")
tap.run("busd cannot flush, and is killed", lambda: failed_flush(FLUSH, "direct=never", crash=True))
tap.run("a direct producer cannot flush", lambda: failed_flush(FLUSH, producer_too=True))
tap.run(
    "one flush of a direct producer fails",
    lambda: failed_flush("after:fdatasync@bad-0:1:EIO", producer_too=True, crash=True),
)
tap.run("recovery cannot flush", failed_flush_at_start)
tap.run("a segment cannot be read", unreadable)
tap.run("recovery cannot read", unreadable_at_start)
for call in ("pwrite", "write", "fdatasync"):
    tap.run(f"LMDB fails at {call}", metadata, call)
tap.done()
