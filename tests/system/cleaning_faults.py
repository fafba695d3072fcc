# SPDX-License-Identifier: Apache-2.0
"""A compaction that ends at each of its steps: by a crash, and by a loss of power.

The fault shim kills or stops busd before the n-th call that changes something in the partition's
folder, for n = 1, 2, 3, … until a compaction ends without reaching the n-th. Whatever the step, the
log that is started afterwards has each record that must be left at its offset, and no half-done
file; and the last compaction of each series goes through on what all those before left.
"""

import re
import shutil
import signal
import sys

import harness
import tap
from feed import Feed, check, send

sys.path.insert(0, str(harness.SOURCE / "tests/lib"))
import powerloss  # noqa: E402 (the folder has to be known first)

CALLS = ("fsync", "fdatasync", "rename", "unlink")
POINTS_MAX = 40
SETTINGS = {
    **harness.SMALL,
    "flush.interval.ms": 50,
    "log.cleaner.backoff.ms": 20,
}
# Some lose all that was not flushed, some nothing, most a part: see powerloss.py.
LOSSES = (0, 2, 3, 4, 6, 7, 1)


def compactions(bus):
    return len(re.findall("compacted up to", bus.busd.err()))


def compact(bus):
    """Asks for a compaction; returns when it has ended, or busd has."""
    before = compactions(bus)
    busctl = [harness.BUILD / "tools/busctl/busctl", "--socket", bus.socket]
    asking = bus.spawn(busctl + ["topic", "compact", "t"], "busctl", env=bus.environment())
    state = f"/proc/{bus.busd.pid}/stat"

    def over():
        if not bus.busd.alive() or compactions(bus) > before:
            return True
        with open(state, encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "T"

    harness.until(over, "death or success", detail=bus.busd.tail)
    asking.kill()
    return compactions(bus) > before


def leaves_nothing(bus):
    names = [path.name for path in bus.partition_folder("t").iterdir()]
    assert not [name for name in names if ".clean" in name], names
    checkpoint = bus.partition_folder("t") / "cleaner-checkpoint"
    if checkpoint.exists():
        assert "swap" not in checkpoint.read_text(), checkpoint.read_text()


def create(bus):
    bus.busctl(
        "topic", "create", "t", "-c", "cleanup.policy=compact", "-c", "min.cleanable.dirty.ratio=1"
    )


def killed_at(call, reboot):
    """Crashes at each step of this kind; how many."""
    feed, strikes = Feed(), 0
    with harness.Bus(settings=SETTINGS) as bus:
        when = bus.folder / "now"
        bus.start()
        create(bus)
        bus.kill()
        for n in range(1, POINTS_MAX):
            bus.start(env=bus.environment(fault=f"before:{call}@t-0:{n}:kill", when=when))
            send(bus, feed, 5000)
            when.touch()
            ended = compact(bus)
            when.unlink()
            strikes += not ended
            bus.kill()
            if reboot:
                bus.forget_shared_memory()
            bus.start()
            check(bus, feed)
            leaves_nothing(bus)
            bus.kill()
            if ended:
                return strikes
        raise AssertionError(f"{call}: more than {POINTS_MAX} steps")


def killed():
    """A rig that never strikes would pass everything."""
    strikes = {call: killed_at(call, i % 2 == 0) for i, call in enumerate(CALLS[1:])}
    print(f"# deaths: {strikes}", flush=True)
    assert all(strikes[call] >= 2 for call in ("rename", "unlink")), strikes


class Disk:
    """The folder that loses power."""

    def __init__(self, bus):
        self.bus = bus
        self.live, self.shadow = bus.folder / "disk", bus.folder / "shadow"
        self.live.mkdir()
        bus.data = self.live / "data"

    def start(self, fault=None, when=None):
        shutil.rmtree(self.shadow, ignore_errors=True)
        powerloss.begin(str(self.live), str(self.shadow))
        self.bus.start(env=self.bus.environment(shadow=self.shadow, fault=fault, when=when))

    def lose_power(self, seed):
        """All stands still, the disk is looked at, and nobody comes back."""
        bus, after = self.bus, self.bus.folder / "after"
        bus.busd.signal(signal.SIGSTOP)
        bus.busd.stopped()
        lost = powerloss.cut(str(self.live), str(self.shadow), str(after), seed)
        bus.kill()
        bus.forget_shared_memory()
        shutil.rmtree(self.live)
        after.rename(self.live)
        return lost


def power_lost_at(call):
    feed, strikes = Feed(), 0
    with harness.Bus(settings=SETTINGS) as bus:
        disk = Disk(bus)
        when = bus.folder / "now"
        disk.start()
        create(bus)
        assert bus.stop() == 0
        for n in range(1, POINTS_MAX):
            disk.start(f"before:{call}@t-0:{n}:stop", when)
            # Through busd, which sees to it that all of it is flushed under the shim.
            send(bus, feed, 4000, "-X", "direct=never", "-X", "acks=all")
            when.touch()
            ended = compact(bus)
            when.unlink()
            strikes += not ended
            disk.lose_power(LOSSES[n % len(LOSSES)])
            disk.start()
            check(bus, feed)
            leaves_nothing(bus)
            assert bus.stop() == 0, bus.busd.tail()
            if ended:
                done = bus.busctl("log", "verify", bus.data, check=False)
                assert done.returncode == 0, done
                return strikes
        raise AssertionError(f"{call}: more than {POINTS_MAX} steps")


def power_lost():
    strikes = {call: power_lost_at(call) for call in CALLS}
    print(f"# cuts: {strikes}", flush=True)
    assert all(strikes[call] >= 1 for call in ("fsync", "rename", "unlink")), strikes


if not harness.SHIM.exists():
    raise SystemExit(f"{harness.SHIM} is missing: make check builds it")
tap.run("busd dies at each step of a compaction", killed)
tap.run("the power goes at each step of a compaction", power_lost)
tap.done()
