# SPDX-License-Identifier: Apache-2.0
"""The metadata, read by a program that knows shmbus-format(7) only (meta_reader.py).

Topics, settings, a group with offsets, idempotent producers and a deleted topic leave their traces;
then busd ends, and every value must be what the page says, and say what happened.
"""

import hashlib
import hmac
import pathlib
import socket
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
import harness  # noqa: E402 (the folder has to be known first)
import tap  # noqa: E402

import meta_reader  # noqa: E402
import reader  # noqa: E402

CREATE, DELETE, GROW, ALTER, NODE_SETTINGS, REGISTER, PRODUCER_IDS = range(1, 8)
RULE_ADD, RULE_REMOVE, USER_SET, USER_REMOVE = range(8, 12)
PASSWORD = "pencil"
PARTITIONS = 3
SENT = 40
MANY = 60  # topics, so that the table of rows takes more than a page
COMMIT, JOIN, SYNC = 8, 11, 14
SESSION_MS, REBALANCE_MS = 30000, 61000
COMMITTED, NOTE = 4711, "a note"
# The files of a deleted topic stay.
KEPT = "before:rename@/deleted/:1+:EIO"


def text(value):
    raw = value.encode()
    return struct.pack(">h", len(raw)) + raw


def blob(value):
    return struct.pack(">i", len(value)) + value


class World:
    """A bus, used once; what it left is decoded."""

    def __init__(self):
        self.bus = harness.Bus(settings={"group.initial.rebalance.delay.ms": 0})

    def fill(self):
        bus = self.bus
        bus.start(env=bus.environment(fault=KEPT))
        bus.busctl("topic", "create", "t", "-p", "1", "-c", "retention.ms=86400000")
        bus.busctl("topic", "alter", "t", "-p", str(PARTITIONS))
        bus.busctl("topic", "alter", "t", "-c", "segment.bytes=1048576")
        bus.busctl("topic", "create", *(f"many-{i}" for i in range(MANY)))
        bus.busctl("topic", "create", "gone")
        bus.busctl("topic", "delete", "-y", "gone")
        worker = bus.worker("produce", "t", 1, SENT, "direct=never", "enable.idempotence=true")
        assert worker.wait() == 0, worker.tail()
        self.commit()
        self.join()
        self.secure()
        assert bus.stop() == 0, bus.busd.tail()
        self.meta = meta_reader.Metadata(bus.data / "meta")

    def secure(self):
        bus = self.bus
        bus.busctl("acl", "add", "anna", "-t", "orders-*", "-o", "read", "-H", "10.0.0.1")
        bus.busctl("acl", "add", "*", "-d", "-g", "g", "-o", "delete")
        bus.busctl("acl", "remove", "*", "-g", "g")
        bus.busctl("user", "add", "anna", stdin=f"{PASSWORD}\n")
        bus.busctl("user", "add", "gone", "-m", "scram-sha-256", stdin="x\n")
        bus.busctl("user", "delete", "gone")

    def ask(self, key, version, body):
        """A request and its answer, as their bytes, behind the correlation id."""
        frame = struct.pack(">hhi", key, version, 1) + text("me") + body
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(harness.PATIENCE_S)
            wire.connect(str(self.bus.socket))
            wire.sendall(blob(frame))
            answer = wire.makefile("rb")
            (size,) = struct.unpack(">i", answer.read(4))
            return answer.read(size)[4:]

    def commit(self):
        """As a consumer that belongs to no generation."""
        row = struct.pack(">iqi", 1, COMMITTED, -1) + text(NOTE)
        body = text("g") + struct.pack(">i", -1) + text("") + struct.pack(">hi", -1, 1)
        body += text("t") + struct.pack(">i", 1) + row
        assert self.ask(COMMIT, 7, body)[-2:] == b"\0\0", "the commit was refused"

    def join(self):
        """A group of one member, with its share."""
        body = text("h") + struct.pack(">ii", SESSION_MS, REBALANCE_MS) + text("")
        body += text("consumer") + struct.pack(">i", 1) + text("range") + blob(b"wanted")
        answer = meta_reader.Fields(self.ask(JOIN, 3, body))
        assert answer.number("i") == 0 and answer.number("h") == 0, answer.data
        generation, _, leader = answer.number("i"), answer.text(), answer.text()
        self.member = answer.text()
        assert self.member == leader, (self.member, leader)
        body = text("h") + struct.pack(">i", generation) + text(self.member)
        body += struct.pack(">i", 1) + text(self.member) + blob(b"share")
        assert self.ask(SYNC, 1, body)[4:6] == b"\0\0", "the share was refused"

    def topics(self):
        rows = self.meta.rows.items()
        return {row["name"]: (key[1:], row) for key, row in rows if key[:1] == b"t"}


world = World()


def identity():
    (row,) = world.meta.identity.values()
    lines, _ = meta_reader.backup(world.bus.data / "meta/backup")
    assert lines["cluster"] == row["cluster"] and lines["node"] == str(row["node"]), lines
    assert lines["instance"] == row["instance"].hex(), lines


def log():
    indexes = [struct.unpack(">q", key)[0] for key in world.meta.log]
    assert indexes == list(range(len(indexes))), indexes
    told = [(row["type"], row["name"]) for row in world.meta.log.values()]
    assert (CREATE, "t") in told and (DELETE, None) in told and (REGISTER, "") in told, told
    assert (PRODUCER_IDS, None) in told, told
    create = next(row for row in world.meta.log.values() if row["name"] == "t")
    assert create["count"] == len(create["replicas"]) == 1, create
    grow, alter = (row for row in world.meta.log.values() if row["type"] in (GROW, ALTER))
    assert grow["topic"] == alter["topic"] == create["topic"], (grow, alter)
    assert grow["count"] == PARTITIONS and grow["replicas"] == create["replicas"], grow
    assert alter["settings"] == [(0, "segment.bytes", "1048576")], alter
    assert create["settings"] == [(0, "retention.ms", "86400000")], create
    gone = next(row for row in world.meta.log.values() if row["name"] == "gone")
    deleted = next(row for row in world.meta.log.values() if row["type"] == DELETE)
    assert deleted["topic"] == gone["topic"], (deleted, gone)


def rows():
    topics = world.topics()
    names = {"t", "__consumer_offsets", *(f"many-{i}" for i in range(MANY))}
    assert set(topics) == names, sorted(set(topics) ^ names)
    key, topic = topics["t"]
    create = next(row for row in world.meta.log.values() if row["name"] == "t")
    settings = {"retention.ms": "86400000", "segment.bytes": "1048576"}
    assert key == create["topic"] and topic["settings"] == settings, topic
    assert len(topic["partitions"]) == PARTITIONS, topic
    (node,) = world.meta.identity.values()
    for partition in topic["partitions"]:
        assert partition["leader"] == node["node"], partition
        assert partition["replicas"] == partition["in sync"] == [node["node"]], partition
    assert world.meta.rows[b"n" + struct.pack(">i", node["node"])] == {"host": "", "port": 0}
    given = sum(row["count"] for row in world.meta.log.values() if row["type"] == PRODUCER_IDS)
    assert world.meta.rows[b"p"] == given > 0, given


def rules():
    ((key, row),) = ((key, row) for key, row in world.meta.rows.items() if key[:1] == b"a")
    wanted = {"resource": 2, "pattern": 4, "name": "orders-", "principal": "User:anna"}
    assert row == {**wanted, "host": "10.0.0.1", "operation": 3, "permission": 3}, row
    added = [c for c in world.meta.log.values() if c["type"] == RULE_ADD]
    removed = [c for c in world.meta.log.values() if c["type"] == RULE_REMOVE]
    assert [c["topic"] for c in added] == [key[1:], removed[0]["topic"]] and len(removed) == 1
    assert added[0]["more"] == row and added[1]["more"]["permission"] == 2, added


def users():
    """What is kept checks the password, as RFC 5802 says; the password itself is not there."""
    rows = {key: row for key, row in world.meta.rows.items() if key[:1] == b"u"}
    assert sorted(rows) == [b"u\1anna", b"u\2anna"], rows
    for key, row in rows.items():
        digest = "sha256" if key[1] == 1 else "sha512"
        salted = hashlib.pbkdf2_hmac(digest, PASSWORD.encode(), row["salt"], row["iterations"])
        stored = hashlib.new(digest, hmac.digest(salted, b"Client Key", digest)).digest()
        assert row["stored key"] == stored and len(row["salt"]) == 32, row
        assert row["server key"] == hmac.digest(salted, b"Server Key", digest), row
    told = [(c["type"], c["name"]) for c in world.meta.log.values() if c["type"] in (USER_SET, USER_REMOVE)]
    assert told == [(USER_SET, "anna")] * 2 + [(USER_SET, "gone"), (USER_REMOVE, "gone")], told


def backup():
    _, found = meta_reader.backup(world.bus.data / "meta/backup")
    assert found == world.meta.raw["rows"] and list(found) == sorted(found), len(found)


def checkpoints():
    topic, _ = world.topics()["t"]
    sums = 0
    for key, row in world.meta.checkpoints.items():
        assert key == row["topic"] + struct.pack(">i", row["partition"]), key.hex()
        if row["topic"] != topic:
            continue
        partition = reader.Partition(world.bus.partition_folder("t", row["partition"]))
        last = partition.segments[-1]
        size = last.batches[-1].position + last.batches[-1].size if last.batches else 0
        wanted = {"base": last.base_offset, "position": size, "durable": partition.end, "start": 0}
        assert {name: row[name] for name in wanted} == wanted, (row, wanted)
        sums += row["durable"]
    assert sums == SENT, sums


def removals():
    gone = next(row for row in world.meta.log.values() if row["name"] == "gone")
    wanted = {gone["topic"]: {"name": "gone", "partitions": gone["count"], "memory": 0}}
    assert world.meta.removals == wanted, world.meta.removals


def offsets():
    table = world.meta.offsets
    topics = {key[1:]: row for key, row in table.items() if key[:1] == b"2"}
    groups = {key[1:]: row for key, row in table.items() if key[:1] == b"3"}
    ((key, entry),) = ((key, row) for key, row in table.items() if key[:1] == b"4")
    assert topics[key[5:9]] == {"topic": world.topics()["t"][0], "name": "t"}, topics
    assert groups[key[1:5]]["name"] == "g" and groups[key[1:5]]["metadata"] is None, groups
    assert sorted(row["name"] for row in groups.values()) == ["g", "h"], groups
    assert struct.unpack(">i", key[9:])[0] == 1, key.hex()
    assert (entry["offset"], entry["metadata"], entry["retention"]) == (COMMITTED, NOTE, -1), entry
    assert entry["leader epoch"] == -1 and 0 <= entry["age"] <= table[b"0" + bytes(4)], entry
    own, row = world.topics()["__consumer_offsets"]
    ends = {key: row for key, row in table.items() if key[:1] == b"1"}
    assert len(ends) == len(row["partitions"]) and all(e["topic"] == own for e in ends.values())
    # Java's hash of a single letter is its code.
    written = {b"1" + struct.pack(">i", ord(group) % len(ends)) for group in "gh"}
    assert {key for key, e in ends.items() if e["end"] > 0} == written, ends


def group():
    table = world.meta.offsets
    row = next(r for key, r in table.items() if key[:1] == b"3" and r["name"] == "h")
    metadata = row["metadata"]
    (member,) = metadata.pop("members")
    assert 0 <= row["since"] <= table[b"0" + bytes(4)] and metadata.pop("since") > 0, row
    wanted = {"type": "consumer", "generation": 1, "protocol": "range", "leader": world.member}
    assert metadata == wanted, metadata
    assert member.pop("host") is not None
    assert member == {
        **{"id": world.member, "instance": None, "client": "me"},
        **{"rebalance": REBALANCE_MS, "session": SESSION_MS},
        **{"subscription": b"wanted", "assignment": b"share"},
    }, member


def producers():
    topic, _ = world.topics()["t"]
    written = 0
    for key, row in world.meta.producers.items():
        assert key[:16] == topic, key.hex()
        log = reader.Partition(world.bus.partition_folder("t", struct.unpack(">i", key[16:])[0]))
        assert row["end"] == log.end and 0 <= row["durable"] <= row["end"], (row, log.end)
        batches = [b for b in log.batches() if b.producer_id >= 0]
        for producer in row["producers"]:
            own = [b for b in batches if b.producer_id == producer["id"]]
            told = [(b["sequence"], b["delta"], b["base"], b["time"]) for b in producer["batches"]]
            right = [(b.base_sequence, b.last_delta, b.base_offset, -1) for b in own[-5:]]
            assert told == right and producer["epoch"] == own[-1].producer_epoch, (told, right)
            assert producer["silent"] >= 0
            written += 1
    assert written > 0, "no producer"


def damage():
    """This reader can say no."""
    for table, pairs in meta_reader.Environment(world.bus.data / "meta/data.mdb").tables.items():
        for key, value in pairs.items():
            for position in {0, 4, len(value) - 1}:
                flipped = bytearray(value)
                flipped[position] ^= 4
                try:
                    meta_reader.content(key, bytes(flipped))
                except reader.Damage:
                    continue
                raise AssertionError(f"{table}: a flipped bit was not noticed")


with world.bus:
    world.fill()
    tap.run("identity", identity)
    tap.run("the metadata log", log)
    tap.run("rows", rows)
    tap.run("access rules", rules)
    tap.run("users", users)
    tap.run("the backup", backup)
    tap.run("checkpoints", checkpoints)
    tap.run("removals", removals)
    tap.run("committed offsets", offsets)
    tap.run("a group", group)
    tap.run("producers", producers)
    tap.run("damage is noticed", damage)
tap.done()
