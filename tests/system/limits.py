# SPDX-License-Identifier: Apache-2.0
"""Fault F12 and other limits: descriptors, mappings, connections, permissions, a tired user.

What is new is refused in words that help, what works goes on, and everything recovers. Mistakes in
what is asked for are in bad_input.py."""

import os
import resource
import signal
import socket

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


@shared
def not_allowed(bus):
    """Who may do what is decided per topic by the user that the kernel names."""
    if os.geteuid() != 0:
        raise tap.Skip("only root can be two users")
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
def compacted_without_key(bus):
    bus.busctl("topic", "create", "table", "-c", "cleanup.policy=compact")
    for way in ("auto", "never"):
        done = bus.busctl("produce", "-X", f"direct={way}", "table", stdin="no key\n", check=False)
        fails(done, 1, "table", "key")
    bus.busctl("produce", "-k", ":", "table", stdin="k:v\n")
    assert bus.busctl("consume", "-e", "table").stdout == "v\n"


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
    ("a topic without permission", not_allowed),
    ("no key in a compacted topic", compacted_without_key),
    ("no descriptors left in a client", few_descriptors_of_a_client),
    ("no descriptors left in busd", few_descriptors_of_busd),
    ("no mappings left in a client", mappings),
    ("too many connections", too_many_connections),
    ("busctl is interrupted", busctl_is_interrupted),
):
    tap.run(name, function)
tap.done()
