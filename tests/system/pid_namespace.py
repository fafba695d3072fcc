# SPDX-License-Identifier: Apache-2.0
"""A writer in another PID namespace: its thread ids may be those of somebody else here, and the
append lock tells threads apart by nothing else. So it writes through busd, and reads in place."""

import pathlib
import subprocess

import harness
import history
import tap

ELSEWHERE = ["unshare", "--pid", "--fork", "--kill-child"]


def why_not():
    """Why there is no other namespace to be had, or None."""
    try:
        can = subprocess.run(ELSEWHERE + ["true"], check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return "no unshare"
    return None if can.returncode == 0 else can.stderr.strip()


def maps_for_writing(pid):
    """Whether the process has a segment mapped so that it may write to it."""
    maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
    return any(" rw-s " in line and line.endswith(".log") for line in maps.splitlines())


def child_of(process):
    """The process that unshare has started, by its id here."""
    path = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return int(harness.until(path.read_text, "the child").split()[0])


def writer_elsewhere():
    with harness.Bus(settings=harness.SMALL) as bus:
        bus.start()
        bus.busctl("topic", "create", "t", "-p", "1")
        here = bus.worker("produce", "t", 1, 0, "worker.pause_us=500")
        command = [harness.BUILD / "tests/system/worker", "produce", bus.socket, "t", 2, 0]
        there = bus.spawn(
            ELSEWHERE + [*command, "worker.pause_us=500"], "produce", env=bus.environment()
        )
        here.told("ack", 20)
        there.told("ack", 20)
        assert maps_for_writing(here.pid), "the test sees nothing"
        pid = child_of(there)
        assert not maps_for_writing(pid)
        assert here.stop() == 0, here.tail()
        harness.os.kill(pid, harness.signal.SIGTERM)
        assert there.wait() == 0, there.tail()
        command = [harness.BUILD / "tests/system/worker", "consume", bus.socket, "t", 3, 20]
        reader = bus.spawn(ELSEWHERE + command, "consume", env=bus.environment())
        assert reader.wait() == 0 and reader.count("read") == 20, reader.tail()
        history.expect_good([here, there], bus.read_all("t"), least=40)
        assert bus.stop() == 0, bus.busd.tail()


reason = why_not()
if reason:
    tap.skip("a writer in another PID namespace", reason)
else:
    tap.run("a writer in another PID namespace", writer_elsewhere)
tap.done()
