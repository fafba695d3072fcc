# SPDX-License-Identifier: Apache-2.0
"""busctl top: frames in a row, and the screen, which is read as a terminal shows it."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import harness
import tap

BUSCTL = harness.BUILD / "tools/busctl/busctl"
SEQUENCE = re.compile(rb"\x1b\[(\?)?([0-9;]*)([A-Za-z])|\x1b[()].|\x1b[=>78]|\x1bM")

bus = harness.Bus(settings=harness.SMALL)


class Screen:
    """What a vt100 shows, as far as curses uses one."""

    def __init__(self, width, height):
        self.resize(width, height)
        self.rest = b""

    def resize(self, width, height):
        self.width, self.height = width, height
        self.rows = [[" "] * width for _ in range(height)]
        self.row = self.column = 0
        self.top, self.bottom = 0, height - 1

    def text(self):
        return "\n".join("".join(row).rstrip() for row in self.rows)

    def feed(self, data):
        data = self.rest + data
        self.rest = b""
        at = 0
        while at < len(data):
            found = SEQUENCE.match(data, at)
            if found:
                self.obey(found)
                at = found.end()
            elif data[at] == 0x1B and len(data) - at < 16:
                self.rest = data[at:]
                return
            else:
                self.put(data[at])
                at += 1

    def put(self, byte):
        if byte == 0x0D:
            self.column = 0
        elif byte == 0x0A and self.row == self.bottom:
            self.scroll(self.top, self.bottom)
        elif byte == 0x0A:
            self.row = min(self.row + 1, self.height - 1)
        elif byte == 0x08:
            self.column = max(self.column - 1, 0)
        elif byte >= 0x20:
            if self.column < self.width:
                self.rows[self.row][self.column] = chr(byte)
            self.column += 1

    def obey(self, found):
        numbers = [int(n or 0) for n in (found.group(2) or b"").split(b";")]
        first = max(numbers[0], 1)
        action = found.group(3)
        if found.group(0) == b"\x1bM" and self.row == self.top:
            self.scroll(self.bottom, self.top)
        elif found.group(0) == b"\x1bM":
            self.row = max(self.row - 1, 0)
        elif action == b"r":
            last = numbers[1] if len(numbers) > 1 else self.height
            self.top, self.bottom = first - 1, min(last, self.height) - 1
            self.row = self.column = 0
        elif action == b"H":
            row, column = (numbers + [1])[:2]
            self.row = min(max(row, 1), self.height) - 1
            self.column = min(max(column, 1), self.width) - 1
        elif action in (b"J", b"K"):
            self.erase(numbers[0], action == b"J")
        elif action == b"A":
            self.row = max(self.row - first, 0)
        elif action == b"B":
            self.row = min(self.row + first, self.height - 1)
        elif action == b"C":
            self.column = min(self.column + first, self.width - 1)
        elif action == b"D":
            self.column = max(self.column - first, 0)

    def scroll(self, gone, new):
        """Takes a row out of the scrolling region, and puts an empty one in."""
        del self.rows[gone]
        self.rows.insert(new, [" "] * self.width)

    def erase(self, how, below):
        """From the cursor (0), up to it (1) or all of it (2): the row, or the rows below too."""
        row = self.rows[self.row]
        begin, end = (self.column if how == 0 else 0), (self.column + 1 if how == 1 else self.width)
        row[begin:end] = " " * (end - begin)
        for other in range(self.height if below else 0):
            if how == 2 or (how == 0 and other > self.row):
                self.rows[other] = [" "] * self.width


class Top:
    """busctl top on a terminal of its own."""

    def __init__(self, *arguments, width=100, height=24, term="vt100"):
        self.end, other = pty.openpty()
        self.screen = Screen(width, height)
        self.shown = b""
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.before = termios.tcgetattr(other)
        env = bus.environment(extra={"TERM": term})
        for name in ("LINES", "COLUMNS"):
            env.pop(name, None)
        self.popen = subprocess.Popen(
            [str(BUSCTL), "--socket", str(bus.socket), "top", *map(str, arguments)],
            stdin=other, stdout=other, stderr=other, env=env, start_new_session=True,
        )
        self.other = other

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        os.close(self.end)
        os.close(self.other)

    def read(self, seconds):
        if select.select([self.end], [], [], seconds)[0]:
            data = os.read(self.end, 65536)
            self.shown += data
            self.screen.feed(data)

    def until(self, *patterns):
        """Waits until the screen shows all of it; gives the screen."""
        deadline = time.monotonic() + harness.PATIENCE_S
        while not all(re.search(pattern, self.screen.text(), re.M) for pattern in patterns):
            assert time.monotonic() < deadline, (patterns, self.screen.text())
            assert self.popen.poll() is None, self.shown
            self.read(0.2)
        return self.screen.text()

    def type(self, text):
        os.write(self.end, text)

    def resize(self, width, height):
        self.screen.resize(width, height)
        fcntl.ioctl(self.other, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.popen.send_signal(signal.SIGWINCH)

    def wait(self):
        """The exit code, when the terminal was given back as it was."""
        deadline = time.monotonic() + harness.PATIENCE_S
        while self.popen.poll() is None:
            assert time.monotonic() < deadline, self.screen.text()
            self.read(0.1)
        self.read(0)
        assert termios.tcgetattr(self.other) == self.before
        return self.popen.returncode


def frames(*arguments):
    return bus.json("top", "-b", *arguments)


def row(frame, topic):
    return [row for row in frame["topics"] if row["topic"] == topic][0]


def filled():
    """Two topics, and a group that is 30 records behind in one of them."""
    bus.busctl("topic", "create", "logs", "-p", "3")
    bus.busctl("topic", "create", "orders")
    bus.busctl("produce", "-p", "0", "orders", stdin="a record of some length\n" * 100)
    bus.busctl("group", "reset", "billing", "orders", "--to", "offset 70", "--execute")


def batch():
    """The figures of a frame, as JSON and as text."""
    frame = frames("-n", "1", "-d", "0.2")[0]
    orders = row(frame, "orders")
    assert orders["partitions"] == 1 and orders["records"] == 100, orders
    assert row(frame, "logs")["records"] == 0 and row(frame, "logs")["partitions"] == 3, frame
    size = sum(path.stat().st_size for path in bus.partition_folder("orders").glob("0*.log"))
    assert 100 * len("a record of some length") < orders["bytes"] <= size, (orders, size)
    assert orders["records_per_s"] == 0 and orders["bytes_per_s"] == 0, orders
    assert frame["away"] is False and frame["connections"] >= 1, frame
    assert 100_000 < frame["memory_bytes"] < 1 << 30 and frame["disk_bytes_free"] > 0, frame
    assert frame["lag"] == 30 and frame["bytes"] >= orders["bytes"], frame
    group = frame["groups"][0]
    expected = {"group": "billing", "state": "Empty", "members": 0, "partitions": 1, "lag": 30}
    assert group.items() >= expected.items(), group
    text = bus.busctl("top", "-b", "-n", "2", "-d", "0.1").stdout
    assert text.count("TOPIC ") == 2 and text.count("GROUP ") == 2, text
    assert re.search(r"^billing +Empty +0 +1 +30 ", text, re.M), text
    assert [t["topic"] for t in frames("-n", "1", "-d", "0.1", "-s", "size")[0]["topics"]][0] != "logs"


def rates():
    """Somebody writes all the time: what the frames say in sum is what came."""
    worker = bus.worker("produce", "logs", 1, 0, "worker.pause_us=1000", "worker.partition=1")
    worker.told("ack", 10)
    command = [BUSCTL, "--socket", bus.socket, "--json", "top", "-b", "-d", "0.3"]
    top = bus.spawn(command, "top", env=bus.environment())
    top.until(lambda p: len(p.lines()) >= 6, "six frames")
    top.signal(signal.SIGINT)
    assert top.wait() == 0, top.tail()
    assert worker.stop() == 0, worker.tail()
    told = [json.loads(line) for line in top.lines()]
    rows = [row(frame, "logs") for frame in told]
    assert all(r["records_per_s"] > 0 and r["bytes_per_s"] > 0 for r in rows), rows
    assert all(f["records_per_s"] >= r["records_per_s"] for f, r in zip(told, rows)), told
    # Rate times time is what came, up to the millisecond that the time of a frame is told in.
    for one, next_one, r in zip(told, told[1:], rows[1:]):
        seconds = (next_one["time"] - one["time"]) / 1000
        came = r["records"] - row(one, "logs")["records"]
        assert abs(r["records_per_s"] * seconds - came) <= 0.002 * r["records_per_s"] + 1, (r, one)


def refusals():
    def fails(code, words, *arguments, **options):
        done = bus.busctl("top", *arguments, check=False, **options)
        assert done.returncode == code and all(w in done.stderr for w in words), done

    fails(2, ["no terminal", "-b"])
    fails(2, ["add -b"], "--json")
    fails(2, ["add -b"], "-n", "3")
    fails(2, ["--delay 0", "0.1 to 3600"], "-d", "0")
    fails(2, ["--delay nan"], "-b", "-d", "nan")
    fails(2, ["--count 0"], "-b", "-n", "0")
    fails(2, ["--sort size!", "partitions"], "-b", "-s", "size!")
    fails(2, ["one argument too many"], "-b", "orders")
    types = (("no-such-type", b"'no-such-type'"), ("dumb", b"move its cursor"), ("", b"TERM is not set"))
    for term, words in types:
        with Top(term=term) as top:
            assert top.wait() == 1
            assert words in top.shown and b"-b" in top.shown and b"\x1b[" not in top.shown, top.shown


def reader_goes_away():
    done = subprocess.run(
        f"'{BUSCTL}' --socket '{bus.socket}' top -b -d 0.1 | head -n 1", shell=True, check=True,
        capture_output=True, text=True, timeout=harness.PATIENCE_S, env=bus.environment(),
    )
    assert done.stdout.startswith("time:") and done.stderr == "", done


def screen():
    """The figures on the screen, the keys, the end."""
    with Top("-d", "0.2") as top:
        top.until(r"busd \d+\.\d+\.\d+, up ", r"^TOPIC .* RECORDS/S +BYTES/S", r"^orders +1 +100 ")
        text = top.until(r"^billing +Empty +0 +1 +30 +0", r"^logs +3 .* 0 +0 B$", "^q quit")
        assert text.index("\nlogs") < text.index("\norders"), text
        assert re.search(r"topics 3, partitions \d+ .*groups 1, connections \d+, memory [\d.]+ [KM]iB", text)
        bus.busctl("produce", "-p", "0", "orders", stdin="x\n" * 50)
        top.until(r"^orders +1 +150 ", r"^billing +Empty +0 +1 +80 ", "lag 80")
        top.type(b"p")
        top.until(r"(?s)\nlogs .*\norders ")
        top.type(b"p")
        top.until(r"(?s)\norders .*\nlogs ")
        top.type(b"g")
        text = top.until(r"\A(?!(.|\n)*billing)(.|\n)*orders")
        top.type(b"g")
        top.until(r"\A(?!(.|\n)*orders)(.|\n)*billing")
        top.type(b"q")
        assert top.wait() == 0


def windows():
    """It fits itself into any window, the smallest included, and scrolls."""
    bus.busctl("topic", "create", *[f"many-{i:02}" for i in range(40)])
    with Top("-d", "0.2", width=60, height=12) as top:
        top.until(r"^TOPIC .* RECORDS/S +BYTES/S$", r"^logs ", r"\.\.\. \d+ more topics")
        for _ in range(3):
            top.type(b"\x1b[B" if b"\x1b[?1h" not in top.shown else b"\x1bOB")
        top.until(r"\A(?!(.|\n)*\nlogs)(.|\n)*BYTES/S\nmany-01 ")
        top.resize(110, 70)
        top.until(r"^TOPIC +PARTITIONS ", r"^many-39 ", r"^billing ", "^q quit .* arrows$")
        for width, height in ((20, 3), (1, 1), (2, 5)):
            top.resize(width, height)
            top.until(r"\A" + time.strftime("%H:")[:width] if width > 1 else r"\A\d")
            assert top.popen.poll() is None
        top.resize(80, 24)
        top.until(r"^many-0", "^q quit")
        top.popen.send_signal(signal.SIGTERM)
        assert top.wait() == 0


def away_and_back():
    """busd is killed, comes back, is stopped, goes on: it is told, and the figures stay."""
    with Top("-d", "0.2", "-s", "size") as top:
        top.until(r"busd \d+\.\d+", r"^orders +1 +150 ")
        bus.kill()
        top.until(r"\Abusd is away since \d\d:\d\d:\d\d: ", r"^orders +1 +150 .* - +-$")
        bus.start()
        top.until(r"\A\d\d:\d\d:\d\d  busd \d+", r"^orders +1 +150 .* 0 +0 B$")
        bus.busd.signal(signal.SIGSTOP)
        top.until(r"\Abusd is away since .*did not answer")
        bus.busd.signal(signal.SIGCONT)
        top.until(r"\A\d\d:\d\d:\d\d  busd \d+")
        top.type(b"q")
        assert top.wait() == 0


def away_in_batches():
    command = [BUSCTL, "--socket", bus.socket, "--json", "top", "-b", "-d", "0.2"]
    top = bus.spawn(command, "top", env=bus.environment())
    top.line('"away":false')
    bus.kill()
    top.line('"away":true,"reason":"')
    bus.start()
    have = len(top.lines())
    top.until(lambda p: '"away":false' in "".join(p.lines()[have:]), "figures again")
    top.signal(signal.SIGTERM)
    assert top.wait() == 0, top.tail()
    bus.kill()
    done = bus.busctl("top", "-b", "-n", "1", check=False)
    assert done.returncode == 1 and str(bus.socket) in done.stderr, done
    bus.start()


def terminal_goes_away():
    """The window is closed: nobody is left behind."""
    top = Top("-d", "0.2")
    top.until("^q quit")
    os.close(top.other)
    os.close(top.end)
    top.popen.wait(harness.PATIENCE_S)


with bus:
    bus.start()
    tap.run("there is something to show", filled)
    tap.run("frames in a row", batch)
    tap.run("rates are what came in the time that it took", rates)
    tap.run("what cannot be is refused", refusals)
    tap.run("a reader that has seen enough", reader_goes_away)
    tap.run("the screen and its keys", screen)
    tap.run("windows of any size", windows)
    tap.run("busd goes away and comes back", away_and_back)
    tap.run("busd goes away and comes back between frames", away_in_batches)
    tap.run("the terminal goes away", terminal_goes_away)
    tap.case("busd ends cleanly after all of it", bus.stop() == 0, bus.busd.tail())
tap.done()
