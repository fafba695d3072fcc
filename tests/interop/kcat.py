# SPDX-License-Identifier: Apache-2.0
"""kcat (librdkafka 2.0) at the Kafka door: what it lists, writes and reads, with each codec, alone and
in groups, is what local programs see at the same offsets."""

import json

import kafka_bus
import tap

COUNT = 500
SEPARATOR = ":"


def kcat(door, *arguments, stdin=None):
    return door.run("kcat", "-q", "-b", door.address, *arguments, stdin=stdin)


def lines(pairs):
    return "".join(f"{key}{SEPARATOR}{value}\n" for key, value in pairs)


def produce(door, topic, pairs, *arguments):
    kcat(door, "-P", "-t", topic, "-p", "0", "-K", SEPARATOR, *arguments, stdin=lines(pairs))


def consume(door, topic, *arguments):
    """What kcat reads up to the end, in the form of Door.local()."""
    out = kcat(door, "-C", "-t", topic, "-e", "-f", "%p %o %T %k %s\\n", *arguments)
    return out.splitlines()


def lists(door):
    door.bus.busctl("topic", "create", "listed", "-p", "3")
    answer = json.loads(kcat(door, "-L", "-J"))
    assert [broker["name"] for broker in answer["brokers"]] == [door.address], answer
    assert answer["controllerid"] == answer["brokers"][0]["id"]
    topic = next(topic for topic in answer["topics"] if topic["topic"] == "listed")
    assert [p["partition"] for p in topic["partitions"]] == [0, 1, 2]
    assert all(p["leader"] == answer["controllerid"] for p in topic["partitions"])


def codec(door, name):
    topic = f"codec-{name}"
    pairs = kafka_bus.records(COUNT, name)
    produce(door, topic, pairs, "-z", name)
    there = consume(door, topic)
    assert [line.split(" ", 3)[3] for line in there] == [f"{k} {v}" for k, v in pairs]
    assert there == door.local(topic)
    # The bytes are those that the client has sent: the batch says how it was compressed.
    number = kafka_bus.CODECS.index(name)
    assert number in door.codecs_of(topic), door.codecs_of(topic)


def reads_what_was_local(door):
    door.bus.busctl("topic", "create", "local")
    pairs = kafka_bus.records(COUNT)
    for name in ("none", "zstd"):
        door.bus.busctl("produce", "-k", SEPARATOR, "--compression", name, "local", stdin=lines(pairs))
    assert consume(door, "local") == door.local("local")
    assert len(door.local("local")) == 2 * COUNT


def headers_and_tombstones(door):
    kcat(door, "-P", "-t", "h", "-H", "a=1", "-H", "b=", "-K", SEPARATOR, stdin="k:v\n")
    kcat(door, "-P", "-t", "h", "-Z", "-K", SEPARATOR, stdin="k:\n")
    there = [json.loads(line) for line in kcat(door, "-C", "-t", "h", "-e", "-J").splitlines()]
    assert there[0]["headers"] == ["a", "1", "b", ""] and there[0]["payload"] == "v", there
    assert there[1]["payload"] is None and there[1]["key"] == "k", there


def large_messages(door):
    door.bus.busctl("topic", "create", "large", "-c", "max.message.bytes=20000000")
    value = "x" * 9_000_000
    more = ("-X", "message.max.bytes=20000000")
    kcat(door, "-P", "-t", "large", *more, stdin=value)
    reading = ("-X", "fetch.message.max.bytes=1000")
    assert consume(door, "large", *reading)[0].endswith(value)


def queries(door):
    produce(door, "asked", kafka_bus.records(3), "-X", "acks=all")
    at = [line.split()[2] for line in door.local("asked")]
    for time, offset in (("-2", 0), ("-1", 3), (at[0], 0), ("9999999999999", -1)):
        answer = kcat(door, "-Q", "-t", f"asked:0:{time}")
        assert answer.split() == ["asked", "[0]", "offset", str(offset)], (time, answer)


def seeks(door):
    produce(door, "sought", kafka_bus.records(50))
    assert len(consume(door, "sought", "-o", "20")) == 30
    assert len(consume(door, "sought", "-o", "-5")) == 5
    time = door.local("sought")[0].split()[2]
    assert len(consume(door, "sought", "-o", f"s@{time}")) == 50


def groups(door):
    """Two members share four partitions; the group goes on where it was, also with local members."""
    door.bus.busctl("topic", "create", "shared", "-p", "4")
    form = ("-f", "%p %o\\n", "-u", "-X", "auto.offset.reset=earliest")
    for i in range(4):
        kcat(door, "-P", "-t", "shared", "-p", str(i), stdin=f"{i}\n" * 100)
    members = [
        door.spawn(["kcat", "-b", door.address, "-G", "g", *form, "shared"]) for _ in range(2)
    ]

    def seen():
        return {line for member in members for line in member.lines() if line[:1].isdigit()}

    wanted = {f"{p} {o}" for p in range(4) for o in range(100)}
    members[0].until(lambda _: seen() == wanted, "all records are read")
    for member in members:
        member.line("assigned")
        assert member.stop() == 0, member.tail()
    committed = door.bus.json("group", "describe", "g")[0]
    assert [p["committed"] for p in committed["partitions"]] == [100] * 4, committed
    kcat(door, "-P", "-t", "shared", "-p", "2", stdin="more\n")
    again = kcat(door, "-G", "g", "-e", *form, "shared").splitlines()
    assert [line for line in again if line[:1].isdigit()] == ["2 100"], again


def idempotent(door):
    pairs = kafka_bus.records(COUNT)
    produce(door, "once", pairs, "-X", "enable.idempotence=true")
    assert [line.split(" ", 3)[3] for line in door.local("once")] == [f"{k} {v}" for k, v in pairs]


def outlives_busd(door):
    """A consumer that waits goes on behind a crash of busd."""
    produce(door, "kept", kafka_bus.records(1))
    port = door.address.rsplit(":", 1)[1]
    follower = door.spawn(["kcat", "-u", "-E", "-b", door.address, "-C", "-t", "kept", "-f", "%o %s\\n"])
    follower.line("^0 record-value-0")
    door.bus.kill()
    door.bus.settings["listeners"] = f"127.0.0.1:{port}"
    door.bus.start()
    produce(door, "kept", [("again", "again")])
    follower.line("^1 again")


kafka_bus.needs("kcat", "kcat")
with kafka_bus.Door() as shared:
    tap.run("lists node and topics", lists, shared)
    for one in kafka_bus.CODECS:
        tap.run(f"writes and reads with codec {one}", codec, shared, one)
    tap.run("reads what local programs have written", reads_what_was_local, shared)
    tap.run("keeps headers and tombstones", headers_and_tombstones, shared)
    tap.run("sends and reads a message of 9 MB", large_messages, shared)
    tap.run("asks for offsets by time", queries, shared)
    tap.run("seeks by offset and by time", seeks, shared)
    tap.run("shares the work of a group", groups, shared)
    tap.run("produces idempotently", idempotent, shared)
with kafka_bus.Door() as crashing:
    tap.run("goes on when busd was killed and came back", outlives_busd, crashing)
tap.done()
