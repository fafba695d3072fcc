# SPDX-License-Identifier: Apache-2.0
"""busctl on a terminal: it tells how far it is, and asks before it deletes; elsewhere neither."""

import os
import pty
import select
import subprocess
import time

import harness
import tap

BUSCTL = harness.BUILD / "tools/busctl/busctl"

bus = harness.Bus(settings=harness.SMALL)


class Terminal:
    """busctl with a terminal as standard error, and as standard input unless that is given."""

    def __init__(self, *arguments, stdin=None, fault=None):
        self.end, other = pty.openpty()
        self.shown = b""
        self.popen = subprocess.Popen(
            [str(BUSCTL), "--socket", str(bus.socket), *map(str, arguments)],
            stdin=other if stdin is None else stdin,
            stdout=subprocess.DEVNULL,
            stderr=other,
            env=bus.environment(fault=fault),
        )
        os.close(other)

    def until(self, word):
        """Reads until the word was shown."""
        deadline = time.monotonic() + harness.PATIENCE_S
        while word not in self.shown:
            left = deadline - time.monotonic()
            assert left > 0 and self.read(left), (word, self.shown)

    def read(self, seconds):
        if not select.select([self.end], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.end, 65536)
        except OSError:  # the other end is closed
            return False
        self.shown += data
        return bool(data)

    def type(self, text):
        os.write(self.end, text)

    def wait(self):
        """The exit code, and all that was shown."""
        code = self.popen.wait(harness.PATIENCE_S)
        while self.read(0):
            pass
        os.close(self.end)
        return code, self.shown


def progress_of_produce():
    """Input that goes on and on: the line appears, is renewed, and is gone at the end."""
    bus.busctl("topic", "create", "long")
    source, sink = os.pipe()
    terminal = Terminal("produce", "long", stdin=source)
    os.close(source)
    # It comes with the first records after a second, however long that takes here.
    while b"sent " not in terminal.shown:
        os.write(sink, b"record\n")
        terminal.read(0.01)
    terminal.until(b"MiB/s")
    os.close(sink)
    code, shown = terminal.wait()
    assert code == 0 and b" records, " in shown and shown.endswith(b"\r\x1b[K"), shown
    count = len(bus.busctl("consume", "-e", "long").stdout.splitlines())
    assert count > 0 and "sent" not in bus.busctl("produce", "long", stdin="x\n").stderr


def progress_of_verify():
    """A slow disk: each window of the file takes its time."""
    bus.busctl("topic", "create", "large", "-c", "segment.bytes=4m")
    bus.busctl("produce", "large", stdin="a record of some length\n" * 120000)
    path = bus.partition_folder("large") / f"{0:020}.log"
    terminal = Terminal("log", "verify", path, fault="before:pread@.log:1+:delay:400")
    terminal.until(b"%")
    code, shown = terminal.wait()
    assert code == 0 and b"verified " in shown and shown.endswith(b"\r\x1b[K"), shown
    env = bus.environment(fault="before:pread@.log:1+:delay:400")
    done = bus.busctl("log", "verify", path, env=env)
    assert done.stderr == "" and "120000" in done.stdout, done


def question():
    """Deleting asks; anything but yes deletes nothing."""
    bus.busctl("topic", "create", "asked")

    def names():
        return [row["topic"] for row in bus.json("topic", "list")]

    for answer in (b"n\n", b"\n", b"no\n", b"\x04"):
        terminal = Terminal("topic", "delete", "asked")
        terminal.until(b"asked? [y/N]")
        terminal.type(answer)
        code, shown = terminal.wait()
        assert code == 1 and b"nothing was deleted" in shown and b"--yes" in shown, shown
        assert "asked" in names()
    terminal = Terminal("topic", "delete", "asked")
    terminal.until(b"asked? [y/N]")
    terminal.type(b"y\n")
    assert terminal.wait()[0] == 0 and "asked" not in names()
    bus.busctl("topic", "create", "asked")
    code, shown = Terminal("topic", "delete", "--yes", "asked").wait()
    assert (code, shown) == (0, b"") and "asked" not in names(), shown
    # Where nobody can answer, nobody is asked.
    bus.busctl("topic", "create", "asked")
    done = bus.busctl("topic", "delete", "asked")
    assert done.stderr == "" and "asked" not in names(), done


def reset_is_shown_first():
    """On a terminal nothing is moved before it was seen; elsewhere it is done at once."""
    bus.busctl("topic", "create", "moved")
    bus.busctl("produce", "moved", stdin="a\nb\nc\n")
    bus.busctl("group", "reset", "mover", "moved", "--to", "end")

    def committed():
        (one,) = bus.json("group", "describe", "mover")
        return one["partitions"][0]["committed"]

    assert committed() == 3
    code, shown = Terminal("group", "reset", "mover", "--to", "beginning").wait()
    assert code == 0 and b"nothing was changed: give --execute" in shown and committed() == 3, shown
    code, shown = Terminal("group", "reset", "mover", "--to", "beginning", "--dry-run").wait()
    assert (code, shown) == (0, b"") and committed() == 3, shown
    code, shown = Terminal("group", "reset", "mover", "--to", "beginning", "--execute").wait()
    assert (code, shown) == (0, b"") and committed() == 0, shown


def question_about_groups():
    """Deleting groups, and their offsets, asks as well."""
    bus.busctl("topic", "create", "read")
    bus.busctl("group", "reset", "reader", "read", "--to", "end")

    def groups():
        return [row["group"] for row in bus.json("group", "list")]

    for arguments, question in (
        (("group", "delete-offsets", "reader", "read"), b"group reader has committed for read-0? [y/N]"),
        (("group", "delete", "reader"), b"committed: reader? [y/N]"),
    ):
        terminal = Terminal(*arguments)
        terminal.until(question)
        terminal.type(b"n\n")
        code, shown = terminal.wait()
        assert code == 1 and b"nothing was deleted" in shown and b"--yes" in shown, shown
        assert "reader" in groups()
        terminal = Terminal(*arguments)
        terminal.until(question)
        terminal.type(b"y\n")
        assert terminal.wait()[0] == 0 and "reader" not in groups()
        bus.busctl("group", "reset", "reader", "read", "--to", "end")
        code, shown = Terminal(*arguments, "--yes").wait()
        assert (code, shown) == (0, b"") and "reader" not in groups(), shown
        bus.busctl("group", "reset", "reader", "read", "--to", "end")


with bus:
    bus.start()
    tap.run("progress of produce", progress_of_produce)
    tap.run("progress of log verify", progress_of_verify)
    tap.run("the question before deleting", question)
    tap.run("the question before deleting groups and offsets", question_about_groups)
    tap.run("a reset of a group is shown first", reset_is_shown_first)
    tap.case("busd ends cleanly after all of it", bus.stop() == 0, bus.busd.tail())
tap.done()
