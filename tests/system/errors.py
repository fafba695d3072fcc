# SPDX-License-Identifier: Apache-2.0
"""Bad input and trouble: a message that names the thing and the remedy, an exit code, and nothing
lost. After each case busd must be the same process, and every record must still be there."""

import os
import resource
import signal
import socket
import struct

import harness
import tap

BUSCTL = harness.BUILD / "tools/busctl/busctl"
KEPT = "one\ntwo\nthree\n"


def fails(done, code, *words):
    """The exit code, and an error text with all the words; nothing of a crash."""
    missing = [word for word in words if word not in done.stderr]
    assert done.returncode == code and not missing, (code, missing, done)
    assert done.stderr.startswith("busctl") or done.stderr.startswith("busd"), done


def started(**settings):
    """A bus with a topic that holds what must not get lost."""
    bus = harness.Bus(settings={**harness.SMALL, **settings})
    bus.start()
    bus.busctl("topic", "create", "kept", "-p", "2")
    bus.busctl("produce", "-p", "0", "kept", stdin=KEPT)
    return bus


def unharmed(bus, pid):
    """The same busd, and nothing is missing."""
    assert bus.busd.alive() and bus.busd.pid == pid, bus.busd.tail()
    assert bus.busctl("consume", "-e", "kept").stdout == KEPT


def shared(function):
    """A case on a bus of its own that must come out of it unharmed."""

    def case():
        with started() as bus:
            pid = bus.busd.pid
            function(bus)
            unharmed(bus, pid)
            assert bus.stop() == 0, bus.busd.tail()

    return case


# ---- the socket ---------------------------------------------------------------------------------


def no_busd():
    with harness.Bus() as bus:
        for command in (["topic", "list"], ["produce", "t"], ["consume", "t"], ["status"]):
            done = bus.busctl(*command, check=False)
            fails(done, 1, str(bus.socket), "start busd", "--socket")
        env = bus.environment(extra={"XDG_RUNTIME_DIR": str(bus.folder)})
        done = bus.run(bus.program("busctl"), "status", env=env, preexec=harness.drop_root)
        fails(done, 1, "start busd", "--socket")
        bus.socket.write_text("no socket")
        fails(bus.busctl("status", check=False), 1, str(bus.socket))
        # Somebody listens who is no busd and says nothing sensible.
        bus.socket.unlink()
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.bind(str(bus.socket))
        fails(bus.busctl("status", check=False), 1, str(bus.socket), "start busd")


def socket_without_permission():
    with started(**{"socket.mode": "0600"}) as bus:
        os.chmod(bus.folder, 0o755)
        done = bus.run(
            bus.program("busctl"), "--socket", bus.socket, "topic", "list", preexec=harness.drop_root
        )
        if os.geteuid() == 0:
            fails(done, 1, str(bus.socket), "permission")
        os.chmod(bus.socket, 0)
        done = bus.run(
            bus.program("busctl"), "--socket", bus.socket, "topic", "list", preexec=harness.drop_root
        )
        fails(done, 1, str(bus.socket), "permission")
        os.chmod(bus.socket, 0o600)
        unharmed(bus, bus.busd.pid)


@shared
def not_allowed(bus):
    """Who may do what is decided per topic by the user that the kernel names."""
    if os.geteuid() != 0:
        return
    bus.busctl("topic", "create", "closed", "-c", "access.read=self", "-c", "access.write=self")
    os.chmod(bus.folder, 0o755)
    stranger = [bus.program("busctl"), "--socket", bus.socket]
    for command in (["produce", "closed"], ["consume", "-e", "closed"]):
        done = bus.run(*stranger, *command, stdin="x\n", preexec=harness.drop_root)
        fails(done, 1, "closed")
        assert "access." in done.stderr or "permission" in done.stderr, done
    # In an open topic the stranger's records go through busd, and it sees no difference.
    done = bus.run(*stranger, "produce", "-p", "1", "kept", stdin="mediated\n", preexec=harness.drop_root)
    assert done.returncode == 0, done
    assert bus.busctl("consume", "-p", "1", "-e", "kept").stdout == "mediated\n"
    done = bus.run(*stranger, "topic", "delete", "kept", preexec=harness.drop_root)
    fails(done, 1, "kept")
    done = bus.run(*stranger, "consume", "-p", "1", "-e", "kept", preexec=harness.drop_root)
    assert done.stdout == "mediated\n", done
    bus.busctl("topic", "delete", "closed")
    bus.busctl("topic", "delete", "kept")
    bus.busctl("topic", "create", "kept", "-p", "2")
    bus.busctl("produce", "-p", "0", "kept", stdin=KEPT)


@shared
def another_layout(bus):
    """A client of another layout version is told so, in the frames that the man page names."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(bus.socket))

        def request(key, body):
            header = struct.pack(">hhih", key, 0, 7, -1) + (b"\0" if key >= 1000 else b"")
            client.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
            size = struct.unpack(">i", client.recv(4, socket.MSG_WAITALL))[0]
            return client.recv(size, socket.MSG_WAITALL)

        name = b"kept"
        # AttachPartition: compact topic name, partition, access, layout version, tags.
        body = bytes([len(name) + 1]) + name + struct.pack(">ibi", 0, 2, 999) + b"\0"
        answer = request(1000, body)
    assert b"layout" in answer and b"version" in answer, answer


# ---- topics and settings ------------------------------------------------------------------------


@shared
def unknown_topic(bus):
    for command in (["produce"], ["consume", "-e"], ["topic", "describe"], ["topic", "delete"]):
        done = bus.busctl(*command, "nowhere", stdin="x\n", check=False)
        fails(done, 1, "nowhere", "topic list")
    fails(bus.busctl("topic", "alter", "nowhere", "-p", "3", check=False), 1, "nowhere", "topic list")
    assert [row["topic"] for row in bus.json("topic", "list")] == ["kept"]


@shared
def topic_names(bus):
    good = ["a", "A.b_c-9", "x" * 249]
    bus.busctl("topic", "create", *good)
    for name in good:
        bus.busctl("produce", name, stdin="x\n")
        assert bus.busctl("consume", "-e", name).stdout == "x\n"
    for name in ("", "a b", "a/b", "../etc", "ä", "x" * 250, "a\nb", ".", ".."):
        fails(bus.busctl("topic", "create", "--", name, check=False), 1, "249", "a-z")
    bus.busctl("topic", "delete", *good)
    assert [row["topic"] for row in bus.json("topic", "list")] == ["kept"]


@shared
def topic_exists(bus):
    done = bus.busctl("topic", "create", "kept", "-p", "5", check=False)
    fails(done, 1, "kept", "exist", "topic alter")
    assert bus.json("topic", "describe", "kept")[0]["partition_count"] == 2


@shared
def partitions(bus):
    for number, code in (("0", 2), ("-1", 2), ("10001", 1), ("2147483647", 1), ("99999999999", 2), ("x", 2)):
        done = bus.busctl("topic", "create", "many", "-p", number, check=False)
        fails(done, code, "10000" if code == 1 else number)
    fails(bus.busctl("topic", "alter", "kept", "-p", "1", check=False), 1, "kept", "2")
    fails(bus.busctl("topic", "alter", "kept", "-p", "100000", check=False), 1, "kept", "10000")
    assert [row["partitions"] for row in bus.json("topic", "list")] == [2]


@shared
def configuration(bus):
    for setting, words in (
        ("retention.m=1", ("retention.m", "retention.ms")),
        ("segment.bytes=1", ("segment.bytes", "1048576")),
        ("segment.bytes=soon", ("segment.bytes", "soon")),
        ("cleanup.policy=burn", ("cleanup.policy", "delete|compact")),
        ("max.message.bytes=99999999999", ("max.message.bytes", "1073741824")),
        ("message.timestamp.type=Never", ("message.timestamp.type", "CreateTime")),
    ):
        for command in (["topic", "create", "new"], ["topic", "alter", "kept"]):
            fails(bus.busctl(*command, "-c", setting, check=False), 1, *words)
    fails(bus.busctl("topic", "alter", "kept", "-c", "storage.type=memory", check=False), 1, "storage.type")
    assert bus.json("topic", "describe", "kept")[0]["settings"] == []
    fails(bus.busctl("produce", "-X", "acks=some", "kept", check=False), 1, "acks", "0|1|all")
    fails(bus.busctl("consume", "-X", "spin.us=-1", "kept", check=False), 1, "spin.us", "1000000")


# ---- records ------------------------------------------------------------------------------------


@shared
def too_large(bus):
    bus.busctl("topic", "create", "small", "-c", "max.message.bytes=2000")
    text = "before\n" + "x" * 3000 + "\nafter\n"
    for way in ("auto", "never"):
        done = bus.busctl("produce", "-X", f"direct={way}", "-X", "batch.size=128", "small", stdin=text, check=False)
        fails(done, 1, "max.message.bytes", "small", "topic alter")
        values = bus.busctl("consume", "-e", "small").stdout.splitlines()
        assert "x" * 3000 not in values and "before" in values, values
    bus.busctl("topic", "alter", "small", "-c", "max.message.bytes=4000")
    bus.busctl("produce", "small", stdin="x" * 3000 + "\n")
    assert "x" * 3000 in bus.busctl("consume", "-e", "small").stdout
    # Larger than a whole segment.
    bus.busctl("topic", "create", "wide", "-c", "max.message.bytes=10000000")
    done = bus.busctl("produce", "wide", stdin="x" * 2000000 + "\n", check=False)
    fails(done, 1, "segment.bytes")
    bus.busctl("produce", "wide", stdin="x\n")
    assert bus.busctl("consume", "-e", "wide").stdout == "x\n"


@shared
def without_delimiter(bus):
    bus.busctl("topic", "create", "keyed")
    text = "a:1\nnone\n"
    done = bus.busctl("produce", "-k", ":", "keyed", stdin=text)
    assert "1 record" in done.stderr and "--strict" in done.stderr, done
    done = bus.busctl("produce", "--strict", "-k", ":", "keyed", stdin=text, check=False)
    fails(done, 1, "record 2", "':'", "--strict")
    assert bus.busctl("consume", "-e", "keyed").stdout == "1\nnone\n1\n"


@shared
def compacted_without_key(bus):
    bus.busctl("topic", "create", "table", "-c", "cleanup.policy=compact")
    for way in ("auto", "never"):
        done = bus.busctl("produce", "-X", f"direct={way}", "table", stdin="no key\n", check=False)
        fails(done, 1, "table", "key")
    bus.busctl("produce", "-k", ":", "table", stdin="k:v\n")
    assert bus.busctl("consume", "-e", "table").stdout == "v\n"


@shared
def out_of_range(bus):
    done = bus.busctl("consume", "-e", "-p", "0", "-o", "17", "kept", check=False)
    fails(done, 1, "kept-0", "17", "0 to 3")
    worker = bus.worker("consume", "kept", 0, 1, "worker.partition=0", "worker.from=17", "auto.offset.reset=none")
    assert worker.wait() == 1 and "OFFSET_OUT_OF_RANGE" not in worker.err()
    assert "17" in worker.out() and "kept-0" in worker.out(), worker.tail()


@shared
def formats_and_times(bus):
    for arguments, words in (
        (["-f", "%q"], ("%q", "%s")),
        (["-f", "%"], ("%", "%s")),
        (["-f", r"\z"], (r"\z", r"\n")),
        (["-o", "@noon"], ("noon", "-1h30m")),
        (["-o", "@-5y"], ("-5y", "-1h30m")),
        (["-o", "@2026-02-30"], ("2026-02-30", "2026-08-01")),
        (["-o", "middle"], ("middle", "beginning")),
    ):
        done = bus.busctl("consume", "-e", *arguments, "kept", check=False)
        fails(done, 2, *words)
        assert done.stdout == "", done


# ---- files --------------------------------------------------------------------------------------


def newest_segment(bus, topic="kept"):
    return sorted(bus.partition_folder(topic).glob("*.log"))[0]


def scribble(path, position, data):
    with open(path, "r+b") as file:
        file.seek(position)
        file.write(data)


def restart_after(bus, harm, reboot=True):
    assert bus.stop() == 0, bus.busd.tail()
    harm()
    if reboot:
        bus.forget_shared_memory()
    bus.start()


def damaged_segment():
    """What is damaged is told with its place and withheld; what is sound can be read."""
    with started() as bus:
        bus.busctl("topic", "create", "hurt")
        for line in ("first", "second", "third"):
            bus.busctl("produce", "hurt", stdin=line + "\n")
        rows = bus.json("log", "dump", bus.partition_folder("hurt"))
        position = rows[1]["position"]
        restart_after(bus, lambda: scribble(newest_segment(bus, "hurt"), position + 65, b"\xff"))
        done = bus.busctl("consume", "-e", "hurt", check=False)
        fails(done, 1, "hurt-0", "offset 1", "log verify")
        assert done.stdout == "first\n", done
        assert bus.busctl("consume", "-e", "-o", "2", "hurt").stdout == "third\n"
        fails(bus.busctl("log", "verify", bus.data, check=False), 1, "offset 1", f"position {position}")
        bus.busctl("produce", "hurt", stdin="fourth\n")
        assert bus.busctl("consume", "-e", "-o", "2", "hurt").stdout == "third\nfourth\n"
        unharmed(bus, bus.busd.pid)


def damaged_index():
    """Indexes are derived: a bad one harms nobody."""
    with started(**{"log.index.interval.bytes": 0}) as bus:
        bus.busctl("produce", "-X", "batch.size=128", "-p", "1", "kept", stdin="y\n" * 200)
        folder = bus.partition_folder("kept", 1)
        harness.until(lambda: any(p.stat().st_size > 16 for p in folder.glob("*.index")), "an index")
        expected = "y\n" * 200

        def harm():
            for path in folder.glob("*.*index"):
                scribble(path, 4, os.urandom(max(path.stat().st_size - 4, 4)))

        restart_after(bus, harm)
        assert bus.busctl("consume", "-e", "-p", "1", "kept").stdout == expected
        assert bus.busctl("consume", "-e", "-p", "1", "-o", "150", "kept").stdout == "y\n" * 50
        assert bus.busctl("consume", "-e", "-p", "1", "-o", "@-1h", "kept").stdout == expected
        assert bus.busctl("consume", "-e", "-p", "0", "kept").stdout == KEPT


def damaged_control_page():
    """The page is replaced, what is published on disk stays, and the clients go on."""
    with started() as bus:
        pid = bus.busd.pid
        producer = bus.worker("produce", "kept", 1, 0, "acks=1", "worker.partition=1", "worker.pause_us=1000")
        producer.told("ack", 10)
        for page in bus.generations():
            scribble(f"/dev/shm/{page}", 64, os.urandom(1024))
        producer.told("ack", 10)
        assert producer.stop() == 0, producer.tail()
        assert "damaged" in bus.busd.err(), bus.busd.tail()
        assert bus.busctl("consume", "-p", "0", "-e", "kept").stdout == KEPT
        acked = producer.count("ack")
        assert len(bus.busctl("consume", "-p", "1", "-e", "kept").stdout.splitlines()) >= acked
        assert bus.busd.alive() and bus.busd.pid == pid


def damaged_metadata():
    """LMDB's file is damaged: busd refuses with file and remedy, or goes on from its backup."""
    for harm in ("zeros", "garbage", "cut", "gone"):
        with started() as bus:
            path = bus.data / "meta/data.mdb"
            assert bus.stop() == 0
            size = path.stat().st_size
            if harm == "gone":
                path.unlink()
            elif harm == "cut":
                os.truncate(path, 100)
            else:
                scribble(path, 0, bytes(size) if harm == "zeros" else os.urandom(size))
            bus.launch()
            harness.until(
                lambda: not bus.busd.alive() or bus.busctl("status", check=False).returncode == 0, "an end or a start"
            )
            if bus.busd.alive():
                unharmed(bus, bus.busd.pid)
            else:
                told = bus.busd.err()
                assert bus.busd.popen.returncode == 1, (harm, told)
                assert str(bus.data / "meta") in told and "backup" in told, (harm, told)
            assert newest_segment(bus).exists()


def disk_full():
    """No space for segments: a clean error in time, other topics go on, and it recovers."""
    with started() as bus:
        armed = bus.folder / "full"
        assert bus.stop() == 0
        bus.start(env=bus.environment(fault="before:fallocate@/big-:1+:ENOSPC", when=armed))
        bus.busctl("topic", "create", "big")
        bus.busctl("produce", "big", stdin="fits\n")
        armed.touch()
        text = "".join("z" * 60000 + "\n" for _ in range(60))
        settings = ("-X", "max.block.ms=1000", "-X", "delivery.timeout.ms=1500")
        done = bus.busctl("produce", *settings, "big", stdin=text, check=False)
        fails(done, 1, "big")
        assert "full" in done.stderr or "space" in done.stderr, done
        assert "full" in bus.busd.err() and str(bus.partition_folder("big")) in bus.busd.err(), bus.busd.tail()
        bus.busctl("produce", "-p", "1", "kept", stdin="others go on\n")
        armed.unlink()
        bus.busctl("produce", "big", stdin="space again\n")
        lines = bus.busctl("consume", "-e", "big").stdout.splitlines()
        assert lines[0] == "fits" and lines[-1] == "space again", lines[-1]
        assert bus.busctl("consume", "-p", "0", "-e", "kept").stdout == KEPT


def newer_format():
    with started() as bus:
        assert bus.stop() == 0
        path = bus.data / "format"
        text = path.read_text()
        path.write_text(text.replace("shmbus-data 1", "shmbus-data 2"))
        done = bus.run(*bus.command())
        fails(done, 1, str(bus.data), "format 2", "newer busd")
        path.write_text("nonsense")
        fails(bus.run(*bus.command()), 1, str(path), "damaged")
        path.write_text(text)
        bus.start()
        unharmed(bus, bus.busd.pid)


# ---- limits -------------------------------------------------------------------------------------


def limit_files(count):
    def preexec():
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))

    return preexec


def few_descriptors_of_a_client():
    with started() as bus:
        bus.busctl("topic", "create", "wide", "-p", "64")
        bus.busctl("produce", "-p", "63", "wide", stdin="far\n")
        done = bus.busctl("consume", "-e", "wide", check=False, preexec=limit_files(40))
        fails(done, 1, "wide")
        assert "ulimit -n" in done.stderr or "open files" in done.stderr, done
        assert bus.busctl("consume", "-e", "wide").stdout == "far\n"
        unharmed(bus, bus.busd.pid)


def few_descriptors_of_busd():
    """Used-up descriptors: new work is refused, what is attached works, and it recovers."""
    with harness.Bus(settings=harness.SMALL) as bus:
        bus.start(preexec=limit_files(64))
        bus.busctl("topic", "create", "kept", "-p", "2")
        bus.busctl("produce", "-p", "0", "kept", stdin=KEPT)
        producer = bus.worker("produce", "kept", 1, 0, "acks=1", "worker.partition=1", "worker.pause_us=1000")
        producer.told("ack", 1)
        idle = []
        for _ in range(100):
            one = socket.socket(socket.AF_UNIX)
            one.setblocking(False)
            try:
                one.connect(str(bus.socket))
            except BlockingIOError:
                one.close()
                break
            idle.append(one)
        producer.told("ack", 50)
        assert bus.busd.alive(), bus.busd.tail()
        for one in idle:
            one.close()
        harness.until(lambda: bus.busctl("status", check=False).returncode == 0, "busd to answer again")
        assert producer.stop() == 0, producer.tail()
        assert bus.busctl("consume", "-p", "0", "-e", "kept").stdout == KEPT
        assert bus.stop() == 0, bus.busd.tail()


def mappings():
    """A client that may map no more tells so."""
    with started() as bus:
        fault = "before:mmap@/topics/:1+:ENOMEM"
        done = bus.busctl("consume", "-e", "kept", check=False, env=bus.environment(fault=fault))
        fails(done, 1, "kept")
        assert "memory" in done.stderr or "map" in done.stderr, done
        unharmed(bus, bus.busd.pid)


def too_many_connections():
    with started(**{"max.connections": 10}) as bus:
        idle = []
        for _ in range(10):
            idle.append(socket.socket(socket.AF_UNIX))
            idle[-1].connect(str(bus.socket))
        done = bus.busctl("status", check=False)
        fails(done, 1, str(bus.socket))
        for one in idle:
            one.close()
        harness.until(lambda: bus.busctl("status", check=False).returncode == 0, "room for a client")
        unharmed(bus, bus.busd.pid)


def busctl_is_interrupted():
    """^C in the middle of a long produce: what was sent is there."""
    with started() as bus:
        bus.busctl("topic", "create", "cut")
        path = bus.folder / "endless"
        os.mkfifo(path)
        process = bus.spawn([BUSCTL, "--socket", bus.socket, "produce", "cut", path], "produce", env=bus.environment())
        with open(path, "w", encoding="ascii") as pipe:
            pipe.write("sent\n" * 10)
            pipe.flush()
            harness.until(lambda: bus.partitions("cut")[0]["end_offset"] == 10, "the records to arrive")
            process.signal(signal.SIGINT)
            process.wait()
        assert bus.busctl("consume", "-e", "cut").stdout == "sent\n" * 10
        unharmed(bus, bus.busd.pid)


for name, function in (
    ("no busd running", no_busd),
    ("a socket without permission", socket_without_permission),
    ("a topic without permission", not_allowed),
    ("a client of another layout", another_layout),
    ("an unknown topic", unknown_topic),
    ("names of topics", topic_names),
    ("a topic that exists", topic_exists),
    ("absurd numbers of partitions", partitions),
    ("configuration unknown or out of range", configuration),
    ("a record larger than max.message.bytes", too_large),
    ("no key delimiter", without_delimiter),
    ("no key in a compacted topic", compacted_without_key),
    ("an offset out of range", out_of_range),
    ("invalid -f and -o", formats_and_times),
    ("a damaged segment", damaged_segment),
    ("a damaged index", damaged_index),
    ("a damaged control page", damaged_control_page),
    ("a damaged LMDB file", damaged_metadata),
    ("a full disk", disk_full),
    ("data of a newer format", newer_format),
    ("no descriptors left in a client", few_descriptors_of_a_client),
    ("no descriptors left in busd", few_descriptors_of_busd),
    ("no mappings left in a client", mappings),
    ("too many connections", too_many_connections),
    ("busctl is interrupted", busctl_is_interrupted),
):
    tap.run(name, function)
tap.done()
