# SPDX-License-Identifier: Apache-2.0
"""Fault F7: no space left, on a real file system and, piece by piece, through the shim.

A producer gets an error that names partition and remedy, what has room goes on, what was
acknowledged stays, nobody dies of SIGBUS, and with space everything goes on by itself.
"""

import os
import pathlib
import shutil
import subprocess
import tempfile

import harness
import history
import tap

DISK_BYTES = 16 << 20
SETTINGS = {
    **harness.SMALL,
    "log.segment.preallocate.bytes": 65536,
    "flush.interval.ms": 100,
}
# A producer that tells soon that there is no room.
IMPATIENT = ("max.block.ms=2000", "delivery.timeout.ms=3000", "worker.size=4000")
MEDIATED = IMPATIENT + ("direct=never",)
META_TURNS = 20


# ---- a disk of our own --------------------------------------------------------------------------


class Disk:
    """A small file system, mounted for the test."""

    def __init__(self, folder, kind):
        self.path = folder / kind
        self.path.mkdir()
        if kind == "tmpfs":
            self._run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "shmbus-test", self.path)
        else:
            image = folder / "image"
            with open(image, "wb") as file:
                file.truncate(DISK_BYTES)
            self._run("mkfs.ext4", "-q", "-F", "-m", "0", image)
            self._run("mount", "-o", "loop", image, self.path)
        self.ballast = self.path / "ballast"

    def _run(self, *command):
        subprocess.run([str(word) for word in command], check=True, capture_output=True)

    def fill(self):
        """Takes every free block."""
        fd = os.open(self.ballast, os.O_WRONLY | os.O_CREAT)
        size, step = 0, 1 << 20
        while step >= 4096:
            try:
                os.posix_fallocate(fd, size, step)
                size += step
            except OSError:
                step //= 2
        os.close(fd)

    def empty(self):
        self.ballast.unlink()

    def close(self):
        subprocess.run(["umount", "-l", str(self.path)], check=False, capture_output=True)


def why_no_disk(kind):
    """Why such a disk cannot be had here, or None."""
    if os.geteuid() != 0:
        return "only root may mount"
    if kind == "ext4" and not (shutil.which("mkfs.ext4") and os.path.exists("/dev/loop-control")):
        return "no mkfs.ext4 or no loop devices"
    probe = pathlib.Path(tempfile.mkdtemp(prefix="shmbus-mount-probe-"))
    can = subprocess.run(
        ["mount", "-t", "tmpfs", "shmbus-test", str(probe)], check=False, capture_output=True
    )
    subprocess.run(["umount", str(probe)], check=False, capture_output=True)
    probe.rmdir()
    return None if can.returncode == 0 else "mounting is not permitted here"


def tells_full(worker, partition):
    """The failures of a producer name what is full and what helps."""
    worker.told("fail", 3)
    failed = [line for line in worker.lines() if line.startswith("fail")]
    for line in failed:
        name, text = line.split(" ", 4)[3:]
        assert name in ("DISK_FULL", "KAFKA_STORAGE_ERROR"), failed[:5]
        assert partition in text and ("is full" in text or "No space" in text or "quota" in text), line
        assert "make space" in text, line


def end_well(*workers):
    """SIGTERM; a death by SIGBUS would show here."""
    for worker in workers:
        assert worker.stop() == 0, worker.tail()


def a_few(bus, topic, number, *settings, count=50):
    """A producer that must not meet any trouble."""
    worker = bus.worker("produce", topic, number, count, *settings)
    assert worker.wait() == 0 and worker.count("ack") == count, worker.tail()
    return worker


def real_disk(kind):
    with harness.Bus(settings=SETTINGS) as bus:
        disk = Disk(bus.folder, kind)
        try:
            bus.data = disk.path / "data"
            fill_and_free(bus, disk)
        finally:
            bus.busd.kill()
            bus.forget_shared_memory()
            disk.close()


def fill_and_free(bus, disk):
    bus.start()
    for topic in ("direct", "mediated", "other"):
        bus.busctl("topic", "create", topic, "-p", "1")
    bus.busctl("topic", "create", "memory", "-p", "1", "-c", "storage.type=memory")
    before = a_few(bus, "other", 9)
    # Not so fast that they fill the disk again before the other one has had its share.
    direct = bus.worker("produce", "direct", 1, 0, *IMPATIENT, "worker.pause_us=1000")
    mediated = bus.worker("produce", "mediated", 2, 0, *MEDIATED, "worker.pause_us=1000")
    direct.told("ack", 50)
    mediated.told("ack", 50)
    disk.fill()
    tells_full(direct, "direct-0")
    tells_full(mediated, "mediated-0")
    others = [a_few(bus, "other", 10), a_few(bus, "memory", 11), before]
    disk.fill()  # busd may have given something back
    created = bus.busctl("topic", "create", "late", check=False)
    if created.returncode == 0:
        refused = bus.worker("produce", "late", 12, 1, *IMPATIENT)
        assert refused.wait() in (0, 1), refused.tail()
        assert refused.count("ack") == 0 and "make space" in refused.out(), refused.tail()
    else:
        assert "make space" in created.stderr, created
    disk.empty()
    for worker in (direct, mediated):
        worker.told("ack", 50)
    end_well(direct, mediated)
    for topic, workers in (
        ("direct", [direct]),
        ("mediated", [mediated]),
        ("other", [others[0], others[2]]),
        ("memory", [others[1]]),
    ):
        wrong = history.judge(workers, bus.read_all(topic))
        assert not wrong, (topic, wrong[:20])
    bus.busctl("topic", "create", "late", check=False)
    a_few(bus, "late", 13)
    assert bus.stop() == 0, bus.busd.tail()
    bus.start()
    wrong = history.judge([direct], bus.read_all("direct"))
    assert not wrong, wrong[:20]


# ---- piece by piece -----------------------------------------------------------------------------


class Fault:
    """A busd under the shim, whose rules hold while the fault is on."""

    def __init__(self, bus, rules):
        self.switch = bus.folder / "on"
        self.told = bus.folder / "faults"
        bus.start(env=bus.environment(fault=rules, when=self.switch))

    def on(self):
        self.switch.touch()

    def off(self):
        self.switch.unlink()

    def struck(self):
        """Waits until the fault has struck at least once."""
        harness.until(lambda: self.told.exists() and self.told.read_text(), "the fault")


def reservation(rules, *settings):
    """Reserving fails: producers hear of it until it works again."""
    with harness.Bus(settings=SETTINGS) as bus:
        fault = Fault(bus, rules)
        bus.busctl("topic", "create", "full", "-p", "1")
        bus.busctl("topic", "create", "other", "-p", "1")
        worker = bus.worker("produce", "full", 1, 0, *settings)
        other = bus.worker("produce", "other", 2, 0, *settings)
        worker.told("ack", 20)
        other.told("ack", 20)
        fault.on()
        tells_full(worker, "full-0")
        fault.struck()
        other.told("ack", 500)
        fault.off()
        worker.told("ack", 500)
        end_well(worker, other)
        wrong = history.judge([worker], bus.read_all("full"))
        wrong += history.judge([other], bus.read_all("other"))
        assert not wrong, wrong[:20]
        assert other.count("fail") == 0, other.tail()
        assert bus.stop() == 0, bus.busd.tail()


def indexes():
    """Indexes cannot be written: nobody notices but the trace; they come when there is space."""
    with harness.Bus(settings=SETTINGS) as bus:
        fault = Fault(
            bus, "before:pwrite@index:1+:ENOSPC;before:write@index:1+:ENOSPC;before:open@index:1+:ENOSPC"
        )
        bus.busctl("topic", "create", "t", "-p", "1")
        fault.on()
        first = bus.worker("produce", "t", 1, 2000, "worker.size=1000")
        assert first.wait() == 0, first.tail()
        fault.struck()
        bus.busd.line("t-0.*(no space|disk|space left)")
        history.expect_good([first], bus.read_all("t"), least=2000)
        seek = bus.worker("consume", "t", 0, 100, "worker.from=1500")
        assert seek.wait() == 0 and seek.lines()[0].startswith("read 0 1500 "), seek.tail()
        fault.off()
        second = bus.worker("produce", "t", 2, 2000, "worker.size=1000")
        assert second.wait() == 0, second.tail()
        folder = bus.partition_folder("t")
        harness.until(
            lambda: all(
                path.with_suffix(".index").exists() and path.with_suffix(".index").stat().st_size > 0
                for path in sorted(folder.glob("0*.log"))
                if path.stat().st_size > 0 and path != sorted(folder.glob("0*.log"))[-1]
            ),
            "indexes of every closed segment",
            detail=bus.busd.tail,
        )
        history.expect_good([first, second], bus.read_all("t"), least=4000)
        assert bus.stop() == 0, bus.busd.tail()


def refused_without_space(bus, fault, worker):
    """Metadata do not change while the fault is on; records go on."""
    fault.on()
    refused = bus.busctl("topic", "create", "late", check=False)
    assert refused.returncode == 1 and "space" in refused.stderr, refused
    assert "meta" in refused.stderr, refused
    fault.struck()
    worker.told("ack", 1000)
    listed = bus.busctl("topic", "list").stdout
    assert "late" not in listed.split() and "t" in listed.split(), listed
    fault.off()


def metadata(*calls):
    """LMDB has no space: what changes metadata is refused, records go on, and it recovers."""
    with harness.Bus(settings=SETTINGS) as bus:
        fault = Fault(bus, ";".join(f"before:{call}@data.mdb:1+:ENOSPC" for call in calls))
        bus.busctl("topic", "create", "t", "-p", "1")
        worker = bus.worker("produce", "t", 1, 0, "worker.size=1000")
        worker.told("ack", 20)
        for turn in range(META_TURNS):
            refused_without_space(bus, fault, worker)
            bus.busctl("topic", "create", f"between-{turn}")
            # A page of data may be written by the same call, which LMDB gets over by itself.
            if "write" in calls or "opened anew" in bus.busd.err():
                break
        else:
            raise AssertionError("the meta page was never met")
        bus.busctl("topic", "create", "late")
        a_few(bus, "late", 3)
        worker.told("ack", 100)
        end_well(worker)
        history.expect_good([worker], bus.read_all("t"))
        assert bus.stop() == 0, bus.busd.tail()
        bus.start()
        history.expect_good([worker], bus.read_all("t"))


for kind in ("tmpfs", "ext4"):
    reason = why_no_disk(kind)
    if reason:
        tap.skip(f"a full {kind}", reason)
    else:
        tap.run(f"a full {kind}", real_disk, kind)

for name, rules in (
    ("segments", "before:fallocate@full-0:1+:ENOSPC"),
    ("the quota", "before:fallocate@full-0:1+:EDQUOT"),
    ("spare segments", "before:open@full-0/spare:1+:ENOSPC"),
):
    tap.run(f"no space for {name}, direct producer", reservation, rules, *IMPATIENT)
    tap.run(f"no space for {name}, mediated producer", reservation, rules, *MEDIATED)
tap.run("no space for indexes", indexes)
tap.run("no space for LMDB", metadata, "write", "pwrite")
tap.run("no space for LMDB's meta page, after which it wants to be opened anew", metadata, "pwrite")
tap.done()
