# SPDX-License-Identifier: Apache-2.0
"""What the help, the manual and the README show, works when it is pasted.

The examples of busctl's help run in a bash, against a busd of the test's own: `busctl` is found in a
folder that comes first in PATH and adds --socket, and the data folder takes the place of the usual
one. The C programs are compiled and run as they stand."""

import os
import re
import shutil
import signal
import subprocess

import harness
import tap

BUSCTL = harness.BUILD / "tools/busctl/busctl"
COMMANDS = (
    "topic create",
    "topic list",
    "produce",
    "consume",
    "replay",
    "topic describe",
    "log dump",
    "log verify",
    "config list",
    "config explain",
    "status",
    "topic alter",
    "topic offsets",
    "group list",
    "group describe",
    "group reset",
    "group delete-offsets",
    "group delete",
    "topic delete",
)
QUIET = ("produce", "topic create", "topic alter", "topic delete", "group delete", "group delete-offsets")
LINES = "".join(f"line {i} of many\n" for i in range(1000))

bus = harness.Bus(settings=harness.SMALL)


def stand_ins():
    """The programs that examples call, as files of a folder for PATH."""
    folder = bus.folder / "path"
    folder.mkdir()
    programs = {"busctl": f'exec "{BUSCTL}" --socket "{bus.socket}" "$@"', "journalctl": "seq 20"}
    for name, line in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    return bus.environment(extra={"PATH": f"{folder}:{os.environ['PATH']}"})


def examples(command):
    text = bus.busctl(*command.split(), "--help").stdout.split("Examples:\n")[1]
    lines = [line.strip() for line in text.splitlines()]
    assert lines and all(f"busctl {command}" in line or "--socket" in line for line in lines), lines
    return lines


def here(line):
    """The example with the places of this test."""
    line = line.replace("/var/lib/shmbus", str(bus.data)).replace("/run/shmbus/bus.sock", str(bus.socket))
    status = "/var/lib/dpkg/status"
    return line if os.path.exists(status) else line.replace(status, "/etc/passwd")


def follow(line, env):
    """An example that waits for what comes: it sees it, and ends by SIGINT."""
    follower = bus.spawn(["bash", "-c", f"exec {line}"], "follower", env=env)

    def told():
        bus.busctl("produce", "-k", ":", "users", stdin="someone:new\n")
        return follower.lines()

    assert "someone: new" in harness.until(told, "the follower to see something")[0]
    follower.signal(signal.SIGINT)
    assert follower.wait() == 0, follower.tail()


def follow_group(line, env):
    """An example that reads as a member of a group; what it has read is committed at its end."""
    member = bus.spawn(["bash", "-c", f"exec {line}"], "member", env=env)
    member.line("^line 0 of many$")
    member.signal(signal.SIGINT)
    assert member.wait() == 0, member.tail()
    assert "billing" in bus.busctl("group", "list").stdout


def run_examples(command, env):
    for line in map(here, examples(command)):
        if "| jq " in line and not shutil.which("jq"):
            continue
        if "consume -o end" in line:
            follow(line, env)
            continue
        if "consume -G" in line:
            follow_group(line, env)
            continue
        done = bus.run("bash", "-c", f"set -o pipefail; {line}", env=env)
        # What a reset could not do exactly it tells; whether there are records of two o'clock, the
        # time of the day decides.
        told = command == "group reset" or ("--from 14:00" in line and "nothing to replay" in done.stderr)
        assert done.returncode == 0 and (told or not done.stderr), (line, done)
        quiet = command in QUIET or "@-1h:@-30m" in line
        assert bool(done.stdout) != quiet, (line, done)


def topics_of_examples():
    """What the examples take for granted."""
    bus.busctl("topic", "create", "greetings", "users", "packages", "logs", "payments")
    bus.busctl("topic", "create", "old-orders", "older-orders")
    for group in ("reports", "old-billing"):
        bus.busctl("group", "reset", group, "users", "--to", "end")
    bus.busctl("group", "reset", "billing", "old-orders", "--to", "end")


def fill_orders():
    """Enough that there is an index of the first segment."""
    for start in range(0, len(LINES), 5000):
        bus.busctl("produce", "-p", "0", "orders", stdin=LINES[start : start + 5000])
    index = bus.partition_folder("orders") / f"{0:020}.timeindex"
    harness.until(lambda: index.exists() and index.stat().st_size > 0, "an index of the topic orders")


def c_program(text, name, printed):
    source = bus.folder / f"{name}.c"
    source.write_text(text)
    command = os.environ.get("CC", "cc").split() + ["-Wall", "-Wextra", "-Werror", f"-I{harness.SOURCE / 'libbus'}"]
    command += os.environ.get("MODE_CFLAGS", "").split()  # the library wants them of its users too
    command += [str(source), "-o", str(bus.folder / name), f"-L{harness.BUILD / '.libs'}", "-lbus"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # A user who is not root finds the socket where XDG says; root would look in /run first.
    runtime = bus.folder / "run"
    (runtime / "shmbus").mkdir(parents=True)
    (runtime / "shmbus/bus.sock").symlink_to(bus.socket)
    extra = {"XDG_RUNTIME_DIR": str(runtime), "LD_LIBRARY_PATH": str(harness.BUILD / ".libs")}
    os.chmod(bus.folder, 0o755)
    done = bus.run(bus.folder / name, env=bus.environment(extra=extra), preexec=harness.drop_root)
    shutil.rmtree(runtime)
    assert done.returncode == 0 and done.stdout == printed and not done.stderr, done


def readme():
    text = (harness.SOURCE / "README.md").read_text()
    bus.busctl("topic", "delete", "users")
    bus.busctl("topic", "create", "users")
    c_program(re.search(r"```c\n(.*?)```", text, re.S)[1], "readme", "0 hello\n")


def manual():
    text = (harness.SOURCE / "man/libbus.3.in").read_text()
    text = re.search(r"\.Sh EXAMPLES.*?\.Bd[^\n]*\n(.*?)\.Ed", text, re.S)[1]
    bus.busctl("topic", "delete", "greetings")
    bus.busctl("topic", "create", "greetings")
    text = re.sub(r"^\\&", "", text, flags=re.M).replace("\\e", "\\")
    c_program(text, "manual", "hello\n")


def demonstration():
    """What ./quickstart runs when all is built, on a file of its own."""
    path = bus.folder / "stanzas"
    path.write_text("".join(f"Package: p{i}\nVersion: {i}\n\n" for i in range(100)))
    done = bus.run(harness.BUILD / "tools/demo/demo", harness.BUILD / "busd/busd", path)
    assert done.returncode == 0 and not done.stderr, done
    assert done.stdout.endswith("What came out is what went in.\n"), done
    for word in ("100 stanzas", "SIGKILL", "meanwhile", "by time", "records/s", "p99.9"):
        assert word in done.stdout, (word, done)


with bus:
    bus.start()
    paths = stand_ins()
    topics_of_examples()
    for each in COMMANDS:
        tap.run(f"busctl {each}", run_examples, each, paths)
        if each == "produce":
            fill_orders()
    tap.run("the C program of the README", readme)
    tap.run("the C program of libbus(3)", manual)
    tap.run("the demonstration", demonstration)
    tap.case("busd ends cleanly after all of it", bus.stop() == 0, bus.busd.tail())
tap.done()
