# SPDX-License-Identifier: Apache-2.0
"""Consumer groups as busd's socket has them: a member of a few lines, frame by frame.

Members that die, a busd that is killed or stopped: who lives keeps its generation, and the share of
who does not goes to the others."""

import signal
import socket
import struct
import time

import harness
import tap

SESSION_MS = 1500
COMMIT, FETCH, JOIN, HEARTBEAT, LEAVE, SYNC = 8, 9, 11, 12, 13, 14
REBALANCE_IN_PROGRESS, MEMBER_ID_REQUIRED = 27, 79
SETTINGS = {"group.min.session.timeout.ms": 500, "group.initial.rebalance.delay.ms": 0}


def text(value):
    raw = value.encode()
    return struct.pack(">h", len(raw)) + raw


def blob(value):
    return struct.pack(">i", len(value)) + value


class Reader:
    """Takes the fields of an answer one by one."""

    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def number(self, form):
        (value,) = struct.unpack_from(">" + form, self.raw, self.at)
        self.at += struct.calcsize(">" + form)
        return value

    def bytes(self, form="h"):
        n = max(self.number(form), 0)
        self.at += n
        return self.raw[self.at - n : self.at]

    def text(self):
        return self.bytes().decode()


class Member:
    def __init__(self, bus, name, group="g", topic="t", session_ms=SESSION_MS):
        self.bus, self.name = bus, name
        self.group, self.topic, self.session_ms = group, topic, session_ms
        self.id, self.generation, self.share = "", -1, None
        self.connect()

    def connect(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(harness.PATIENCE_S)
        self.socket.connect(str(self.bus.socket))

    def send(self, key, version, body):
        header = struct.pack(">hhi", key, version, 1) + text(self.name)
        self.socket.sendall(blob(header + body))

    def receive(self):
        def take(n):
            raw = b""
            while len(raw) < n:
                piece = self.socket.recv(n - len(raw))
                if not piece:
                    raise ConnectionError(f"{self.name}: busd hung up")
                raw += piece
            return raw

        (n,) = struct.unpack(">i", take(4))
        answer = Reader(take(n))
        answer.number("i")  # correlation id
        return answer

    def ask(self, key, version, body):
        self.send(key, version, body)
        return self.receive()

    def send_join(self):
        subscription = struct.pack(">hi", 0, 1) + text(self.topic) + struct.pack(">i", -1)
        self.send(
            JOIN,
            5,
            text(self.group)
            + struct.pack(">ii", self.session_ms, 60000)
            + text(self.id)
            + struct.pack(">h", -1)  # no instance id
            + text("consumer")
            + struct.pack(">i", 1)
            + text("range")
            + blob(subscription),
        )

    def read_join(self):
        """The error, and the members if this one leads."""
        answer = self.receive()
        answer.number("i")  # throttled
        error, self.generation = answer.number("h"), answer.number("i")
        answer.text()  # protocol
        answer.text()  # leader
        self.id = answer.text() or self.id
        members = []
        for _ in range(answer.number("i")):
            members.append(answer.text())
            answer.bytes()
            answer.bytes("i")
        return error, members

    def start_join(self):
        """Sends the join that waits for the others; the id is known after it."""
        self.send_join()
        if not self.id:
            assert self.read_join()[0] == MEMBER_ID_REQUIRED
            self.send_join()

    def send_sync(self, shares):
        body = self.claim()
        body += struct.pack(">h", -1) + struct.pack(">i", len(shares))
        for member, share in shares.items():
            body += text(member) + blob(share.encode())
        self.send(SYNC, 3, body)

    def read_sync(self):
        answer = self.receive()
        answer.number("i")
        error = answer.number("h")
        self.share = answer.bytes("i").decode()
        return error

    def claim(self):
        return text(self.group) + struct.pack(">i", self.generation) + text(self.id)

    def beat(self):
        answer = self.ask(HEARTBEAT, 3, self.claim() + struct.pack(">h", -1))
        answer.number("i")
        return answer.number("h")

    def commit(self, offset):
        row = struct.pack(">iqi", 0, offset, -1) + text("note")
        body = self.claim() + struct.pack(">h", -1) + struct.pack(">i", 1) + text(self.topic)
        answer = self.ask(COMMIT, 7, body + struct.pack(">i", 1) + row)
        answer.number("i"), answer.number("i"), answer.text(), answer.number("i")
        answer.number("i")
        return answer.number("h")

    def committed(self):
        body = text(self.group) + struct.pack(">i", 1) + text(self.topic) + struct.pack(">ii", 1, 0)
        answer = self.ask(FETCH, 5, body)
        answer.number("i"), answer.number("i"), answer.text(), answer.number("i")
        answer.number("i")
        return answer.number("q")


def share_out(members):
    """All have sent their joins: they get a generation, and each a share that has its name."""
    led = [member.read_join() for member in members]
    assert all(error == 0 for error, _ in led), led
    leader = next(i for i, (_, listed) in enumerate(led) if listed)
    names = {member.id: member.name for member in members}
    assert set(led[leader][1]) == set(names), (led, names)
    for i, member in enumerate(members):
        member.send_sync(names if i == leader else {})
    for member in members:
        assert member.read_sync() == 0 and member.share == member.name, member.share
    assert len({member.generation for member in members}) == 1


def gather(bus, count):
    """Members in one stable generation."""
    members = [Member(bus, f"m{i}") for i in range(count)]
    members[0].start_join()
    share_out(members[:1])
    for member in members[1:]:
        member.start_join()
    if count > 1:
        rejoin(members[0])
        share_out(members)
    return members


def rejoin(*members):
    """Heartbeats until all of them are told to join again, and they do."""

    def told():
        return all([member.beat() == REBALANCE_IN_PROGRESS for member in members])

    harness.until(told, "a rebalance")
    for member in members:
        member.start_join()


def with_bus(function):
    def case():
        with harness.Bus(settings={**harness.SMALL, **SETTINGS}) as bus:
            bus.start()
            bus.busctl("topic", "create", "t", "-p", "4")
            function(bus)
            assert bus.stop() == 0, bus.busd.tail()

    return case


@with_bus
def member_dies(bus):
    """The share of a member that is silent goes to the others; the group goes on."""
    members = gather(bus, 3)
    members[2].socket.close()
    rejoin(*members[:2])
    share_out(members[:2])
    assert members[0].commit(7) == 0


@with_bus
def dies_while_joining(bus):
    """A join that nobody waits for any more holds the others up for its session only."""
    members = gather(bus, 2)
    late = Member(bus, "late")
    late.start_join()
    late.socket.close()
    rejoin(*members)
    share_out(members)


@with_bus
def daemon_killed(bus):
    """A killed busd comes back with the group as it was; nobody has to join again."""
    members = gather(bus, 2)
    generation = members[0].generation
    assert members[1].commit(42) == 0
    bus.kill()
    bus.start()
    for member in members:
        member.connect()
        assert member.beat() == 0
        member.send_sync({})
        assert member.read_sync() == 0 and member.share == member.name
    assert members[0].committed() == 42
    assert members[0].commit(43) == 0 and members[1].committed() == 43
    assert members[0].generation == generation


@with_bus
def daemon_stopped(bus):
    """busd itself is stopped for longer than the sessions: its members have done nothing wrong."""
    members = gather(bus, 2)
    bus.busd.signal(signal.SIGSTOP)
    bus.busd.stopped()
    for member in members:
        member.send(HEARTBEAT, 3, member.claim() + struct.pack(">h", -1))
    over = time.monotonic() + SESSION_MS / 1000 * 2
    harness.until(lambda: time.monotonic() > over, "the sessions' end")
    bus.busd.signal(signal.SIGCONT)
    for member in members:
        answer = member.receive()
        answer.number("i")
        assert answer.number("h") == 0
        assert member.beat() == 0


if __name__ == "__main__":
    tap.run("the share of a dead member goes to the others", member_dies)
    tap.run("a client that dies while it joins does not stop the group", dies_while_joining)
    tap.run("after a kill of busd members go on in their generation", daemon_killed)
    tap.run("no session ends because busd was stopped", daemon_stopped)
    tap.done()
