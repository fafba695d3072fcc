# SPDX-License-Identifier: Apache-2.0
"""Kafka clients that we did not write, on topics of shmbus: what one of them sends, all of them and
libbus read, byte by byte; groups of several kinds; administration. clients/JOBS.md tells how a
client is told what to do.

Needs python3-kafka, python3-confluent-kafka, node, and clients/package.json installed in the build
folder (`./quickstart check` does all that); a client that is not there is skipped, with its name.
"""

import base64
import json
import os
import pathlib
import random
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
import certificates  # noqa: E402 (the folder has to be known first)
import harness  # noqa: E402
import tap  # noqa: E402

import kafka_bus  # noqa: E402

CLIENTS = harness.SOURCE / "tests/interop/clients"
MODULES = harness.BUILD / "tests/interop/clients/node_modules"
PYTHON = "/usr/bin/python3"  # the one that Debian's packages are for
PROGRAMS = {
    "confluent": [PYTHON, CLIENTS / "confluent.py"],
    "kafka-python": [PYTHON, CLIENTS / "kafka_python.py"],
    "kafkajs": ["node", CLIENTS / "kafkajs.js"],
    "node-rdkafka": ["node", CLIENTS / "rdkafka.js"],
}
PARTITIONS = 3
START_MS = 1700000000000
# What a client cannot send, whatever busd does: a header without value, or with any bytes in it.
NO_NULL_HEADERS = ("kafka-python", "kafkajs", "node-rdkafka")
TEXT_HEADERS = ("node-rdkafka",)
NO_EMPTY_VALUES = ("node-rdkafka",)
# What it tells otherwise than it is: a header without value as an empty one.
NULL_HEADERS_AS_EMPTY = ("node-rdkafka",)
# Its Fetch is older than zstd, and Kafka too refuses zstd to such.
NO_ZSTD_READERS = ("kafka-python",)


def encode(data):
    return None if data is None else base64.b64encode(data).decode()


class Door(kafka_bus.Door):
    """A Kafka door with clients in front of it."""

    def job(self, work):
        path = self.bus.folder / f"job-{self.bus.names}-{work['op']}.json"
        path.write_text(json.dumps({"servers": self.address, **work}))
        return path

    def start(self, client, op, **work):
        """Starts a client on a job."""
        if client == "libbus":
            return self.local_member(work["group"], work["topics"])
        command = [*PROGRAMS[client], self.job({"op": op, **work})]
        env = {**self.bus.environment(), "NODE_PATH": str(MODULES), "NODE_NO_WARNINGS": "1"}
        return self.bus.spawn(command, client, env=env)

    def local_member(self, group, topics):
        """A member of a group that is no Kafka client: it reads in place."""
        busctl = harness.BUILD / "tools/busctl/busctl"
        return self.bus.spawn(
            [busctl, "--socket", self.bus.socket, "consume", "-J", "-G", group, *topics], "libbus"
        )

    def do(self, client, op, **work):
        """What the client tells of a job, when it has done it."""
        process = self.start(client, op, **work)
        if process.wait(120) != 0:
            raise RuntimeError(f"{client} cannot {op}:\n{process.tail()}\nbusd:\n{self.bus.busd.err()[-2000:]}")
        return [json.loads(line) for line in process.lines()]


# ---- records ------------------------------------------------------------------------------------


def make_records(seed, count, client):
    """Records of all kinds that the client can send."""
    source = random.Random(seed)
    records = []
    contents = [b"", b"v" * 200]
    if client not in TEXT_HEADERS:
        contents += [b"\0\xff"]
    if client not in NO_NULL_HEADERS:
        contents += [None]
    for number in range(count):
        size = source.choice((1, 100, 1000, 20000) if client in NO_EMPTY_VALUES else (0, 1, 100, 20000))
        key = source.choice((None, b"k", "schl\u00fcssel".encode(), source.randbytes(9)))
        value = (source.randbytes(size // 2) + b"abc " * size)[:size]
        if key is not None and source.random() < 0.2:
            value = None
        names = source.sample(("trace-id", "a", "\u00fc"), source.choice((0, 0, 1, 3)))
        records.append(
            {
                "partition": number % PARTITIONS,
                "timestamp": START_MS + number * 10 + seed,
                "key": encode(key),
                "value": encode(value),
                "headers": [[name, encode(source.choice(contents))] for name in names],
            }
        )
    return records


def placed(records, places):
    """The records as they must be read, by partition and offset."""
    return {(p["partition"], p["offset"]): {**r, **p} for r, p in zip(records, places, strict=True)}


def by_place(records):
    return {(r["partition"], r["offset"]): r for r in records}


def bytes_of(told):
    """A key or value as busctl prints it: text, or base64 in an object."""
    if told is None:
        return None
    return told["base64"] if isinstance(told, dict) else encode(told.encode())


def read_by_libbus(bus, topic):
    """The records of a topic, read in place."""
    return by_place(
        {
            "partition": r["partition"],
            "offset": r["offset"],
            "timestamp": r["timestamp"],
            "key": bytes_of(r["key"]),
            "value": bytes_of(r["value"]),
            "headers": [[h["key"], bytes_of(h["value"])] for h in r["headers"]],
        }
        for r in bus.json("consume", "-o", "beginning", "-e", topic)
    )


def check_same(wanted, told, who):
    if told == wanted:
        return
    wrong = sorted(place for place in wanted if told.get(place) != wanted[place])
    first = wrong[0] if wrong else None
    fields = [
        f"{name} is {str(told[first].get(name))[:100]}, not {str(value)[:100]}"
        for name, value in wanted.get(first, {}).items()
        if first in told and told[first].get(name) != value
    ]
    raise AssertionError(
        f"{who}: {len(told)} records, {len(wanted)} wanted, {len(wrong)} wrong; first {first}: {fields}"
    )


def as_told_by(client, wanted):
    if client not in NULL_HEADERS_AS_EMPTY:
        return wanted
    return {
        place: {**record, "headers": [[name, value or ""] for name, value in record["headers"]]}
        for place, record in wanted.items()
    }


def check_read_by_all(door, topic, wanted, codecs):
    check_same(wanted, read_by_libbus(door.bus, topic), f"libbus, {topic}")
    for client in available():
        if "zstd" in codecs and client in NO_ZSTD_READERS:
            continue
        told = door.do(
            client, "consume", topic=topic, partitions=list(range(PARTITIONS)), count=len(wanted)
        )
        check_same(as_told_by(client, wanted), by_place(told), f"{client}, {topic}")


def check_producer(door, client, codecs):
    """Each codec, read by everybody."""
    wanted = {}
    topic = f"{client}-{codecs[-1]}"
    door.bus.busctl("topic", "create", topic, "-p", PARTITIONS)
    for seed, codec in enumerate(codecs):
        records = make_records(seed, 60, client)
        places = door.do(client, "produce", topic=topic, codec=codec, records=records)
        wanted.update(placed(records, places))
    assert len(wanted) == 60 * len(codecs), f"{len(wanted)} places"
    check_read_by_all(door, topic, wanted, codecs)


def check_libbus(door, codecs):
    """What libbus appends in place with each codec, read by everybody at the Kafka door."""
    topic = f"libbus-{codecs[-1]}"
    door.bus.busctl("topic", "create", topic, "-p", PARTITIONS)
    for codec in codecs:
        for partition in range(PARTITIONS):
            lines = "".join(f"key-{i}:{codec} {partition} {'x' * i * 10}\n" for i in range(50))
            door.bus.busctl(
                "produce", "-k", ":", "-H", f"codec={codec}", "-p", partition,
                "--compression", codec, topic, stdin=lines,
            )  # fmt: skip
    wanted = read_by_libbus(door.bus, topic)
    assert len(wanted) == 50 * PARTITIONS * len(codecs), len(wanted)
    check_read_by_all(door, topic, wanted, codecs)


# ---- single properties --------------------------------------------------------------------------


def check_large(door, client):
    topic = f"large-{client}"
    door.bus.busctl("topic", "create", topic, "-c", "max.message.bytes=16000000", "-c", "segment.bytes=64m")
    value = encode(random.Random(7).randbytes(5_000_000))
    records = [
        {"partition": 0, "timestamp": START_MS, "key": None, "value": value, "headers": []}
        for _ in range(2)
    ]
    places = [door.do(client, "produce", topic=topic, records=[one])[0] for one in records]
    told = door.do(client, "consume", topic=topic, partitions=[0], count=2)
    check_same(placed(records, places), by_place(told), client)


def check_time(door, client):
    topic = f"time-{client}"
    door.bus.busctl("topic", "create", topic)
    records = [
        {"partition": 0, "timestamp": START_MS + i * 1000, "key": None, "value": encode(b"%d" % i)}
        for i in range(10)
    ]
    for one in records:
        door.do("confluent" if "confluent" in available() else client, "produce", topic=topic, records=[one])
    for asked, wanted in ((START_MS - 5, 0), (START_MS + 3000, 3), (START_MS + 3001, 4)):
        told = door.do(client, "time", topic=topic, partition=0, timestamp=asked)[0]["offset"]
        assert told == wanted, f"{client}: {told} for {asked}, not {wanted}"


def check_idempotent(door, client):
    topic = f"idempotent-{client}"
    door.bus.busctl("topic", "create", topic, "-p", PARTITIONS)
    records = make_records(1, 90, client)
    places = door.do(client, "produce", topic=topic, idempotent=True, records=records)
    check_same(placed(records, places), read_by_libbus(door.bus, topic), client)
    batches = door.bus.json("log", "dump", door.bus.partition_folder(topic))
    assert batches and all(batch["producer_id"] >= 0 for batch in batches), batches[:3]


def check_auto_create(client):
    with Door(**{"num.partitions": PARTITIONS}) as door:
        records = make_records(2, 9, client)
        places = door.do(client, "produce", topic="made-by-use", records=records)
        check_same(placed(records, places), read_by_libbus(door.bus, "made-by-use"), client)


def check_admin(door, client):
    topic = f"admin-{client}"
    first = [["create", topic, 2, {"retention.ms": "12345678"}], ["grow", topic, 4]]
    door.do(client, "admin", steps=first)
    described = door.bus.json("topic", "describe", topic)[0]
    assert len(described["partitions"]) == 4, described
    if client != "node-rdkafka":  # it can no more
        steps = [["alter", topic, {"retention.ms": "999999"}], ["configs", topic], ["topics"], ["groups"]]
        told = {line["step"]: line["result"] for line in door.do(client, "admin", steps=steps)}
        assert told["configs"]["retention.ms"] == "999999", told["configs"]
        assert told["topics"][topic] == 4, told["topics"]
        assert isinstance(told["groups"], list), told
    door.do(client, "admin", steps=[["delete", topic]])
    assert topic not in door.bus.busctl("topic", "list").stdout


def check_security(client):
    """By TLS and a password that never travels; with a wrong one, or without, nobody comes in."""
    with certificates.folder() as folder:
        own = certificates.Certified(folder)
        mechanism = "SCRAM-SHA-256"
        settings = own.settings(**{"sasl.enabled.mechanisms": mechanism})
        with Door(harmless=False, listeners="SASL_SSL://127.0.0.1:0", **settings) as door:
            door.bus.busctl("user", "add", "anna", stdin="pencil and paper\n")
            door.bus.busctl("topic", "create", "secret", "-p", PARTITIONS)
            door.address = door.address.replace("127.0.0.1", "localhost")
            told = {
                "protocol": "SASL_SSL",
                "mechanism": mechanism,
                "user": "anna",
                "password": "pencil and paper",
                "ca": str(folder / "ca.pem"),
            }
            records = make_records(3, 30, client)
            places = door.do(client, "produce", topic="secret", security=told, records=records)
            wanted = placed(records, places)
            check_same(wanted, read_by_libbus(door.bus, "secret"), client)
            read = door.do(
                client, "consume", topic="secret", security=told, partitions=[0, 1, 2], count=len(wanted)
            )
            check_same(as_told_by(client, wanted), by_place(read), client)
            stranger = door.start(
                client, "time", topic="secret", security={**told, "password": "guess"}, partition=0, timestamp=0
            )
            door.bus.busd.line("invalid credentials")
            stranger.kill()
            assert '"offset"' not in stranger.out(), stranger.out()


# ---- groups -------------------------------------------------------------------------------------


def events(process):
    """What a member told, whatever its kind."""
    if not process.name.startswith("libbus"):
        return [json.loads(line) for line in process.lines()]
    shared = [
        {"event": what, "partitions": sorted(int(n) for n in re.findall(r"-(\d+)@", rest))}
        for what, rest in re.findall(r"generation -?\d+: (assigned|revoked|lost)(.*)", process.err())
    ]
    records = [{"event": "record", "value": bytes_of(json.loads(line)["value"])} for line in process.lines()]
    return shared + records


def owned(process):
    """The partitions that a member has been told last."""
    told = [e for e in events(process) if e["event"] != "record"]
    return set(told[-1]["partitions"]) if told and told[-1]["event"] == "assigned" else set()


def wait_shared(members):
    """Until each partition has one owner among the members, and each member has one at least."""

    def shared():
        parts = [owned(m) for m in members]
        return all(parts) and sorted(sum(map(list, parts), [])) == list(range(4))

    harness.until(shared, "each partition with one member", 120, lambda: "\n".join(m.tail() for m in members))


def seen_values(members):
    return [e["value"] for m in members for e in events(m) if e["event"] == "record"]


def send_numbers(bus, topic, first, count):
    for partition in range(4):
        lines = "".join(f"{partition}-{i}\n" for i in range(first, first + count))
        bus.busctl("produce", "-p", partition, topic, stdin=lines)


def wait_numbers(members, count):
    wanted = {encode(f"{partition}-{i}".encode()) for partition in range(4) for i in range(count)}
    harness.until(
        lambda: wanted <= set(seen_values(members)),
        "each record with one member",
        120,
        lambda: f"missing: {sorted(map(base64.b64decode, wanted - set(seen_values(members))))[:9]}\n"
        + "\n".join(m.tail() for m in members),
    )


def check_group(door, clients):
    """Members of several kinds share four partitions; one is killed, one leaves."""
    topic = group = "group-" + "-".join(clients)
    bus = door.bus
    bus.busctl("topic", "create", topic, "-p", 4)
    send_numbers(bus, topic, 0, 10)
    members = [door.start(c, "group", group=group, topics=[topic], assignor="range") for c in clients]
    wait_shared(members)
    wait_numbers(members, 10)
    members[0].kill()
    send_numbers(bus, topic, 10, 10)
    wait_shared(members[1:])
    wait_numbers(members, 20)
    assert members[1].stop() == 0, members[1].tail()
    send_numbers(bus, topic, 20, 10)
    if members[2:]:
        wait_shared(members[2:])
        wait_numbers(members, 30)
    for member in members[2:]:
        assert member.stop() == 0, member.tail()


# ---- what is there ------------------------------------------------------------------------------


def works(client):
    program = PROGRAMS[client]
    probe = {
        "confluent": "import confluent_kafka",
        "kafka-python": "import kafka, lz4, snappy, zstandard",
        "kafkajs": "require('kafkajs'); require('lz4js')",
        "node-rdkafka": "require('node-rdkafka')",
    }[client]
    flag = "-c" if program[0] == PYTHON else "-e"
    env = {**os.environ, "NODE_PATH": str(MODULES)}
    try:
        return subprocess.run([program[0], flag, probe], env=env, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


_available = []


def available():
    if not _available:
        _available.extend(client for client in PROGRAMS if works(client))
    return _available


def main():
    there = available()
    for client in PROGRAMS:
        if client not in there:
            print(f"ok - {client} # SKIP it is not installed; ./quickstart check installs it", flush=True)
    if not there:
        return
    with Door(**harness.SMALL) as door:
        for codecs in (("none", "gzip", "snappy", "lz4"), ("zstd",)):
            told = ", ".join(codecs)
            for client in there:
                tap.run(f"{client}: all read its {told}", check_producer, door, client, codecs)
            tap.run(f"libbus: all read its {told}", check_libbus, door, codecs)
        for client in there:
            tap.run(f"{client}: large messages", check_large, door, client)
            tap.run(f"{client}: offsets by time", check_time, door, client)
            tap.run(f"{client}: administration", check_admin, door, client)
            if client != "kafka-python":  # it has no idempotence
                tap.run(f"{client}: idempotence", check_idempotent, door, client)
        for client in there:
            tap.run(f"{client}: a group, one killed, one leaves", check_group, door, [client] * 3)
        tap.run("a group of all kinds", check_group, door, [*there[1:2], "libbus", *there[2:]])
        tap.run("a group of libbus and others", check_group, door, ["libbus", "libbus", there[-1]])
    for client in there:
        tap.run(f"{client}: topics made by use", check_auto_create, client)
        tap.run(f"{client}: TLS and SCRAM", check_security, client)


if __name__ == "__main__":
    main()
    tap.done()
