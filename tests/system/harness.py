# SPDX-License-Identifier: Apache-2.0
"""Real busd, busctl and workers in a folder of their own, for system tests.

    with harness.Bus() as bus:
        bus.start()
        bus.busctl("topic", "create", "t", "-p", "2")
        producer = bus.worker("produce", "t", 1, 1000)
        ...

Nothing here sleeps to synchronise: start() waits for READY=1, Process.line() for a line,
Process.told() for so many lines of a kind.
"""

import collections
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(os.environ["top_srcdir"])
BUILD = pathlib.Path(os.environ["top_builddir"])
sys.path.insert(0, str(SOURCE / "tests/lib"))
import waiting  # noqa: E402 (the folder has to be known first)

SHIM = BUILD / "tests/lib/.libs/faultshim.so"
PATIENCE_S = 60.0
NOBODY = 65534

# How the report of a sanitizer begins, in the error output of a program that was built with one.
REPORT = re.compile(
    r"ERROR: (?:Address|Leak)Sanitizer|WARNING: ThreadSanitizer|: runtime error: |Sanitizer CHECK failed"
)

# Segments as small as they may be, so that a test sees rolls and does not fill the disk.
SMALL = {"log.segment.bytes": 1 << 20, "log.segment.preallocate.bytes": 1 << 20}


def until(predicate, what, seconds=PATIENCE_S, detail=lambda: ""):
    """Waits until the predicate is true and gives its value; TimeoutError when it never is."""
    try:
        return waiting.wait_until(predicate, seconds, what)
    except TimeoutError as error:
        raise TimeoutError(f"{error}\n{detail()}") from None


def drop_root():
    """preexec_fn of a child that shall be an ordinary user; nothing when we are one already."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def ordinary_uid():
    """The user that a child is after drop_root()."""
    return NOBODY if os.geteuid() == 0 else os.geteuid()


def sanitizer_reports(text):
    """What sanitizers told in the error output: no test may pass over it."""
    return [text[found.start() : found.start() + 6000] for found in REPORT.finditer(text)][:1]


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
        self._read_to = 0  # bytes of the output that _words has counted
        self._words = collections.Counter()

    def out(self):
        return self.out_path.read_text(errors="replace")

    def err(self):
        return self.err_path.read_text(errors="replace")

    def lines(self):
        """The complete lines so far (the last one may be cut by a kill)."""
        return self.out().split("\n")[:-1]

    def count(self, word):
        """How many complete lines begin with the word; reads only what is new."""
        with open(self.out_path, "rb") as out:
            out.seek(self._read_to)
            fresh = out.read()
        end = fresh.rfind(b"\n") + 1
        self._read_to += end
        for line in fresh[:end].splitlines():
            self._words[line.split(b" ", 1)[0].decode(errors="replace")] += 1
        return self._words[word]

    def alive(self):
        return self.popen.poll() is None

    def signal(self, number):
        self.popen.send_signal(number)

    def kill(self):
        if self.alive():
            self.popen.kill()
        self.popen.wait()

    def wait(self, seconds=PATIENCE_S):
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.name} does not end; it wrote:\n{self.tail()}") from None

    def stop(self, seconds=PATIENCE_S):
        """SIGTERM, and its exit status."""
        if self.alive():
            self.popen.terminate()
        return self.wait(seconds)

    def tail(self):
        return self.out()[-2000:] + self.err()[-4000:]

    def until(self, predicate, what, seconds=PATIENCE_S):
        """Waits until predicate(process) is true; fails when the process ends before."""
        return until(
            lambda: predicate(self) or self._must_live(what), f"{self.name}: {what}", seconds, self.tail
        )

    def _must_live(self, what):
        if not self.alive():
            raise RuntimeError(f"{self.name} ended ({self.popen.returncode}) before {what}:\n{self.tail()}")
        return False

    def line(self, pattern, seconds=PATIENCE_S):
        """Waits for a line of output or error output that matches."""
        return self.until(
            lambda p: re.search(pattern, p.out() + p.err(), re.M), f"a line like {pattern}", seconds
        )

    def told(self, word, more, seconds=PATIENCE_S):
        """Waits for `more` further lines that begin with the word."""
        wanted = self.count(word) + more
        self.until(lambda p: p.count(word) >= wanted, f"{more} more lines '{word}'", seconds)

    def stopped(self):
        """Waits until the kernel says that the process is stopped."""
        state = pathlib.Path(f"/proc/{self.pid}/stat")
        self.until(lambda p: state.read_text().rsplit(")", 1)[1].split()[0] == "T", "being stopped")


class Notify:
    """The socket of a service manager."""

    def __init__(self, path):
        self.path = path
        path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        os.chmod(path, 0o777)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.path.unlink(missing_ok=True)

    def wait(self, word, process, seconds=PATIENCE_S):
        """Waits for a message with the word; fails when the process ends without it."""
        deadline = time.monotonic() + seconds
        while True:
            ended = not process.alive()
            while select.select([self.socket], [], [], 0 if ended else 0.02)[0]:
                message = self.socket.recv(4096).decode()
                if word in message:
                    return message
            if ended or time.monotonic() > deadline:
                raise RuntimeError(f"no {word} from {process.name}:\n{process.tail()}")


class Bus:
    def __init__(self, folder=None, **settings):
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="shmbus-system-"))
        self.data = self.folder / "data"
        self.socket = self.folder / "bus.sock"
        self.settings = dict(settings.pop("settings", {}))
        self.busd = None
        self.processes = []
        self.names = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            if process.alive():
                process.signal(signal.SIGCONT)
            process.kill()
        reports = [report for process in self.processes for report in sanitizer_reports(process.err())]
        self.forget_shared_memory()
        shutil.rmtree(self.folder, ignore_errors=True)
        if reports:
            raise AssertionError("\n".join(reports))

    def environment(self, fault=None, shadow=None, when=None, extra=None):
        """The environment of a child; with faults it runs under the shim."""
        env = dict(os.environ)
        for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "NOTIFY_SOCKET"):
            env.pop(name, None)
        env["HOME"] = str(self.folder)
        if fault or shadow:
            env["LD_PRELOAD"] = str(SHIM)
            env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        if fault:
            env["SHMBUS_FAULT"] = fault
            env["SHMBUS_FAULT_LOG"] = str(self.folder / "faults")
        if when:
            env["SHMBUS_FAULT_WHEN"] = str(when)
        if shadow:
            env["SHMBUS_SHADOW"] = str(shadow)
        env.update(extra or {})
        return env

    def program(self, name):
        """A copy of busd or busctl that an ordinary user may run, wherever the build folder is."""
        copy = self.folder / "bin" / name
        if not copy.exists():
            copy.parent.mkdir(exist_ok=True)
            built = {"busd": "busd/busd", "busctl": "tools/busctl/busctl"}[name]
            shutil.copy(BUILD / built, copy)
            copy.chmod(0o755)
            os.chmod(copy.parent, 0o755)
            os.chmod(self.folder, 0o755)
        return copy

    def spawn(self, arguments, name, **options):
        self.names += 1
        process = Process(arguments, self.folder, f"{name}-{self.names}", **options)
        self.processes.append(process)
        return process

    def command(self, *arguments):
        """The command line of busd."""
        command = [BUILD / "busd/busd", "--data", self.data, "--socket", self.socket]
        for name, value in {"listeners": "", **self.settings}.items():
            command += ["--set", f"{name}={value}"]
        return command + list(arguments)

    def launch(self, *arguments, env=None, preexec=None):
        """Starts busd without waiting for it."""
        self.busd = self.spawn(
            self.command(*arguments), "busd", env=env or self.environment(), preexec=preexec
        )
        return self.busd

    def start(self, *arguments, env=None, preexec=None):
        """Starts busd and returns when it says READY=1."""
        with Notify(self.folder / "notify") as notify:
            env = dict(env or self.environment())
            env["NOTIFY_SOCKET"] = str(notify.path)
            busd = self.launch(*arguments, env=env, preexec=preexec)
            notify.wait("READY=1", busd)
        return busd

    def kill(self):
        """SIGKILL to busd, as a crash."""
        self.busd.kill()

    def stop(self):
        return self.busd.stop()

    def run(self, *arguments, seconds=PATIENCE_S * 2, env=None, stdin=None, preexec=None):
        """Runs busd to its end, as for an error; the CompletedProcess has text output."""
        done = subprocess.run(
            [str(a) for a in arguments],
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            errors="replace",
            env=env or self.environment(),
            timeout=seconds,
            preexec_fn=preexec,
        )
        for report in sanitizer_reports(done.stderr):
            raise AssertionError(report)
        return done

    def busctl(self, *arguments, check=True, stdin=None, env=None, preexec=None):
        """Runs busctl; the CompletedProcess has text output."""
        program = BUILD / "tools/busctl/busctl"
        done = self.run(
            program, "--socket", self.socket, *arguments, stdin=stdin, env=env, preexec=preexec
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"busctl {arguments}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def json(self, *arguments, **options):
        """What busctl prints with --json: one object a line."""
        return [json.loads(line) for line in self.busctl("--json", *arguments, **options).stdout.splitlines()]

    def worker(self, kind, topic, number, count, *settings, env=None, stdin=None, preexec=None):
        arguments = [BUILD / "tests/system/worker", kind, self.socket, topic, number, count]
        return self.spawn(
            arguments + list(settings), kind, env=env or self.environment(), stdin=stdin, preexec=preexec
        )

    def reader(self, topic, name=0, count=0, *settings, give_up_ms=1500):
        """A worker that reads everything from the beginning and ends when nothing comes."""
        return self.worker("consume", topic, name, count, f"worker.give_up_ms={give_up_ms}", *settings)

    def read_all(self, topic, *settings):
        """The history lines of a late consumer that read all there is."""
        end = sum(p["end_offset"] - p["start_offset"] for p in self.partitions(topic))
        worker = self.worker("consume", topic, 0, end, *settings) if end else None
        if worker and worker.wait() != 0:
            raise RuntimeError(f"the consumer failed:\n{worker.tail()}")
        return worker.lines() if worker else []

    def kafka(self):
        """Where Kafka clients are served: host and port of each listener. With the setting
        listeners=127.0.0.1:0 there is one, at a port that nobody else has."""
        text = self.json("status")[0]["listeners"]
        pairs = [word.rsplit(":", 1) for word in text.split(",") if word]
        return [(host.strip("[]"), int(port)) for host, port in pairs]

    def partitions(self, topic):
        """What describe tells of each partition."""
        return self.json("topic", "describe", topic)[0]["partitions"]

    def partition_folder(self, topic, partition=0):
        return self.data / "topics" / f"{topic}-{partition}"

    def objects(self):
        """The shared-memory objects of this bus: those that its processes map or busd knows."""
        instance = self._instance()
        if instance is None:
            return []
        return sorted(pathlib.Path("/dev/shm").glob(f"shmbus-{instance}*"))

    def generations(self):
        """The control pages of this bus, by name: a new generation has a new one."""
        return [path.name for path in self.objects() if path.suffix == ".ctl"]

    def forget_shared_memory(self):
        """As a reboot does."""
        for path in self.objects():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _instance(self):
        """The random number of the data folder that is in the names of its objects."""
        path = self.data / "format"
        found = re.search(r"^instance ([0-9a-f]{32})$", path.read_text(), re.M) if path.exists() else None
        return found.group(1) if found else None
