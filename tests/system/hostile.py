# SPDX-License-Identifier: Apache-2.0
"""Fault F14: a client does its worst with everything that it was given (hostile.c).

Meanwhile busd, and honest clients of another partition, must not notice; those who share the
offender's partition may be told of damage, but they neither crash nor hang, and when the offender
is gone the partition works again.
"""

import errno
import os
import pathlib
import re

import harness
import history
import tap

SEED = int(os.environ.get("SHMBUS_SEED", "14"))
SANITIZED = os.environ.get("SANITIZED") == "yes"
FDS_MARGIN = 24
RSS_MARGIN_KIB = 24 << 10

# Whoever runs this test may append in place to `victim`; the offender is nobody else's user.
SETTINGS = {
    **harness.SMALL,
    "log.segment.preallocate.bytes": 65536,
    "flush.interval.ms": 50,
    "topic.access.direct": f"self,user:{harness.NOBODY}",
}


def open_fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def rss_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])


class Scene:
    """busd, honest clients, and the offender at their partition."""

    def __init__(self, bus):
        self.bus = bus
        bus.start()
        for topic in ("victim", "other"):
            bus.busctl("topic", "create", topic, "-p", "1")
        os.chmod(bus.folder, 0o755)
        self.writer = bus.worker("produce", "other", 1, 0, "worker.pause_us=1000")
        self.reader = bus.worker("consume", "other", 0, 0)
        self.witness = bus.worker("consume", "victim", 0, 0, "worker.on_damage=1")
        self.beside = bus.worker("produce", "victim", 2, 0, "worker.pause_us=3000", "acks=1")
        for worker in (self.writer, self.beside):
            worker.told("ack", 50)
        for worker in (self.reader, self.witness):
            worker.told("read", 50)
        self.fds, self.rss = open_fds(bus.busd.pid), rss_kib(bus.busd.pid)
        self.generations = bus.generations()

    def attack(self, mode, rounds):
        program = self.bus.folder / "hostile"
        if not program.exists():
            program.write_bytes((harness.BUILD / "tests/system/hostile").read_bytes())
            program.chmod(0o755)
        return self.bus.spawn(
            [program, self.bus.socket, "victim", mode, SEED, rounds],
            f"hostile-{mode}",
            preexec=harness.drop_root,
        )

    def expect_life(self):
        """Everybody still runs, and those of the other partition get on."""
        for process in (self.bus.busd, self.writer, self.reader, self.witness, self.beside):
            assert process.alive(), f"{process.name} ended: {process.popen.returncode}\n{process.tail()}"
        self.writer.told("ack", 50)
        self.reader.told("read", 50)

    def is_offline(self):
        return re.search("^<3>victim-0: offline", self.bus.busd.err(), re.M)

    def expect_repair(self):
        """The partition takes records again, from those who were there and from newcomers.

        Whoever may append in place may say that a flush failed, and nobody can tell that from the
        truth: then it takes the restart that busd asks for.
        """
        fresh = self.bus.worker("produce", "victim", 3, 0, "worker.pause_us=1000")
        fresh.until(
            lambda p: p.count("ack") >= 60 or (p.count("fail") and self.is_offline()),
            "60 records, or none since it is offline",
        )
        if fresh.count("ack") < 60:
            assert self.bus.stop() == 0, self.bus.busd.tail()
            self.bus.start()
            fresh.told("ack", 60)
        assert fresh.stop() == 0, fresh.tail()
        first = int([line for line in fresh.lines() if line.startswith("ack")][-30].split()[4])
        late = self.bus.worker("consume", "victim", 0, 30, f"worker.from={first}", "worker.on_damage=1")
        assert late.wait() == 0, late.tail()
        self.beside.told("ack", 30)
        return fresh

    def expect_no_leak(self):
        pid = self.bus.busd.pid
        harness.until(
            lambda: open_fds(pid) <= self.fds + FDS_MARGIN,
            f"descriptors of busd back near {self.fds}",
            detail=lambda: f"{open_fds(pid)} now",
        )
        if not SANITIZED:
            now = rss_kib(pid)
            assert now <= self.rss + RSS_MARGIN_KIB, (self.rss, now)

    def end(self):
        for worker in (self.writer, self.reader, self.witness, self.beside):
            status = worker.stop()
            assert status == 0, f"{worker.name} ended with {status}\n{worker.tail()}"
        history.expect_good([self.writer], self.bus.read_all("other"), readers=[self.reader])
        assert self.bus.stop() == 0, self.bus.busd.tail()
        errors = self.bus.busd.err()
        assert "ERROR: " not in errors and "runtime error" not in errors, errors[-4000:]


def attack(mode, rounds, damaging):
    with harness.Bus(settings=SETTINGS) as bus:
        scene = Scene(bus)
        offender = scene.attack(mode, rounds)
        assert offender.wait() == 0 and f"done {mode}" in offender.out(), (
            offender.tail() + bus.busd.tail()
        )
        scene.expect_life()
        scene.expect_repair()
        if damaging:
            assert bus.generations() != scene.generations, "nothing was repaired"
        scene.expect_no_leak()
        scene.end()
        # What the other partition holds is on disk as well.
        bus.start()
        history.expect_good([scene.writer], bus.read_all("other"))


def called_offline():
    """Nobody writes until busd starts anew, and nothing is lost of what was flushed."""
    with harness.Bus(settings=SETTINGS) as bus:
        scene = Scene(bus)
        strict = bus.worker("produce", "victim", 4, 0, "acks=all", "worker.pause_us=1000")
        strict.told("ack", 20)
        offender = scene.attack("offline", 1)
        assert offender.wait() == 0, offender.tail()
        strict.told("fail", 3)
        assert "victim-0: the partition is offline" in strict.out(), strict.tail()
        bus.busd.line("victim-0: offline.*until busd is started again")
        scene.expect_life()
        producers = [strict, scene.beside, scene.expect_repair()]
        strict.told("ack", 20)
        for producer in producers:
            assert producer.stop() == 0, producer.tail()
        wrong = history.judge(producers, bus.read_all("victim"))
        assert not wrong, wrong[:20]
        scene.end()


def killed_in_the_act():
    """The offender dies in the middle of it, again and again."""
    with harness.Bus(settings=SETTINGS) as bus:
        scene = Scene(bus)
        for mode in ("everything", "locks", "silent", "frames", "sizes"):
            offender = scene.attack(mode, 1000000)
            scene.writer.told("ack", 30)
            offender.kill()
        scene.expect_life()
        scene.expect_repair()
        scene.expect_no_leak()
        scene.end()


def restart_meanwhile():
    """busd is killed and started while the offender is at work: what it finds is not trusted."""
    with harness.Bus(settings=SETTINGS) as bus:
        scene = Scene(bus)
        for mode in ("everything", "sizes"):
            offender = scene.attack(mode, 1000000)
            scene.writer.told("ack", 30)
            bus.kill()
            bus.start()
            scene.writer.told("ack", 30)
            offender.kill()
        scene.expect_life()
        scene.expect_repair()
        scene.end()


def reader_may_not_write():
    """What a reader gets is read-only, says the kernel."""
    with harness.Bus(settings=SETTINGS) as bus:
        scene = Scene(bus)
        reader = scene.attack("reader", 1)
        assert reader.wait() == 0, reader.tail()
        tries = {}
        for line in reader.lines():
            if line.startswith("fd "):
                words = line.split()
                tries[int(words[1])] = {k: int(v) for k, v in zip(words[2::2], words[3::2])}
        assert len(tries) >= 3, reader.tail()
        for fd, got in tries.items():
            if fd == 1:  # the bell, which everybody may ring
                continue
            assert got["mmap"] == errno.EACCES, (fd, got)
            assert got["mprotect"] == errno.EACCES, (fd, got)
            assert got["ftruncate"] in (errno.EINVAL, errno.EBADF), (fd, got)
            assert got["pwrite"] == errno.EBADF, (fd, got)
            if os.geteuid() == 0:  # else it is busd's own user, who may open its own files
                assert got["reopen"] == errno.EACCES, (fd, got)
        scene.expect_life()
        scene.end()


def main():
    print(f"# seed {SEED}", flush=True)
    tap.run("a reader may not write", reader_may_not_write)
    for mode, rounds, damaging in (
        ("control", 40, True),
        ("words", 60, True),
        ("bell", 15, False),
        ("data", 15, False),
        ("everything", 40, True),
        ("sizes", 40, True),
        ("locks", 15, False),
        ("kick", 15, False),
        ("silent", 300, False),
        ("frames", 600, False),
        ("leave", 4, False),
        ("rights", 20, False),
    ):
        tap.run(f"{mode}", attack, mode, rounds, damaging)
    tap.run("offline", called_offline)
    tap.run("killed in the act", killed_in_the_act)
    tap.run("busd starts anew meanwhile", restart_meanwhile)
    tap.done()


main()
