# SPDX-License-Identifier: Apache-2.0
"""Members of a group that do what they are told, one step after the other: commits, time-outs,
static members, topics that come and go, and everything that is refused."""

import signal
import subprocess

import harness
import tap

LONG_MS = 30000
SETTINGS = {"group.min.session.timeout.ms": 200, "group.initial.rebalance.delay.ms": 0}
MEMBER = (
    "group.id=g",
    "auto.offset.reset=earliest",
    "heartbeat.interval.ms=50",
    "enable.auto.commit=false",
    "metadata.max.age.ms=100",
)


class Member:
    """tests/system/member, whose commands are methods."""

    def __init__(self, bus, *settings, preexec=None):
        command = [harness.BUILD / "tests/system/member", bus.socket, *MEMBER, *settings]
        self.process = bus.spawn(
            command, "member", env=bus.environment(), stdin=subprocess.PIPE, preexec=preexec
        )
        self.owned, self.read, self.told = {}, [], []
        self.commands, self.seen = 0, 0

    def tell(self, command):
        """Gives a command without waiting."""
        self.process.popen.stdin.write(f"{command}\n".encode())
        self.process.popen.stdin.flush()
        self.commands += 1

    def answer(self):
        """The lines of the commands given, the last one the outcome."""
        self.process.until(lambda p: p.count("=") >= self.commands, "an answer")
        lines = self.process.lines()[self.seen :]
        self.seen += len(lines)
        return self.take(lines)

    def ask(self, command):
        self.tell(command)
        return self.answer()

    def take(self, lines):
        for line in lines:
            word, *rest = line.split()
            place = tuple(rest[:2]) if len(rest) > 1 else None
            if word == "assigned":
                self.owned[place] = int(rest[2])
            elif word in ("revoked", "lost"):
                del self.owned[place]
            elif word == "read":
                self.read.append((rest[0], int(rest[1]), int(rest[2])))
            if word in ("assigned", "revoked", "lost", "stored"):
                self.told.append(line.strip())
        return lines

    def do(self, command):
        """A command that has to go well; its lines but for the outcome."""
        lines = self.ask(command)
        assert lines[-1].strip() == "= NONE", (command, lines)
        return lines[:-1]

    def refused(self, command, error, *words):
        """A command that has to fail so, with a text that has these words."""
        last = self.ask(command)[-1]
        assert last.startswith(f"= {error} "), (command, last)
        for word in words:
            assert word in last, (word, last)

    def offset(self, command):
        (line,) = self.do(command)
        return int(line.split()[1])

    def generation(self):
        (line,) = self.do("member")
        return int(line.split()[1])

    def partitions(self, topic="t"):
        return sorted(int(p) for name, p in self.owned if name == topic)

    def end(self):
        self.process.popen.stdin.close()
        assert self.process.wait() == 0, self.process.tail()


def settle(what, *members):
    """All poll until what() is true."""

    def step():
        for member in members:
            member.do("poll 10")
        return what()

    harness.until(step, "settling", detail=lambda: [(m.owned, m.told[-5:]) for m in members])


def until_told(member, word):
    """Polls until a line with this word was told."""
    settle(lambda: any(line.startswith(word) for line in member.told), member)


def until_refused(member, error, *words, unless=lambda: False):
    """Polls until that fails so, or need not any more."""
    lines = []

    def step():
        lines[:] = member.ask("poll 10")
        return not lines[-1].startswith("= NONE") or unless()

    harness.until(step, f"{error} from poll", detail=lambda: (lines, member.told))
    if lines[-1].startswith("= NONE"):
        return
    assert lines[-1].startswith(f"= {error} "), lines
    for word in words:
        assert word in lines[-1], (word, lines)


def topic(bus, name="t", partitions=1, records=0):
    bus.busctl("topic", "create", name, "-p", str(partitions))
    send(bus, name, records)


def send(bus, name, records, partition=0):
    if records:
        text = "".join(f"{n}\n" for n in range(records))
        bus.busctl("produce", name, "-p", str(partition), stdin=text)


def started(bus, **settings):
    bus.settings.update(SETTINGS)
    bus.settings.update({key.replace("_", "."): value for key, value in settings.items()})
    bus.start()


def subscribed(bus, *settings, topics="t"):
    member = Member(bus, *settings)
    member.do(f"subscribe {topics}")
    return member


# ---- commits -------------------------------------------------------------------------------------


def commits():
    with harness.Bus() as bus:
        started(bus)
        topic(bus, records=10)
        one = subscribed(bus)
        settle(lambda: len(one.read) == 10, one)
        assert one.offset("committed t 0") == -1
        one.do("commit t 0 3")
        assert one.offset("committed t 0") == 3
        one.do("async t 0 4")
        one.do("async t 0 5")
        one.do("async")
        until_told(one, "stored 1")
        settle(lambda: len([t for t in one.told if t.startswith("stored")]) == 3, one)
        assert one.offset("committed t 0") == 10
        one.do("async")
        settle(lambda: one.told[-1] == "stored 0 NONE", one)
        one.do("commit")
        one.do("commit t 0 7")
        one.end()
        two = subscribed(bus)
        settle(lambda: len(two.read) == 3, two)
        assert two.told == ["assigned t 0 7"], two.told
        assert [offset for _, _, offset in two.read] == [7, 8, 9]
        two.do("unsubscribe")
        assert two.told == ["assigned t 0 7", "revoked t 0 10"]
        assert two.offset("committed t 0") == 7
        two.end()


def commits_are_told_at_the_end():
    with harness.Bus() as bus:
        started(bus)
        topic(bus, records=5)
        one = subscribed(bus)
        settle(lambda: len(one.read) == 5, one)
        bus.busd.signal(signal.SIGSTOP)
        bus.busd.stopped()
        for offset in range(1, 4):
            one.do(f"async t 0 {offset}")
        bus.busd.signal(signal.SIGCONT)
        lines = one.do("close")
        assert [line.strip() for line in lines] == ["revoked t 0 5"] + ["stored 1 NONE"] * 3, lines


def automatic_commits():
    with harness.Bus() as bus:
        started(bus)
        topic(bus, records=5)
        one = subscribed(bus, "enable.auto.commit=true", "auto.commit.interval.ms=50")
        settle(lambda: one.offset("committed t 0") == 5, one)
        one.process.kill()
        waits = subscribed(
            bus, "enable.auto.commit=true", "auto.commit.interval.ms=3000", "group.id=w"
        )
        settle(lambda: len(waits.read) == 5, waits)
        waits.tell("poll 100000")
        watcher = Member(bus, "group.id=w")
        harness.until(lambda: watcher.offset("committed t 0") == 5, "a commit while it waits")
        waits.process.kill()
        rarely = "enable.auto.commit=true", "auto.commit.interval.ms=1000000", "group.id=h"
        two, watcher = subscribed(bus, *rarely), Member(bus, "group.id=h")
        settle(lambda: len(two.read) == 5, two)
        assert watcher.offset("committed t 0") == -1
        two.end()
        assert watcher.offset("committed t 0") == 5


def commits_without_a_subscription():
    with harness.Bus() as bus:
        started(bus)
        topic(bus, records=5)
        lone = Member(bus)
        lone.do("assign t 0 2")
        lone.do("poll 1000")
        lone.do("commit")
        assert lone.offset("committed t 0") == 5
        lone.do("async t 0 3")
        settle(lambda: lone.told == ["stored 1 NONE"], lone)
        assert lone.offset("committed t 0") == 3
        member = subscribed(bus)
        settle(lambda: member.owned, member)
        lone.refused("commit t 0 4", "UNKNOWN_MEMBER_ID", "group g")
        lone.do("async t 0 4")
        settle(lambda: len(lone.told) == 2, lone)
        assert lone.told[1].startswith("stored 1 UNKNOWN_MEMBER_ID "), lone.told
        assert member.offset("committed t 0") == 3
        lone.do("async")
        lines = lone.do("close")
        assert lines and lines[-1].startswith("stored 1 UNKNOWN_MEMBER_ID "), lines
        nobody = Member(bus, "group.id=")
        for command in ("commit", "async", "commit t 0 1", "committed t 0", "subscribe t"):
            nobody.refused(command, "INVALID_GROUP_ID", "group.id")


# ---- time-outs -----------------------------------------------------------------------------------


def no_poll():
    with harness.Bus() as bus:
        started(bus)
        topic(bus, partitions=2)
        lazy = subscribed(bus, "max.poll.interval.ms=1000")
        settle(lambda: lazy.partitions() == [0, 1], lazy)
        busy = subscribed(bus)
        settle(lambda: lazy.partitions() and busy.partitions(), lazy, busy)
        settle(lambda: busy.partitions() == [0, 1], busy)
        lazy.refused(f"commit t {lazy.partitions()[0]} 0", "UNKNOWN_MEMBER_ID", "bus_poll")
        until_told(lazy, "lost")
        settle(lambda: lazy.partitions() and busy.partitions(), lazy, busy)
        # A poll that waits for longer than that is no pause.
        generation = lazy.generation()
        lazy.do("poll 2500")
        assert lazy.generation() == generation
        assert busy.generation() == generation


def session():
    """busd is not heard of: the partitions are lost without its help, and come back with it."""
    with harness.Bus() as bus:
        started(bus)
        topic(bus, records=5)
        one = subscribed(bus, "session.timeout.ms=1000")
        settle(lambda: len(one.read) == 5, one)
        bus.busd.signal(signal.SIGSTOP)
        bus.busd.stopped()
        until_told(one, "lost")
        assert one.owned == {}
        bus.busd.signal(signal.SIGCONT)
        settle(lambda: one.owned, one)
        assert one.told == ["assigned t 0 0", "lost t 0 5", "assigned t 0 0"], one.told


def stopped_member(command):
    """The first thing that a member does after its session, before it can know."""
    with harness.Bus() as bus:
        started(bus)
        topic(bus, records=5)
        one = subscribed(bus, "session.timeout.ms=500")
        settle(lambda: len(one.read) == 5, one)
        one.process.signal(signal.SIGSTOP)
        one.process.stopped()
        heir = subscribed(bus)
        settle(lambda: heir.owned, heir)
        heir.do("commit t 0 4")
        send(bus, "t", 1)
        one.tell(command)
        one.process.signal(signal.SIGCONT)
        lines = one.answer()
        if command.startswith("commit"):
            assert lines[-1].startswith(("= UNKNOWN_MEMBER_ID", "= ILLEGAL_GENERATION")), lines
        assert len(one.read) == 5, lines
        until_told(one, "lost")
        assert heir.offset("committed t 0") == 4


def busd_restarts():
    with harness.Bus() as bus:
        started(bus)
        topic(bus, partitions=2)
        one, two = subscribed(bus), subscribed(bus)
        settle(lambda: one.partitions() and two.partitions(), one, two)
        send(bus, "t", 3)
        settle(lambda: len(one.read) + len(two.read) == 3, one, two)
        before = one.generation(), list(one.told), list(two.told)
        bus.kill()
        one.do("poll 50")
        one.refused("async", "DAEMON_UNAVAILABLE")
        bus.start()
        send(bus, "t", 3)
        settle(lambda: len(one.read) + len(two.read) == 6, one, two)
        for member in (one, two):
            member.do("commit")
        assert (one.generation(), one.told, two.told) == before
        assert two.generation() == before[0]


# ---- topics --------------------------------------------------------------------------------------


def topics_change():
    with harness.Bus() as bus:
        started(bus)
        topic(bus)
        one = subscribed(bus, topics="t later")
        two = subscribed(bus, topics="t later")
        settle(lambda: len(one.owned) + len(two.owned) == 1, one, two)
        bus.busctl("topic", "alter", "t", "-p", "2")
        settle(lambda: len(one.owned) == len(two.owned) == 1, one, two)
        topic(bus, "later", partitions=2)
        settle(lambda: len(one.owned) == len(two.owned) == 2, one, two)
        send(bus, "later", 2, partition=1)
        settle(lambda: len(one.read) + len(two.read) == 2, one, two)
        bus.busctl("topic", "delete", "--yes", "later")
        for member in (one, two):
            # The group may take the partition away before a poll has met the deletion.
            if member.partitions("later"):
                until_refused(
                    member, "UNKNOWN_TOPIC_OR_PARTITION", "later",
                    unless=lambda m=member: not m.partitions("later"),
                )  # fmt: skip
        settle(lambda: len(one.owned) == len(two.owned) == 1, one, two)
        send(bus, "t", 3)
        settle(lambda: len(one.read) + len(two.read) == 5, one, two)
        topic(bus, "later", records=1)
        settle(lambda: len(one.read) + len(two.read) == 6, one, two)


def topic_is_another():
    """Deleted and made again before anybody looks, while the leader has nothing to do with it."""
    with harness.Bus() as bus:
        started(bus)
        topic(bus, "u")
        topic(bus, records=3)
        rarely = "metadata.max.age.ms=1000000"
        leader = subscribed(bus, rarely, topics="u")
        settle(lambda: leader.owned, leader)
        one = subscribed(bus, rarely)
        settle(lambda: leader.owned and len(one.read) == 3, leader, one)
        generation = one.generation()
        bus.busctl("topic", "delete", "--yes", "t")
        topic(bus, records=4)
        harness.until(
            lambda: one.ask("poll 10") and leader.do("poll 0") is not None and len(one.read) == 7,
            "reading the new topic",
            detail=lambda: one.told,
        )
        assert one.generation() == generation
        assert one.told[1:] == ["revoked t 0 3", "assigned t 0 0"], one.told


def subscription_changes():
    with harness.Bus() as bus:
        started(bus)
        for name in ("a", "b"):
            topic(bus, name, records=1)
        for strategy in ("range", "cooperative-sticky"):
            one = subscribed(bus, f"partition.assignment.strategy={strategy}", topics="a")
            settle(lambda one=one: one.partitions("a") == [0], one)
            one.do("subscribe a b")
            settle(lambda one=one: len(one.owned) == 2, one)
            one.do("subscribe b")
            settle(lambda one=one: one.partitions("b") == [0] and len(one.owned) == 1, one)
            one.do("unsubscribe")
            assert not one.owned
            one.do("assign a 0 0")
            one.refused("subscribe a", "WRONG_STATE", "bus_assign")
            one.end()


def event_loop():
    with harness.Bus() as bus:
        started(bus)
        topic(bus)
        one = Member(bus)
        assert one.do("wait 0") == ["silent"]
        one.do("poll 0")
        one.do("subscribe t")
        assert one.do(f"wait {LONG_MS}") == ["readable"]
        settle(lambda: one.owned, one)
        one.do("poll 0")
        two = subscribed(bus)
        assert one.do(f"wait {LONG_MS}") == ["readable"]
        settle(lambda: len(one.owned) + len(two.owned) == 1, one, two)


def event_loop_stays():
    """Who polls when the fd says so is called in time, and commits."""
    with harness.Bus() as bus:
        started(bus)
        topic(bus, records=3)
        one = subscribed(
            bus, "max.poll.interval.ms=1500", "enable.auto.commit=true", "auto.commit.interval.ms=300"
        )
        settle(lambda: len(one.read) == 3, one)
        one.do("poll 0")
        for _ in range(12):
            assert one.do(f"wait {LONG_MS}") == ["readable"]
            one.do("poll 0")
        assert one.told == ["assigned t 0 0"]
        assert one.offset("committed t 0") == 3


# ---- static members ------------------------------------------------------------------------------


def static_members():
    with harness.Bus() as bus:
        started(bus)
        topic(bus, partitions=2)
        names = "group.instance.id=a", "group.instance.id=b"
        one, two = (subscribed(bus, name) for name in names)
        settle(lambda: one.partitions() and two.partitions(), one, two)
        mine, generation = one.partitions(), one.generation()
        one.end()
        again = subscribed(bus, names[0])
        settle(lambda: again.owned, again, two)
        assert (again.partitions(), again.generation()) == (mine, generation)
        assert two.generation() == generation
        thief = subscribed(bus, names[0])
        settle(lambda: thief.owned, thief, two)
        until_refused(again, "FENCED_INSTANCE_ID", "group g", "group.instance.id=a")
        assert again.told[-1].startswith("lost"), again.told
        until_refused(again, "FENCED_INSTANCE_ID")
        assert thief.partitions() == mine
        # After the fall the handle is good for a new try.
        again.do("unsubscribe")
        again.end()


def static_leader_looks_on():
    with harness.Bus() as bus:
        started(bus)
        topic(bus)
        one = subscribed(bus, "group.instance.id=a")
        settle(lambda: one.owned, one)
        one.end()
        again = subscribed(bus, "group.instance.id=a")
        settle(lambda: again.owned, again)
        bus.busctl("topic", "alter", "t", "-p", "2")
        settle(lambda: again.partitions() == [0, 1], again)


# ---- what is refused -----------------------------------------------------------------------------


def refused_members():
    with harness.Bus() as bus:
        started(bus, group_max_size=2)
        topic(bus)
        members = [subscribed(bus, "partition.assignment.strategy=range") for _ in range(2)]
        settle(lambda: members[0].generation() == members[1].generation() > 0, *members)
        full = subscribed(bus)
        until_refused(full, "GROUP_MAX_SIZE_REACHED", "group g is full", "group.max.size")
        members.pop().end()
        mixed = subscribed(bus, "partition.assignment.strategy=sticky,roundrobin")
        until_refused(
            mixed, "INCONSISTENT_GROUP_PROTOCOL", "partition.assignment.strategy=sticky,roundrobin"
        )
        hasty = subscribed(bus, "session.timeout.ms=100", "group.id=h")
        until_refused(
            hasty, "INVALID_SESSION_TIMEOUT", "session.timeout.ms=100", "group.min.session.timeout.ms"
        )
        settle(lambda: members[0].owned, *members)
        for member in (full, mixed, hasty):
            member.end()


def refused_calls():
    with harness.Bus() as bus:
        started(bus)
        topic(bus, partitions=2, records=3)
        one, two = subscribed(bus), subscribed(bus)
        settle(lambda: one.partitions() and two.partitions(), one, two)
        (theirs,) = two.partitions()
        (mine,) = one.partitions()
        for verb in ("commit", "async"):
            one.refused(f"{verb} t {theirs} 1", "WRONG_STATE", f"t-{theirs}", "not assigned")
            one.refused(f"{verb} t {mine} -5", "INVALID_ARGUMENT", f"t-{mine}")
        one.refused(f"assign t {mine} 0", "WRONG_STATE", "bus_unsubscribe")
        one.refused("subscribe", "INVALID_ARGUMENT")
        one.refused(f"seek t {theirs} 0", "WRONG_STATE")
        assert two.offset(f"committed t {theirs}") == -1


def offsets_out_of_range():
    with harness.Bus() as bus:
        started(bus)
        topic(bus, records=10)
        admin = Member(bus)
        admin.do("commit t 0 2")
        bus.worker("cut", "t", 0, 5).wait()
        one = subscribed(bus)
        settle(lambda: len(one.read) == 5, one)
        assert one.read[0][2] == 5
        one.end()
        strict = subscribed(bus, "auto.offset.reset=none")
        until_refused(strict, "OFFSET_OUT_OF_RANGE", "t-0")
        strict.do("seek t 0 8")
        settle(lambda: len(strict.read) == 2, strict)
        strict.do("commit")
        strict.end()
        fresh = subscribed(bus, "auto.offset.reset=none", "group.id=fresh")
        until_refused(fresh, "OFFSET_OUT_OF_RANGE", "t-0", "auto.offset.reset=none")
        fresh.do("commit")
        assert fresh.offset("committed t 0") == -1
        fresh.do("seek t 0 9")
        settle(lambda: len(fresh.read) == 1, fresh)
        last = subscribed(bus, "auto.offset.reset=latest", "group.id=latest")
        settle(lambda: last.owned, last)
        assert last.owned == {("t", "0"): 10}, last.owned


tap.run("commits: sync, async, of offsets; the next member goes on there", commits)
tap.run("commits under way are told at the end", commits_are_told_at_the_end)
tap.run("automatic commits: while polls go on, inside of one, and at the end", automatic_commits)
tap.run("commits of assigned partitions", commits_without_a_subscription)
tap.run("a member that does not poll is out until it does", no_poll)
tap.run("busd is not heard of: all is lost after the session's time", session)
tap.run("a member that was stopped cannot commit any more", stopped_member, "commit t 0 5")
tap.run("a member that was stopped does not read on", stopped_member, "poll 0")
tap.run("busd is killed and started: the same generation goes on", busd_restarts)
tap.run("topics come, grow and go", topics_change)
tap.run("a topic is deleted and made again", topic_is_another)
tap.run("a subscription changes", subscription_changes)
tap.run("the fd of an event loop tells of a rebalance", event_loop)
tap.run("an application with an event loop stays in its group", event_loop_stays)
tap.run("static members come back to what they had, and are fenced", static_members)
tap.run("a static leader that came back looks for new partitions", static_leader_looks_on)
tap.run("members that are refused are told why", refused_members)
tap.run("calls that are refused", refused_calls)
tap.run("committed offsets outside of the log, or none", offsets_out_of_range)
tap.done()
