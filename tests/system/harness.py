# SPDX-License-Identifier: Apache-2.0
"""Real busd, busctl and workers in a folder of their own, for system tests.

    with harness.Bus() as bus:
        bus.start()
        bus.busctl("topic", "create", "t", "-p", "2")
        producer = bus.worker("produce", "t", 1, 1000)
        ...

Nothing here sleeps to synchronise: start() waits for READY=1, Process.line() for a line.
"""

import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

BUILD = pathlib.Path(os.environ["top_builddir"])
SOURCE = pathlib.Path(os.environ["top_srcdir"])
SHIM = BUILD / "tests/lib/.libs/faultshim.so"
PATIENCE_S = 60.0


class Process:
    """A child with its output in files; ended with the bus at the latest."""

    def __init__(self, arguments, folder, name, env=None, stdin=None, preexec=None):
        self.name = name
        self.out_path = folder / f"{name}.out"
        self.err_path = folder / f"{name}.err"
        with open(self.out_path, "ab") as out, open(self.err_path, "ab") as err:
            self.popen = subprocess.Popen(
                [str(a) for a in arguments],
                stdout=out,
                stderr=err,
                stdin=stdin or subprocess.DEVNULL,
                env=env,
                preexec_fn=preexec,
            )
        self.pid = self.popen.pid

    def out(self):
        return self.out_path.read_text(errors="replace")

    def err(self):
        return self.err_path.read_text(errors="replace")

    def lines(self):
        """The complete lines so far (the last one may be cut by a kill)."""
        return self.out().split("\n")[:-1]

    def signal(self, number):
        self.popen.send_signal(number)

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()

    def wait(self, seconds=PATIENCE_S):
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.name} does not end; it wrote:\n{self.tail()}") from None

    def stop(self, seconds=PATIENCE_S):
        """SIGTERM, and its exit status."""
        if self.popen.poll() is None:
            self.popen.terminate()
        return self.wait(seconds)

    def tail(self):
        return self.out()[-2000:] + self.err()[-2000:]

    def until(self, predicate, what, seconds=PATIENCE_S):
        """Waits until predicate(process) is true; fails when the process ends before."""
        return until(
            lambda: predicate(self) or self._must_live(what), f"{self.name}: {what}", seconds, self.tail
        )

    def _must_live(self, what):
        if self.popen.poll() is not None:
            raise RuntimeError(f"{self.name} ended before {what}:\n{self.tail()}")
        return False

    def line(self, pattern, seconds=PATIENCE_S):
        """Waits for a line of output or error output that matches."""
        return self.until(
            lambda p: re.search(pattern, p.out() + p.err(), re.M), f"a line like {pattern}", seconds
        )


def until(predicate, what, seconds=PATIENCE_S, detail=lambda: ""):
    """Polls until the predicate is true and gives its value; TimeoutError when it never is."""
    deadline = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}\n{detail()}")
        time.sleep(0.005)


class Bus:
    def __init__(self, folder=None):
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="shmbus-system-"))
        self.data = self.folder / "data"
        self.socket = self.folder / "bus.sock"
        self.settings = {}
        self.busd = None
        self.processes = []
        self.count = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            if process.popen.poll() is None:
                process.signal(signal.SIGCONT)
            process.kill()
        self.forget_shared_memory()
        shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self, fault=None, shadow=None, when=None, extra=None):
        """The environment of a child; with faults it runs under the shim."""
        env = dict(os.environ)
        for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "NOTIFY_SOCKET"):
            env.pop(name, None)
        env["HOME"] = str(self.folder)
        if fault or shadow:
            env["LD_PRELOAD"] = str(SHIM)
            env.setdefault("ASAN_OPTIONS", "")
            env["ASAN_OPTIONS"] += ":verify_asan_link_order=0"
        if fault:
            env["SHMBUS_FAULT"] = fault
            env["SHMBUS_FAULT_LOG"] = str(self.folder / "faults")
        if when:
            env["SHMBUS_FAULT_WHEN"] = str(when)
        if shadow:
            env["SHMBUS_SHADOW"] = str(shadow)
        env.update(extra or {})
        return env

    def spawn(self, arguments, name, **options):
        self.count += 1
        process = Process(arguments, self.folder, f"{name}-{self.count}", **options)
        self.processes.append(process)
        return process

    def launch(self, *arguments, env=None, preexec=None):
        """Starts busd without waiting for it."""
        command = [BUILD / "busd/busd", "--data", self.data, "--socket", self.socket]
        for name, value in self.settings.items():
            command += ["--set", f"{name}={value}"]
        self.busd = self.spawn(
            command + list(arguments), "busd", env=env or self.environment(), preexec=preexec
        )
        return self.busd

    def start(self, *arguments, env=None, preexec=None):
        """Starts busd and returns when it says READY=1."""
        path = self.folder / "notify"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(path))
            env = dict(env or self.environment())
            env["NOTIFY_SOCKET"] = str(path)
            busd = self.launch(*arguments, env=env, preexec=preexec)
            deadline = time.monotonic() + PATIENCE_S
            while True:
                if select.select([notify], [], [], 0.02)[0] and b"READY=1" in notify.recv(4096):
                    return busd
                if busd.popen.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"busd is not ready:\n{busd.tail()}")

    def kill(self):
        """SIGKILL to busd, as a crash."""
        self.busd.kill()

    def stop(self):
        return self.busd.stop()

    def busctl(self, *arguments, check=True, stdin=None, env=None):
        """Runs busctl; the CompletedProcess has text output."""
        done = subprocess.run(
            [str(BUILD / "tools/busctl/busctl"), "--socket", str(self.socket)]
            + [str(a) for a in arguments],
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            errors="replace",
            env=env or self.environment(),
            timeout=PATIENCE_S * 2,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"busctl {arguments}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def worker(self, kind, topic, number, count, *settings, env=None, stdin=None, preexec=None):
        arguments = [BUILD / "tests/system/worker", kind, self.socket, topic, number, count]
        return self.spawn(
            arguments + list(settings), kind, env=env or self.environment(), stdin=stdin, preexec=preexec
        )

    def partition_folder(self, topic, partition=0):
        return self.data / "topics" / f"{topic}-{partition}"

    def objects(self):
        """The shared-memory objects of this bus: those that its processes map or busd knows."""
        instance = self._instance()
        if instance is None:
            return []
        return sorted(pathlib.Path("/dev/shm").glob(f"shmbus-{instance}*"))

    def forget_shared_memory(self):
        """As a reboot does."""
        for path in self.objects():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _instance(self):
        path = self.data / "instance"
        return path.read_text().strip() if path.exists() else None
