# SPDX-License-Identifier: Apache-2.0
"""Fault F19: busd dies between its log and LMDB, and committed offsets are right afterwards.

One client commits rising offsets for several groups; busd is killed before or after the n-th call
that writes or flushes. After each start what was acknowledged is there, nothing that was not sent,
and nothing goes back; at the end LMDB is taken away and the topic alone tells the same.
"""

import random
import socket
import struct

import harness
import tap

GROUPS = 6
KILLS = 14
COMMIT, FETCH = 8, 9
CALLS = ("fdatasync", "any", "msync", "pwrite")


def text(value):
    raw = value.encode()
    return struct.pack(">h", len(raw)) + raw


class Client:
    def __init__(self, bus):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(harness.PATIENCE_S)
        self.socket.connect(str(bus.socket))

    def receive(self, n):
        raw = b""
        while len(raw) < n:
            more = self.socket.recv(n - len(raw))
            if not more:
                raise ConnectionError("busd is away")
            raw += more
        return raw

    def call(self, key, version, body):
        """The answer without its correlation id."""
        raw = struct.pack(">hhi", key, version, 1) + text("crash") + body
        self.socket.sendall(struct.pack(">i", len(raw)) + raw)
        (n,) = struct.unpack(">i", self.receive(4))
        return self.receive(n)[4:]

    def commit(self, group, offset):
        """The error code."""
        body = text(group) + struct.pack(">i", -1) + text("") + struct.pack(">qi", -1, 1) + text("t")
        body += struct.pack(">iiq", 1, 0, offset) + text("")
        return struct.unpack(">h", self.call(COMMIT, 2, body)[-2:])[0]

    def fetch(self, group):
        body = text(group) + struct.pack(">i", 1) + text("t") + struct.pack(">ii", 1, 0)
        answer = self.call(FETCH, 1, body)
        offset, length = struct.unpack_from(">qh", answer, 4 + 2 + 1 + 4 + 4)
        assert length == 0 and struct.unpack(">h", answer[-2:])[0] == 0, answer
        return offset


def listens(bus):
    """The socket of a busd that was killed is still there."""
    try:
        Client(bus).socket.close()
        return True
    except OSError:
        return False


def commit_some(bus, state, most):
    """Commits until busd dies, or `most` times."""
    try:
        client = Client(bus)
        for number in range(most):
            group = number % GROUPS
            sent, acked = state[group]
            state[group] = (sent + 1, acked)
            if client.commit(f"group-{group}", sent + 1) == 0:
                state[group] = (sent + 1, sent + 1)
    except OSError:
        pass


def expect_right(bus, state, seen):
    client = Client(bus)
    for group, (sent, acked) in enumerate(state):
        offset = client.fetch(f"group-{group}")
        assert offset >= acked, f"group {group}: {acked} was acknowledged, {offset} is there"
        assert offset <= sent, f"group {group}: {sent} was sent, {offset} is there"
        assert offset >= seen[group], f"group {group} went back from {seen[group]} to {offset}"
        seen[group] = offset


def killed_at_calls(seed):
    source = random.Random(seed)
    state, seen = [(-1, -1)] * GROUPS, [-1] * GROUPS
    with harness.Bus(settings={}) as bus:
        bus.start()
        bus.busctl("topic", "create", "t")
        assert Client(bus).commit("group-0", 0) == 0
        state[0] = (0, 0)
        bus.kill()
        for _ in range(KILLS):
            when, call = source.choice(("before", "after")), source.choice(CALLS)
            fault = f"{when}:{call}:{source.randrange(20, 400)}:kill"
            bus.launch(env=bus.environment(fault=fault))
            harness.until(lambda: listens(bus) or not bus.busd.alive(), "busd to listen, or death")
            commit_some(bus, state, source.randrange(50, 400))
            bus.kill()
            bus.start()
            expect_right(bus, state, seen)
            bus.kill()
        bus.start()
        assert bus.stop() == 0
        assert sum(acked > 0 for _, acked in state) == GROUPS, state
        (bus.data / "meta" / "data.mdb").unlink()
        bus.start()
        expect_right(bus, state, seen)


tap.run("killed at calls, seed 1", killed_at_calls, 1)
tap.run("killed at calls, seed 2", killed_at_calls, 2)
tap.done()
