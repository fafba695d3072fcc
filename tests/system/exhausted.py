# SPDX-License-Identifier: Apache-2.0
"""Fault F12: address space, threads and descriptors run out, in a client or in busd.

New work is refused in words that help, work that goes on goes on, and it all works again when there
is room. Limits on connections and mappings are in limits.py.
"""

import os
import resource

import harness
import history
import tap

SETTINGS = {**harness.SMALL, "log.segment.preallocate.bytes": 65536}
TOPICS = 60


def limit(what, count):
    """preexec_fn of a child with a limit that it cannot raise."""
    return lambda: resource.setrlimit(what, (count, count))


def address_space():
    """A client that may not map a segment is told so, and busd and the others do not notice."""
    with harness.Bus(settings=SETTINGS) as bus:
        bus.start()
        bus.busctl("topic", "create", "t", "-p", "1")
        honest = bus.worker("produce", "t", 1, 0, "worker.pause_us=500")
        honest.told("ack", 20)
        for kind in ("produce", "consume"):
            tight = bus.worker(kind, "t", 2, 5, preexec=limit(resource.RLIMIT_AS, 300 << 20))
            assert tight.wait() in (0, 1), tight.tail()
            done = tight.count("ack") + tight.count("read") == 5
            assert done or "memory" in tight.out() or "ulimit" in tight.out(), tight.tail()
        honest.told("ack", 20)
        assert honest.stop() == 0, honest.tail()
        assert bus.stop() == 0, bus.busd.tail()


def threads_of_a_client():
    """A client without threads fails in words, not in silence; root has no such limit."""
    with harness.Bus(settings=SETTINGS) as bus:
        bus.start()
        bus.busctl("topic", "create", "t", "-p", "1")
        os.chmod(bus.folder, 0o755)

        def alone():
            harness.drop_root()
            resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))

        done = bus.run(
            bus.program("busctl"), "--socket", bus.socket, "produce", "t", stdin="x\n", preexec=alone
        )
        assert done.returncode == 1 and "thread" in done.stderr, done
        bus.busctl("produce", "t", stdin="x\n")
        assert bus.busctl("consume", "-e", "t").stdout == "x\n"
        assert bus.stop() == 0, bus.busd.tail()


def descriptors_of_busd():
    """More partitions than busd has descriptors for: some are refused, and served later."""
    with harness.Bus(settings=SETTINGS) as bus:
        bus.start(preexec=limit(resource.RLIMIT_NOFILE, 128))
        bus.busctl("topic", "create", "kept", "-p", "1")
        kept = bus.worker("produce", "kept", 1, 0, "worker.pause_us=500")
        kept.told("ack", 20)
        for i in range(TOPICS):
            bus.busctl("topic", "create", f"t{i}", "-p", "4", check=False)
        crowd, refused = [], []
        for i in range(TOPICS):
            worker = bus.worker(
                "produce", f"t{i}", 10 + i, 0, "worker.pause_us=50000", "max.block.ms=1000",
                "delivery.timeout.ms=1500",
            )  # fmt: skip
            crowd.append(worker)
            harness.until(
                lambda: worker.count("ack") >= 8 or worker.count("fail") or not worker.alive(),
                "the worker to say how it goes",
            )
            if worker.count("fail") or not worker.alive():
                refused.append(worker)
                if len(refused) >= 3:
                    break
        assert refused, "there was no limit"
        for worker in refused:
            text = worker.out()
            assert "ulimit -n" in text or "open files" in text or "busd" in text, worker.tail()
        kept.told("ack", 20)
        assert bus.busd.alive(), bus.busd.tail()
        for worker in crowd:
            worker.kill()
        harness.until(
            lambda: bus.busctl("topic", "create", "late", check=False).returncode == 0
            or "exists" in bus.busctl("topic", "create", "late", check=False).stderr,
            "busd to take new work",
            detail=bus.busd.tail,
        )
        late = bus.worker("produce", "late", 5, 20)
        assert late.wait() == 0 and late.count("ack") == 20, late.tail() + bus.busd.tail()
        assert kept.stop() == 0, kept.tail()
        history.expect_good([kept], bus.read_all("kept"))
        history.expect_good([late], bus.read_all("late"))
        assert bus.stop() == 0, bus.busd.tail()


def connections_of_a_user():
    """A user has used up its share: it is told, and others come in."""
    with harness.Bus(settings={**SETTINGS, "max.connections.per.user": 4}) as bus:
        bus.start()
        bus.busctl("topic", "create", "t", "-p", "1")
        os.chmod(bus.folder, 0o755)
        crowd = []
        for i in range(4):
            crowd.append(bus.worker("produce", "t", i, 0, "worker.pause_us=10000"))
            crowd[-1].told("ack", 1)
        refused = bus.busctl("status", check=False)
        assert str(bus.socket) in refused.stderr, refused
        bus.busd.line("turned away.*(limit|connections)")
        if os.geteuid() == 0:
            other = [bus.program("busctl"), "--socket", bus.socket, "topic", "list"]
            done = bus.run(*other, preexec=harness.drop_root)
            assert done.returncode == 0 and "t" in done.stdout.split(), done
        assert [worker.alive() for worker in crowd] == [True] * 4
        for worker in crowd:
            assert worker.stop() == 0, worker.tail()
        harness.until(lambda: bus.busctl("status", check=False).returncode == 0, "room again")
        assert bus.stop() == 0, bus.busd.tail()


if os.environ.get("SANITIZED") == "yes":
    tap.skip("no address space in a client", "a sanitizer takes terabytes of it")
else:
    tap.run("no address space in a client", address_space)
tap.run("no threads in a client", threads_of_a_client)
tap.run("no descriptors in busd for more partitions", descriptors_of_busd)
tap.run("no connections for one user", connections_of_a_user)
tap.done()
