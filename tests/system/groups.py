# SPDX-License-Identifier: Apache-2.0
"""Members of a group through libbus: 1 to 6 and back to 1 over four partitions; they join, leave,
are killed and stopped, and busd is killed. Every record is processed, and no partition is two
members' at a time but for one that was dead or stopped."""

import signal

import harness
import tap

PARTITIONS = 4
SESSION_MS = 2000
SETTINGS = {"group.min.session.timeout.ms": 500, "group.initial.rebalance.delay.ms": 0}
MEMBER = (
    "group.id=g",
    "auto.offset.reset=earliest",
    f"session.timeout.ms={SESSION_MS}",
    "heartbeat.interval.ms=200",
    "auto.commit.interval.ms=200",
)


class Group:
    """Members over a topic that a producer writes to."""

    def __init__(self, bus, strategy):
        self.bus, self.strategy = bus, strategy
        self.live, self.all = [], []
        bus.settings.update(SETTINGS)
        bus.start()
        bus.busctl("topic", "create", "t", "-p", str(PARTITIONS))
        self.producer = bus.worker("produce", "t", 1, 0, "acks=1", "worker.pause_us=1000")

    def join(self, *settings):
        member = self.bus.worker(
            "group",
            "t",
            len(self.all),
            0,
            *MEMBER,
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
        assert self.producer.stop() == 0, self.producer.tail()
        acked = {tuple(map(int, line.split()[3:5])) for line in lines(self.producer, "ack")}

        def read():
            seen = {place for member in self.all for place in reads(member)}
            return acked <= seen

        harness.until(read, "processing every record")
        for member in list(self.live):
            self.part(member, "leave")
        for member in self.all:
            assert not lines(member, "torn") and not lines(member, "error"), member.tail()


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


def one_to_six_and_back(strategy):
    with harness.Bus() as bus:
        group = Group(bus, strategy)
        for _ in range(6):
            group.join()
            group.balanced()
        while len(group.live) > 1:
            group.part(group.live[0], "leave")
            group.balanced()
        group.finish()
        once(group)
        for member in group.all:
            spans(member)
        assert bus.stop() == 0, bus.busd.tail()


def killed_and_stopped():
    with harness.Bus() as bus:
        group = Group(bus, "cooperative-sticky")
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
        group.finish()
        for member in group.all:
            spans(member)
        assert bus.stop() == 0, bus.busd.tail()


def busd_restarts():
    with harness.Bus() as bus:
        group = Group(bus, "range")
        for _ in range(2):
            group.join()
        group.balanced()
        before = [len(lines(member, "assigned")) for member in group.live]
        bus.kill()
        bus.start()
        for member in group.live:
            member.told("read", 300)
        assert before == [len(lines(member, "assigned")) for member in group.live]
        group.producer.told("ack", 10)
        group.join()
        group.balanced()
        group.finish()
        assert bus.stop() == 0, bus.busd.tail()


for name in ("range", "roundrobin", "sticky", "cooperative-sticky"):
    tap.run(f"{name}: 1 to 6 and back to 1, every record once", one_to_six_and_back, name)
tap.run("members that are killed and stopped", killed_and_stopped)
tap.run("busd is killed: the members keep what they have", busd_restarts)
tap.done()
