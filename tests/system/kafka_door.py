# SPDX-License-Identifier: Apache-2.0
"""The Kafka door as a socket: where it listens, what it does with frames, good and bad, with clients
that are slow, silent, half closed or gone, and what it tells about itself.

The clients that people use are in tests/interop; here frames are made by hand."""

import collections
import contextlib
import os
import pathlib
import re
import shutil
import socket
import struct

import harness
import kafka_wire as wire
import tap

LOCAL = {"listeners": "127.0.0.1:0,[::1]:0", **harness.SMALL}
FRAME_MAX = 104857600
CONFIGURATION = 78
IDLE_CLIENTS = 1000
IDLE_BYTES_MAX = 32 << 10
BATCHES, BATCH_RECORDS = 32, 1000
VALUE = b"any bytes" * 88
# A segment that is larger than what sockets hold.
LARGE = {"log.segment.bytes": 64 << 20}


@contextlib.contextmanager
def started(**settings):
    with harness.Bus(settings={**LOCAL, **settings}) as bus:
        bus.start()
        yield bus
        assert bus.stop() == 0, bus.busd.tail()


def client(bus, index=0):
    return wire.Client(bus.kafka()[index])


def serves(bus, index=0):
    with client(bus, index) as c:
        assert 18 in c.api_versions()


def refuses(*words, **settings):
    """busd does not start with these settings, and says why."""
    with harness.Bus(settings=settings) as bus:
        busd = bus.launch()
        assert busd.wait() == CONFIGURATION, busd.tail()
        missing = [word for word in words if word not in busd.err()]
        assert not missing, (missing, busd.err())


def told(bus, *words):
    """Waits for a line of the trace with all the words."""
    bus.busd.until(
        lambda p: any(all(word in line for word in words) for line in p.err().splitlines()),
        f"a line with {words}",
    )


# ---- where it listens ---------------------------------------------------------------------------


def listens():
    with started() as bus:
        (v4, p4), (v6, p6) = bus.kafka()
        assert (v4, v6) == ("127.0.0.1", "::1") and p4 > 0 and p6 > 0
        told(bus, "Kafka clients are served at", f"127.0.0.1:{p4}", f"[::1]:{p6}")
        serves(bus, 0)
        serves(bus, 1)


def port_taken():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with started(listeners=f"127.0.0.1:{port},[::1]:0") as bus:
            told(bus, "<4>", f"127.0.0.1:{port}", "set listeners")
            bus.busctl("topic", "create", "t")
            assert [host for host, _ in bus.kafka()] == ["::1"]
            serves(bus)


def listens_nowhere():
    with started(listeners="") as bus:
        assert bus.kafka() == []
        assert not re.search("Kafka clients", bus.busd.err())
        bus.busctl("topic", "create", "t")


def keeps_strangers_out():
    refuses("0.0.0.0:0", "authentication", "allow.anonymous.remote=true", listeners="0.0.0.0:0")
    refuses("authentication", listeners=":0")
    refuses("TLS", listeners="SSL://127.0.0.1:0")
    with started(**{"listeners": "0.0.0.0:0", "allow.anonymous.remote": "true"}) as bus:
        with wire.Client(("127.0.0.1", bus.kafka()[0][1])) as c:
            assert c.brokers() == [(1, "127.0.0.1", bus.kafka()[0][1])]
    with started(listeners="SASL_PLAINTEXT://0.0.0.0:0") as bus:
        with wire.Client(("127.0.0.1", bus.kafka()[0][1])) as c:
            assert 18 in c.api_versions()
            c.send(wire.METADATA, 1, struct.pack(">i", -1))
            assert c.closed()
        told(bus, "Metadata before authentication")


def knows_local_users():
    """The kernel tells who is at the other end, so a client is who it is on the Unix socket."""
    with started() as bus:
        bus.busctl("topic", "create", "closed", "-c", "access.read=self", "-c", "access.write=self")
        batch = wire.batch([b"one"])
        with client(bus) as c:
            assert c.produce("closed", batch) == 0
            assert b"one" in c.fetch("closed", 0).raw
            c.send(999, 0, b"")
            assert c.closed()
            told(bus, f"{c.name()}, uid {os.geteuid()}")
        if os.geteuid() != 0:
            return
        address = bus.kafka()[0]
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                harness.drop_root()
                with wire.Client(address) as c:
                    answer = c.ask(wire.PRODUCE, 3, wire.produce("closed", batch, acks=1))
                    os._exit(29 if struct.pack(">ih", 0, 29) in answer.raw else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 29
        assert bus.partitions("closed")[0]["end_offset"] == 1


def refuses_nonsense():
    for listeners, word in (
        ("127.0.0.1", "no port"),
        ("127.0.0.1:70000", "no port"),
        ("HTTP://127.0.0.1:1", "protocol"),
        ("127.0.0.1:0,a b:1", "a b"),
    ):
        refuses("listeners", word, listeners=listeners)
    refuses(
        "advertised.listeners", **{"listeners": "127.0.0.1:0", "advertised.listeners": "a:1,b:2"}
    )


def advertises():
    with started(**{"advertised.listeners": "bus.example:1234"}) as bus:
        for index, (host, port) in enumerate([("bus.example", 1234), bus.kafka()[1]]):
            with client(bus, index) as c:
                assert c.brokers() == [(1, host, port)]
                assert c.coordinator("g") == (1, host, port)
                assert c.described_brokers() == [(1, host, port)]


# ---- frames -------------------------------------------------------------------------------------


def answers_in_order():
    """A Fetch that waits holds up what comes behind it, and nothing overtakes."""
    with started() as bus:
        bus.busctl("topic", "create", "t")
        with client(bus) as c:
            frames = [c.frame(wire.API_VERSIONS, 0, b"", i) for i in range(50)]
            frames.append(c.frame(wire.FETCH, 4, wire.fetch("t", 0, 60000), 50))
            frames += [c.frame(wire.API_VERSIONS, 0, b"", i) for i in range(51, 100)]
            c.socket.sendall(b"".join(frames))
            assert [c.receive().correlation for _ in range(50)] == list(range(50))
            bus.busctl("produce", "t", stdin="one\n")
            answers = [c.receive() for _ in range(50)]
            assert [a.correlation for a in answers] == list(range(50, 100))
            assert b"one" in answers[0].raw


def ends_what_it_does_not_serve():
    with started() as bus:
        for key, version in ((999, 0), (wire.METADATA, 99), (1004, 0), (-1, 0), (wire.FETCH, 3)):
            with client(bus) as c:
                before = [c.frame(wire.API_VERSIONS, 0, b"", i) for i in range(5)]
                c.socket.sendall(b"".join(before) + c.frame(key, version, b"\0" * 8, 9))
                assert [c.receive().correlation for _ in range(5)] == list(range(5))
                assert c.closed(), (key, version)
                told(bus, c.name(), f"API key {key}, version {version}")
        with client(bus) as c:
            c.send(wire.API_VERSIONS, 99, b"\0")  # a header of today has tags
            answer = c.receive()
            assert answer.number("h") == 35
            assert answer.number("i") == 1 and answer.number("h") == 18
            assert 18 in c.api_versions()  # on the same connection
        serves(bus)


def refuses_large_frames():
    with started() as bus:
        bystander = client(bus)
        for size in (FRAME_MAX + 1, 0x7FFFFFFF, -1, -(1 << 31)):
            with client(bus) as c:
                c.socket.sendall(struct.pack(">i", size))
                assert c.closed(), size
                told(bus, c.name(), "at most 104857600")
        before = rss(bus)
        clients = [client(bus) for _ in range(8)]
        for c in clients:
            c.socket.sendall(struct.pack(">i", FRAME_MAX) + b"\0" * 64)
        assert 18 in bystander.api_versions()
        assert rss(bus) - before < 4 << 20
        for c in clients:
            c.close()


def says_nothing_for_acks_0():
    with started() as bus:
        bus.busctl("topic", "create", "t")
        batch = wire.batch([b"one", b"two"])
        with client(bus) as c:
            for i in range(3):
                c.send(wire.PRODUCE, 3, wire.produce("t", batch, acks=0), i)
            c.send(wire.API_VERSIONS, 0, b"", 7)
            assert c.receive().correlation == 7
            assert bus.partitions("t")[0]["end_offset"] == 6
            c.send(wire.PRODUCE, 3, wire.produce("nowhere", batch, acks=0), 8)
            assert c.closed()
            told(bus, c.name(), "acks=0")
        assert bus.partitions("t")[0]["end_offset"] == 6


# ---- clients in trouble -------------------------------------------------------------------------


def cuts_off_the_slow():
    with started(**{"request.arrival.timeout.ms": 100}) as bus:
        bystander = client(bus)
        with client(bus) as c:
            c.socket.sendall(struct.pack(">i", 100) + b"\0")
            assert c.closed()
            told(bus, c.name(), "request.arrival.timeout.ms")
        assert 18 in bystander.api_versions()


def cuts_off_the_silent():
    with started(**{"connections.max.idle.ms": 300}) as bus:
        bus.busctl("topic", "create", "t")
        with client(bus) as silent, client(bus) as waiting:
            waiting.send(wire.FETCH, 4, wire.fetch("t", 0, 60000))
            assert silent.closed()
            told(bus, silent.name(), "connections.max.idle.ms")
            bus.busctl("produce", "t", stdin="one\n")
            assert b"one" in waiting.receive().raw


def answers_the_half_closed():
    with started() as bus:
        bus.busctl("topic", "create", "t")
        with client(bus) as c:
            c.send(wire.FETCH, 4, wire.fetch("t", 0, 60000), 1)
            c.send(wire.API_VERSIONS, 0, b"", 2)
            c.socket.shutdown(socket.SHUT_WR)
            with client(bus) as other:
                assert 18 in other.api_versions()
            bus.busctl("produce", "t", stdin="one\n")
            answer = c.receive()
            assert answer.correlation == 1 and b"one" in answer.raw
            assert c.receive().correlation == 2
            assert c.closed()
    with started(**LARGE) as bus:
        sent = fill(bus)
        with wire.Client(bus.kafka()[0], receive_bytes=1 << 16) as slow:
            slow.send(wire.FETCH, 4, wire.fetch("t", 0, 0, most=1 << 30))
            slow.socket.shutdown(socket.SHUT_WR)
            assert slow.rest() > sent


def forgets_the_reset():
    """Those who are gone leave nothing behind, also in the middle of a request that waits."""
    with started() as bus:
        bus.busctl("topic", "create", "t")
        bystander = client(bus)
        alone = connections(bus)
        for body in (b"", wire.fetch("t", 0, 60000), b"\0\0"):
            clients = [client(bus) for _ in range(20)]
            for c in clients:
                if len(body) == 2:
                    c.socket.sendall(body)
                elif body:
                    c.send(wire.FETCH, 4, body)
                else:
                    assert c.api_versions()
            harness.until(lambda: connections(bus) == alone + 20, "all are connected")
            for c in clients:
                c.reset()
            harness.until(lambda: connections(bus) == alone, "none is left")
        assert 18 in bystander.api_versions()


def limits_an_address():
    with started(**{"max.connections.per.ip": 2}) as bus:
        first, second = client(bus), client(bus)
        assert first.api_versions() and second.api_versions()
        with client(bus) as third:
            assert third.closed()
        told(bus, "turned away", "2 of 2 connections")
        serves(bus, 1)  # another address
        second.close()
        harness.until(lambda: can_connect(bus), "there is room again")


def limits_its_trace():
    with started() as bus:
        for _ in range(300):
            with client(bus) as c:
                c.socket.sendall(struct.pack(">i", -1))
                assert c.closed()
        assert bus.busd.err().count("connection cut") < 300
        serves(bus)


def keeps_silent_clients_small():
    with started(**{"max.connections": IDLE_CLIENTS + 10}) as bus:
        serves(bus)
        before = rss(bus)
        clients = [client(bus) for _ in range(IDLE_CLIENTS)]
        for c in clients:
            c.api_versions(name="n" * 32000)  # leaves large buffers behind
        used = lambda: (rss(bus) - before) / IDLE_CLIENTS  # noqa: E731
        harness.until(lambda: used() <= IDLE_BYTES_MAX, "memory is given back", detail=lambda: str(used()))
        assert connections(bus) >= IDLE_CLIENTS
        for c in clients:
            c.close()


def sends_what_was_deleted():
    """A slow reader gets every byte, though the topic is gone long before."""
    with started(**LARGE) as bus:
        sent = fill(bus)
        with wire.Client(bus.kafka()[0], receive_bytes=1 << 16) as slow:
            slow.send(wire.FETCH, 4, wire.fetch("t", 0, 0, most=1 << 30))
            head = slow.take(1 << 16)
            bus.busctl("topic", "delete", "-y", "t")
            folder = bus.partition_folder("t")
            harness.until(lambda: not folder.exists(), "the files are gone")
            raw = head + slow.take(struct.unpack(">i", head[:4])[0] + 4 - len(head))
            assert len(raw) > sent and raw.count(VALUE) == BATCHES * BATCH_RECORDS


def survives_a_cut_file():
    with started(**LARGE) as bus:
        sent = fill(bus)
        with wire.Client(bus.kafka()[0], receive_bytes=1 << 16) as slow:
            slow.send(wire.FETCH, 4, wire.fetch("t", 0, 0, most=1 << 30))
            slow.take(1 << 16)
            for path in sorted(bus.partition_folder("t").glob("*.log")):
                os.truncate(path, 4096)
            assert slow.rest() < sent
        told(bus, "shorter")
        serves(bus)


def copies_no_batch():
    """The batches of a Fetch go from the file to the socket; busd reads headers only."""
    with started(**LARGE) as bus:
        sent = fill(bus)
        with client(bus) as c:
            trace = bus.folder / "strace"
            calls = ["strace", "-f", "-o", trace, "-e", "trace=desc,network", "-p", bus.busd.pid]
            tracer = bus.spawn(calls, "strace")
            tracer.line("attached")
            answer = c.fetch("t", 0)
            tracer.stop()
        moved = collections.Counter()
        for name, n in re.findall(r"\b(\w+)\(.* = (\d+)$", trace.read_text(), re.M):
            moved[name] += int(n)
        copied = sum(n for name, n in moved.items() if name not in ("sendfile", "openat", "epoll_wait"))
        assert moved["sendfile"] >= sent and len(answer.raw) > sent, moved
        assert copied < sent // 500, moved


# ---- helpers ------------------------------------------------------------------------------------


def rss(bus):
    pages = int(pathlib.Path(f"/proc/{bus.busd.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def connections(bus):
    return bus.json("status")[0]["connections"]


def can_connect(bus):
    with client(bus) as c:
        c.send(wire.API_VERSIONS, 0, b"")
        return not c.closed()


def fill(bus):
    """Makes topic t with BATCHES batches of BATCH_RECORDS records; how many bytes."""
    bus.busctl("topic", "create", "t")
    batch = wire.batch([VALUE] * BATCH_RECORDS)
    with client(bus) as c:
        for _ in range(BATCHES):
            c.produce("t", batch)
    return BATCHES * len(batch)


tap.run("it listens on IPv4 and IPv6 and tells its ports", listens)
tap.run("a port that is taken costs the listener only", port_taken)
tap.run("an empty list of listeners switches it off", listens_nowhere)
tap.run("nobody from elsewhere comes in without authentication", keeps_strangers_out)
tap.run("who comes from this machine is who it is on the Unix socket", knows_local_users)
tap.run("listeners that make no sense are refused", refuses_nonsense)
tap.run("clients are told the address that they came in by", advertises)
tap.run("answers come in the order of the requests", answers_in_order)
tap.run("unknown requests end the connection, behind the answers to those before", ends_what_it_does_not_serve)
tap.run("frames that are too large are refused before memory is taken", refuses_large_frames)
tap.run("acks=0 has no answer, and a failure ends the connection", says_nothing_for_acks_0)
tap.run("a request that does not come to its end is cut off", cuts_off_the_slow)
tap.run("a silent connection is closed, a waiting one is not", cuts_off_the_silent)
tap.run("who has closed one half gets the answers that are due", answers_the_half_closed)
tap.run("connections that were reset leave nothing behind", forgets_the_reset)
tap.run("an address has so many connections", limits_an_address)
tap.run("bad clients do not fill the trace", limits_its_trace)
if os.environ.get("SANITIZED") == "yes":
    tap.skip("a silent client takes little memory", "a sanitizer takes more")
else:
    tap.run("a silent client takes little memory", keeps_silent_clients_small)
tap.run("a topic may be deleted while it is sent", sends_what_was_deleted)
tap.run("a segment that was cut under an answer ends the connection", survives_a_cut_file)
if shutil.which("strace"):
    tap.run("a Fetch copies no batches", copies_no_batch)
else:
    tap.skip("a Fetch copies no batches", "strace is not installed")
tap.done()
