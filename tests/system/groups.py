# SPDX-License-Identifier: Apache-2.0
"""Members of a group through libbus: 1 to 6 and back to 1 over four partitions; they join, leave,
are killed and stopped, and busd is killed. Every record is processed, none by two members of one
generation, and a cooperative rebalance stops only the partitions that move."""

import collections
import signal

import harness
import tap

PARTITIONS = 4
SESSION_MS = 2000
SETTINGS = {"group.min.session.timeout.ms": 500, "group.initial.rebalance.delay.ms": 0}
MEMBER = (
    "auto.offset.reset=earliest",
    f"session.timeout.ms={SESSION_MS}",
    "heartbeat.interval.ms=200",
    "auto.commit.interval.ms=200",
)


class Group:
    """Members over a topic that a producer writes to."""

    def __init__(self, bus, producer, strategy, name="g"):
        self.bus, self.producer, self.strategy, self.name = bus, producer, strategy, name
        self.live, self.all = [], []

    def join(self, *settings):
        member = self.bus.worker(
            "group",
            "t",
            len(self.all),
            0,
            *MEMBER,
            f"group.id={self.name}",
            f"partition.assignment.strategy={self.strategy}",
            *settings,
        )
        self.live.append(member)
        self.all.append(member)
        return member

    def part(self, member, how):
        self.live.remove(member)
        if how == "leave":
            assert member.stop() == 0, member.tail()
        elif how == "kill":
            member.kill()
        else:
            member.signal(signal.SIGSTOP)
            member.stopped()

    def balanced(self):
        """Until the partitions are shared out evenly among those that live, and all of them read."""

        def even():
            shares = [owned(member) for member in self.live]
            least, rest = divmod(PARTITIONS, len(shares))
            sizes = sorted(len(share) for share in shares)
            want = sorted([least + 1] * rest + [least] * (len(shares) - rest))
            return sizes == want and set().union(*shares) == set(range(PARTITIONS))

        harness.until(even, "sharing out", detail=lambda: [sorted(owned(m)) for m in self.live])

    def finish(self):
        """Everything has been read; nobody reports anything, and nobody read beside another."""
        acked = {tuple(map(int, line.split()[3:5])) for line in lines(self.producer, "ack")}

        def read():
            seen = {place for member in self.all for place in reads(member)}
            return acked <= seen

        harness.until(read, "processing every record")
        for member in list(self.live):
            self.part(member, "leave")
        for member in self.all:
            assert not lines(member, "torn") and not lines(member, "error"), member.tail()
            spans(member)
        one_reader_a_generation(self.all)


def lines(worker, word):
    return [line for line in worker.lines() if line.startswith(word + " ")]


def reads(member):
    return [tuple(map(int, line.split()[1:3])) for line in lines(member, "read")]


def owned(member):
    """What a member has by what it told."""
    mine = set()
    for line in member.lines():
        word, *rest = line.split()
        if word == "assigned":
            mine.add(int(rest[0]))
        elif word in ("revoked", "lost"):
            mine.discard(int(rest[0]))
    return mine


def once(group):
    """No record twice: with members that only join and leave, all commit before they give up."""
    seen = [place for member in group.all for place in reads(member)]
    assert len(seen) == len(set(seen)), "a record was processed twice"


def spans(member):
    """(partition, first, behind the last) of each time that the member had a partition, and
    whether it had all that between: positions go one by one."""
    at = {}
    for line in member.lines():
        word, *rest = line.split()
        if word == "assigned":
            at[int(rest[0])] = int(rest[1])
        elif word == "read":
            partition, offset = int(rest[0]), int(rest[1])
            assert at[partition] == offset, (line, at)
            at[partition] = offset + 1
        elif word in ("revoked", "lost"):
            assert at.pop(int(rest[0])) == int(rest[1]), line


def one_reader_a_generation(members):
    """In each generation a partition has one reader at most."""
    readers = collections.defaultdict(set)
    for member in members:
        generation = None
        for line in member.lines():
            word, *rest = line.split()
            if word == "generation":
                generation = int(rest[0])
            elif word == "read":
                readers[generation, int(rest[0])].add(member.name)
    assert None not in [generation for generation, _ in readers] and readers
    doubled = {place: names for place, names in readers.items() if len(names) > 1}
    assert not doubled, doubled


class Undisturbed:
    """Around a rebalance: who keeps a partition was not made to give it up in between."""

    def __init__(self, group):
        self.group = group

    def __enter__(self):
        self.before = {member: (owned(member), len(member.lines())) for member in self.group.live}

    def __exit__(self, kind, *_):
        if kind:
            return
        moved = kept = 0
        for member, (partitions, seen) in self.before.items():
            if member not in self.group.live:
                continue
            gone = {int(line.split()[1]) for line in member.lines()[seen:] if line.startswith(("revoked", "lost"))}
            stays = partitions & owned(member)
            assert not gone & stays, (member.name, partitions, owned(member), gone)
            moved, kept = moved + len(gone), kept + len(stays)
        self.group.moved += moved
        self.group.kept += kept


def start(bus):
    """busd, the topic, and a producer that goes on and on."""
    bus.settings.update(SETTINGS)
    bus.start()
    bus.busctl("topic", "create", "t", "-p", str(PARTITIONS))
    return bus.worker("produce", "t", 1, 0, "acks=1", "worker.pause_us=1000")


def finish(bus, producer, *groups):
    assert producer.stop() == 0, producer.tail()
    for group in groups:
        group.finish()
    assert bus.stop() == 0, bus.busd.tail()


def up_and_down(group):
    for _ in range(6):
        group.join()
        group.balanced()
    while len(group.live) > 1:
        group.part(group.live[0], "leave")
        group.balanced()


def one_to_six_and_back(strategy):
    with harness.Bus() as bus:
        producer = start(bus)
        group = Group(bus, producer, strategy)
        up_and_down(group)
        finish(bus, producer, group)
        once(group)


def only_what_moves_stops():
    with harness.Bus() as bus:
        producer = start(bus)
        group = Group(bus, producer, "cooperative-sticky")
        group.moved = group.kept = 0
        for _ in range(5):
            with Undisturbed(group):
                group.join()
                group.balanced()
        for _ in range(3):
            with Undisturbed(group):
                group.part(group.live[0], "leave")
                group.balanced()
        with Undisturbed(group):
            group.part(group.live[0], "kill")
            group.balanced()
        assert group.moved and group.kept, (group.moved, group.kept)
        finish(bus, producer, group)


def side_by_side():
    with harness.Bus() as bus:
        producer = start(bus)
        groups = [Group(bus, producer, "range", "g"), Group(bus, producer, "cooperative-sticky", "h")]
        for _ in range(3):
            for group in groups:
                group.join()
        for group in groups:
            group.balanced()
        groups[0].part(groups[0].live[0], "kill")
        calm = owned(groups[1].live[0]), len(lines(groups[1].live[0], "revoked"))
        groups[0].balanced()
        assert calm == (owned(groups[1].live[0]), len(lines(groups[1].live[0], "revoked")))
        finish(bus, producer, *groups)


def killed_and_stopped(strategy):
    with harness.Bus() as bus:
        producer = start(bus)
        group = Group(bus, producer, strategy)
        for _ in range(4):
            group.join()
        group.balanced()
        group.part(group.live[0], "kill")
        group.balanced()
        stopped = group.live[0]
        group.part(stopped, "stop")
        group.balanced()
        stopped.signal(signal.SIGCONT)
        group.live.append(stopped)
        harness.until(lambda: lines(stopped, "lost"), "noticing that all was lost")
        group.balanced()
        finish(bus, producer, group)


def busd_restarts():
    with harness.Bus() as bus:
        producer = start(bus)
        group = Group(bus, producer, "range")
        for _ in range(2):
            group.join()
        group.balanced()
        before = [len(lines(member, "assigned")) for member in group.live]
        bus.kill()
        bus.start()
        for member in group.live:
            member.told("read", 300)
        assert before == [len(lines(member, "assigned")) for member in group.live]
        producer.told("ack", 10)
        group.join()
        group.balanced()
        finish(bus, producer, group)


for name in ("range", "roundrobin", "sticky", "cooperative-sticky"):
    tap.run(f"{name}: 1 to 6 and back to 1, every record once", one_to_six_and_back, name)
for name in ("range", "cooperative-sticky"):
    tap.run(f"{name}: members that are killed and stopped", killed_and_stopped, name)
tap.run("a cooperative rebalance stops only what moves", only_what_moves_stops)
tap.run("two groups side by side", side_by_side)
tap.run("busd is killed: the members keep what they have", busd_restarts)
tap.done()
