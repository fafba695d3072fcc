# SPDX-License-Identifier: Apache-2.0
"""Fault F2: the power goes, and with it what was not flushed: pages, sizes, names.

busd and all workers run under the shim, which keeps a shadow of what was flushed. A cut takes the
shadow and, as the seed says, some of the rest, in whole and in torn pages. What is left is started
as after a boot, without shared memory. What was acknowledged with acks=all is there, and what a
reader of durable records saw; each partition is the beginning of what it was; nothing else is
served; and the log goes on. One data folder lives through all cuts of a seed.
"""

import os
import random
import shutil
import signal
import sys

import checker
import harness
import tap

sys.path.insert(0, str(harness.SOURCE / "tests/lib"))
import powerloss  # noqa: E402 (the folder has to be known first)

# 0 modulo 4 loses all that was not flushed, 1 loses nothing, the others mix: see powerloss.py.
SEEDS = [int(seed) for seed in os.environ.get("SHMBUS_SEED", "2 3 4 5 6").split()]
PARTITIONS = 3
# A topic where producers wait for flushes, and one that nobody flushes: each its first partition
# in the history.
TOPICS = {"t": 0, "lazy": PARTITIONS}
SETTINGS = {**harness.SMALL, "flush.interval.ms": 3600000}
ACKS = 150


class Life:
    """A data folder from cut to cut, and what may be asked of it after them."""

    def __init__(self, bus, seed):
        self.bus = bus
        self.seed = seed
        self.random = random.Random(seed)
        self.disk = bus.folder / "disk"
        self.disk.mkdir()
        bus.data = self.disk / "data"  # not there yet: its name has to survive as well
        self.cuts = 0
        self.producer_id = 0
        self.sent = {}  # (id, seq), of all lives
        self.promised = {}  # (id, seq) → (partition, offset), acknowledged with acks=all
        self.weak = {}  # as promised, with less than acks=all, since the last cut
        self.durable = []  # (partition, offset, id, seq) that a reader of durable records saw
        self.fresh = []  # the same of a reader of all records, since the last cut
        self.workers = []
        self.readers = []

    def produce(self, topic, count, *settings):
        self.producer_id += 1
        worker = self.bus.worker("produce", topic, self.producer_id, count, *settings, env=self.env)
        worker.topic, worker.strong = topic, "acks=1" not in settings
        return worker

    def consume(self, topic, *settings):
        worker = self.bus.worker("consume", topic, 0, 0, *settings, env=self.env)
        worker.topic, worker.durable = topic, "isolation.level=read_durable" in settings
        return worker

    # ---- before the cut

    def begin(self):
        """Starts busd on the disk; all that is there counts as flushed."""
        bus = self.bus
        self.shadow = bus.folder / f"shadow-{self.cuts}"
        powerloss.begin(str(self.disk), str(self.shadow))
        self.env = bus.environment(shadow=self.shadow)
        bus.start(env=self.env)

    def load(self):
        """Producers of each kind of promise, and readers."""
        self.workers = []
        for topic, *settings in (
            ("t", "acks=all", "worker.size=3000"),
            ("t", "acks=all", "linger.ms=1", "compression.type=zstd", "worker.size=20000"),
            ("t", "acks=all", "direct=never", "worker.size=5000"),
            ("t", "acks=1", "worker.size=9000", "worker.pause_us=500"),
            ("lazy", "acks=1", "worker.size=20000", "worker.pause_us=500"),
            ("lazy", "acks=1", "direct=never", "worker.size=2000", "worker.pause_us=500"),
        ):
            self.workers.append(self.produce(topic, 0, *settings))
        self.readers = [
            self.consume(topic, f"isolation.level={level}")
            for topic, level in (
                ("t", "read_durable"),
                ("lazy", "read_durable"),
                ("t", "read_uncommitted"),
                ("lazy", "read_uncommitted"),
            )
        ]
        for worker in self.workers:
            worker.told("ack", 1)
        # The moment of the cut is a number of records, from one producer's view.
        self.random.choice(self.workers).told("ack", self.random.randrange(ACKS, 2 * ACKS))

    def without_busd(self):
        """busd dies; those who write into the log themselves go on for a while."""
        self.bus.kill()
        alone = self.random.choice((self.workers[0], self.workers[1]))
        acks = alone.count("ack")
        more = self.random.randrange(1, 40)
        # They may run out of room before, as they wait for busd then.
        alone.until(lambda p: p.count("ack") >= acks + more or asleep(p), "more acknowledgements")

    # ---- the cut

    def cut(self):
        """All stop at one moment, the disk is looked at, and nobody comes back."""
        everybody = [p for p in self.workers + self.readers + [self.bus.busd] if p.alive()]
        for process in everybody:
            process.signal(signal.SIGSTOP)
        for process in everybody:
            process.stopped()
        self.remember()
        after = self.bus.folder / f"disk-{self.cuts}"
        self.cuts += 1
        lost = powerloss.cut(str(self.disk), str(self.shadow), str(after), self.seed)
        for process in everybody:
            process.kill()
        self.bus.forget_shared_memory()
        shutil.rmtree(self.disk)
        shutil.rmtree(self.shadow)
        after.rename(self.disk)
        return lost

    def remember(self):
        """What was told up to now."""
        self.weak = {}
        for worker in self.workers:
            history = checker.History()
            history.add_producer(placed(worker.lines(), worker.topic))
            failed = [line for line in worker.lines() if line.startswith(("fail", "error"))]
            assert not failed, failed[:5]
            self.sent.update(history.sent)
            (self.promised if worker.strong else self.weak).update(history.acked)
        for reader in self.readers:
            seen = checker.History()
            seen.add_consumer(reader.name, placed(reader.lines(), reader.topic))
            assert not seen.wrong, seen.wrong
            if reader.durable:
                self.durable += seen.reads[reader.name]
            else:
                self.fresh += seen.reads[reader.name]

    # ---- after the cut

    def judge(self):
        """What is there after the cut: the beginning of what was there."""
        late = [line for topic in TOPICS for line in placed(self.bus.read_all(topic), topic)]
        history = checker.History()
        history.sent = self.sent
        history.acked = self.promised
        history.add_consumer("late", late)
        wrong = checker.judge(history, complete=["late"])
        wrong += [line for line in late if line.startswith("error")]
        there = {(p, offset): (number, seq) for p, offset, number, seq in history.reads["late"]}
        for name, reads, needed in (("durable", self.durable, True), ("fresh", self.fresh, False)):
            for partition, offset, number, seq in reads:
                found = there.get((partition, offset))
                if found != (number, seq) and (needed or found):
                    wrong.append(f"{name} reader saw {number, seq} at {partition, offset}, not {found}")
        for value, place in self.weak.items():
            if there.get(place, value) != value:
                wrong.append(f"{value} was acknowledged at {place}, where {there[place]} is")
        for partition in range(PARTITIONS * len(TOPICS)):
            offsets = sorted(offset for p, offset in there if p == partition)
            if offsets != list(range(len(offsets))):
                wrong.append(f"partition {partition} does not begin at 0 or has holes: {offsets[:3]}")
        assert not wrong, (len(wrong), wrong[:20])
        # What was lost is not asked for again, and what survived is promised from now on.
        self.promised.update({value: place for place, value in there.items()})
        self.durable, self.fresh, self.weak = [], [], {}

    def verify(self):
        done = self.bus.busctl("log", "verify", self.bus.data, check=False)
        assert done.returncode == 0, done


def placed(lines, topic):
    """A worker's lines with the partitions of its topic as they are in the history."""
    column = {"ack": 3, "read": 1, "torn": 1}
    result = []
    for line in lines:
        words = line.split(" ")
        if words[0] in column:
            words[column[words[0]]] = str(int(words[column[words[0]]]) + TOPICS[topic])
        result.append(" ".join(words))
    return result


def asleep(process):
    """Whether a producer sleeps in the kernel with a record that is not acknowledged."""
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as stat:
        state = stat.read().rsplit(")", 1)[1].split()[0]
    return state == "S" and process.count("send") == process.count("ack") + 1


def goes_on(life):
    """New appends, which are judged with the old ones."""
    writers = [life.produce(topic, 50, "worker.size=4000") for topic in TOPICS]
    for writer in writers:
        assert writer.wait() == 0 and writer.count("ack") == 50, writer.tail()
        history = checker.History()
        history.add_producer(placed(writer.lines(), writer.topic))
        life.sent.update(history.sent)
        life.promised.update(history.acked)
    life.judge()


def one_seed(seed):
    """Cuts while all run, after busd died, and right after a recovery."""
    with harness.Bus(settings=SETTINGS) as bus:
        life = Life(bus, seed)
        life.begin()
        bus.busctl("topic", "create", *TOPICS, "-p", PARTITIONS)
        for death in ("none", "busd", "none"):
            life.load()
            if death == "busd":
                life.without_busd()
            lost = life.cut()
            print(f"# cut {life.cuts} with {death} dead: {lost}", flush=True)
            life.begin()
            life.judge()
            goes_on(life)
        life.workers, life.readers = [], []
        # A recovery is durable: what it cut off does not come back.
        life.cut()
        life.begin()
        life.judge()
        assert bus.stop() == 0, bus.busd.tail()
        life.verify()
        bus.forget_shared_memory()
        life.begin()
        life.judge()


for each in SEEDS:
    tap.run(f"power loss, seed {each}", one_seed, each)
tap.done()
