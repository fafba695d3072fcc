# SPDX-License-Identifier: Apache-2.0
"""Bad input and trouble: each tells what is wrong and what helps, has its exit code, and leaves
busd and the records alone. A full disk is in disk_full.py, damaged files are in damage.py."""

import os
import re
import socket
import struct

import harness
import tap

FAILURE, USAGE, CONFIGURATION = 1, 2, 78
NAME_MAX = 249
HELP = "--help"

bus = harness.Bus()


def fails(done, code, *words):
    """It ended with the code; the last line of its error text has all the words."""
    text = done.stderr.strip().split("\n")[-1]
    missing = [word for word in words if str(word) not in text]
    assert done.returncode == code and not missing, (code, missing, done)


def refused(arguments, code, *words, **options):
    done = bus.busctl(*arguments, check=False, **options)
    fails(done, code, *words)
    assert done.stdout == "", done


def topics():
    return {row["topic"]: row["partitions"] for row in bus.json("topic", "list")}


def values(topic):
    return [row["value"] for row in bus.json("consume", "-e", topic)]


def create(topic, *arguments):
    bus.busctl("topic", "create", topic, *arguments)
    return topic


def unharmed(function):
    """The case, and then: the same busd serves, and has what it had."""

    def case():
        busd, before = bus.busd.pid, values("kept")
        function()
        assert bus.busd.alive() and bus.busd.pid == busd, bus.busd.tail()
        bus.busctl("produce", "kept", stdin="another\n")
        assert values("kept") == before + ["another"], values("kept")

    return case


# ---- the socket ---------------------------------------------------------------------------------


def nobody_listens():
    for arguments in (["topic", "list"], ["produce", "t"], ["consume", "-e", "t"], ["status"]):
        refused(arguments, FAILURE, bus.socket, "no busd listens", "start it", "--socket")
    bus.socket.write_text("no socket")
    refused(["status"], FAILURE, bus.socket, "no busd listens", "start it", "--socket")
    bus.socket.unlink()
    long = bus.folder / ("s" * 108)
    fails(bus.run(bus.program("busctl"), "--socket", long, "status"), FAILURE, long, "107")
    fails(bus.run(bus.program("busctl"), "--socket", "", "status"), USAGE, "--socket", "empty", HELP)


def without_permission():
    """To the group of the socket, to its owner, or not even as far as its folder."""

    def attempt(*words):
        done = bus.run(
            bus.program("busctl"), "--socket", bus.socket, "topic", "list", preexec=harness.drop_root
        )
        fails(done, FAILURE, bus.socket, "no permission", *words)

    bus.program("busctl")
    for mode, words in ((0o060, ("group", "usermod")), (0o000, ("owner", "socket.mode"))):
        os.chmod(bus.socket, mode)
        try:
            attempt(*words)
        finally:
            os.chmod(bus.socket, 0o666)


class Raw:
    """A connection on which any bytes can be sent."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(harness.PATIENCE_S)
        self.socket.connect(str(bus.socket))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was cut off before the end of it

    def receive(self, size):
        data = b""
        while len(data) < size:
            try:
                more = self.socket.recv(size - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                break
            data += more
        return data

    def request(self, key, body, version=0):
        """Sends a request with the header of flexible versions; its answer, None when cut off."""
        header = struct.pack(">hhih", key, version, 7, 3) + b"raw\0"
        frame = header + body
        self.send(struct.pack(">i", len(frame)) + frame)
        size = self.receive(4)
        return self.receive(struct.unpack(">i", size)[0]) if len(size) == 4 else None


def attach(topic, layout):
    """An AttachPartition request; its error code and text."""
    name = topic.encode()
    body = bytes([len(name) + 1]) + name + struct.pack(">ibi", 0, 1, layout) + b"\0"
    with Raw() as raw:
        answer = raw.request(1000, body)
    # The answer: correlation id, no tags, error code, a text with its length + 1.
    correlation, tags, code = struct.unpack_from(">ibh", answer)
    assert (correlation, tags) == (7, 0), answer
    length = answer[7] & 0x7F
    text = answer[8 + (answer[7] >> 7) :]
    if answer[7] & 0x80:
        length += answer[8] << 7
    return code, text[: max(length - 1, 0)].decode()


def other_layout():
    code, text = attach("kept", 1)
    assert (code, text) == (0, ""), (code, text)
    for version in (99, 0, -1, 2**31 - 1):
        code, text = attach("kept", version)
        assert code != 0, version
        for word in (f"layout {version} ", "busd has 1", "same version"):
            assert word in text, (word, text)


def garbage():
    """Each connection with nonsense is cut; busd tells it and goes on with the others."""
    other = Raw()
    frames = {
        "no frame": b"GET / HTTP/1.1\r\nHost: bus\r\n\r\n",
        "a negative size": struct.pack(">i", -1),
        "the largest size": struct.pack(">i", 2**31 - 1),
        "more than is accepted": struct.pack(">i", 104857601),
        "nothing": struct.pack(">i", 0),
        "less than a header": struct.pack(">i", 3) + b"abc",
        "an unknown request": struct.pack(">ihhih", 11, 32000, 0, 1, 1) + b"x",
        "a body that is cut": struct.pack(">ihhih", 12, 1000, 0, 1, 1) + b"x\0",
        "a body of nonsense": struct.pack(">ihhih", 42, 1000, 0, 1, 1) + b"x\0" + b"\xff" * 30,
        "a version that is none": struct.pack(">ihhih", 11, 1000, 99, 1, 1) + b"x",
    }
    for what, frame in frames.items():
        with Raw() as raw:
            raw.send(frame)
            rest = raw.receive(1 << 20)
            assert len(rest) < 1000, (what, rest[:100])
    with other:
        name = b"kept"
        body = bytes([len(name) + 1]) + name + struct.pack(">ibi", 0, 1, 1) + b"\0"
        assert other.request(1000, body), "another connection was cut too"
    bus.busd.line(r"connection cut: a frame of \d+ bytes; at most 104857600 are accepted")


def half_a_frame():
    """Who promises a lot and sends little takes no memory, and nobody else's time."""
    promised = [Raw() for _ in range(50)]
    for raw in promised:
        raw.send(struct.pack(">i", 104857600) + b"x")
    create("meanwhile")
    for raw in promised:
        raw.socket.close()


# ---- topics -------------------------------------------------------------------------------------


def unknown_topic():
    before = topics()
    for arguments in (["produce", "nope"], ["consume", "-e", "nope"], ["topic", "describe", "nope"]):
        refused(arguments, FAILURE, "nope", "busctl topic create nope")
    refused(["topic", "alter", "nope", "-p", "3"], FAILURE, "nope", "create", "list of topics")
    refused(["topic", "delete", "nope"], FAILURE, "nope", "list of topics")
    refused(["config", "list", "--topic", "nope"], FAILURE, "nope", "create")
    done = bus.busctl("produce", "-X", "direct=never", "nope", stdin="lost?\n", check=False)
    fails(done, FAILURE, "nope", "create")
    assert topics() == before, "none was created by asking for it"


def topic_names():
    before = topics()
    for name, *words in (
        ["", "needs a name", "letters"],
        [".", '"."', "another name"],
        ["..", '".."', "another name"],
        ["a b", '"a b"', "allowed are letters"],
        ["a/b", '"a/b"', "allowed are letters"],
        ["../../etc", '"../../etc"', "allowed are letters"],
        ["a:b", '"a:b"', "allowed are letters"],
        ["grün", '"grün"', "allowed are letters"],
        ["a\nb", "allowed are letters"],
        ["n" * (NAME_MAX + 1), "nnn", "250", "at most 249"],
        ["n" * 5000, "nnn", "5000", "at most 249"],
        ["n" * (NAME_MAX - 1) + "!", "nnn", "allowed are letters"],
    ):
        refused(["topic", "create", "--", name], FAILURE, *words)
    assert topics() == before
    longest = create("n" * NAME_MAX)
    refused(["topic", "create", longest], FAILURE, longest, "exists already", "another name")
    bus.busctl("produce", longest, stdin="long\n")
    assert values(longest) == ["long"]
    create("every.kind_of-Character09")
    refused(["topic", "create", "every_kind.of-Character09"], FAILURE, "every.kind_of", "another name")
    bus.busctl("topic", "delete", longest)


def topic_exists():
    refused(["topic", "create", "kept"], FAILURE, "kept", "exists already", "another name")
    refused(["topic", "create", "kept", "-p", "9"], FAILURE, "kept", "exists already", "another name")
    assert topics()["kept"] == 1
    refused(["topic", "create", "beside1", "kept", "beside2"], FAILURE, "kept", "exists already")
    assert {"beside1", "beside2"} <= set(topics()), "the others are made"


def partitions():
    before = topics()
    for count in ("0", "-5", "10001", "99999999999", "9" * 30, "many", "1.5", "", "0x10"):
        refused(["topic", "create", "p", "-p", count], USAGE, f"-p {count}:", "1 to 10000", HELP)
        refused(["topic", "alter", "kept", "-p", count], USAGE, f"-p {count}:", "1 to 10000", HELP)
    refused(["topic", "alter", "kept", "-p", "1"], FAILURE, "kept", "1 was asked for", "only grow")
    assert topics() == before


def configuration():
    before = topics()
    for setting, words in (
        ("retention.mss=1", ("retention.mss", "did you mean retention.ms")),
        ("utter.nonsense=1", ("utter.nonsense", "config list")),
        ("segment.bytes=1", ("segment.bytes=1", "1048576 to 2147483647")),
        ("segment.bytes=" + "9" * 25, ("segment.bytes", "1048576 to 2147483647")),
        ("segment.bytes=big", ("segment.bytes=big", "1m")),
        ("retention.ms=-2", ("retention.ms=-2", "-1 to")),
        ("retention.ms=", ("retention.ms=", "-1 to")),
        ("cleanup.policy=burn", ("burn", "delete", "compact")),
        ("message.timestamp.type=Never", ("Never", "CreateTime")),
    ):
        refused(["topic", "create", "c", "-c", setting], FAILURE, "topic c", *words)
        refused(["topic", "alter", "kept", "-c", setting], FAILURE, "topic kept", *words)
    refused(["topic", "create", "c", "-c", "novalue"], USAGE, "novalue", "name=value", HELP)
    assert topics() == before
    assert bus.json("topic", "describe", "kept")[0]["settings"] == []
    refused(["produce", "-X", "lingerms=1", "kept"], USAGE, "lingerms", "did you mean 'linger.ms'")
    refused(["produce", "-X", "utter.nonsense=1", "kept"], USAGE, "utter.nonsense", "config list")
    refused(["produce", "-X", "batch.size=1", "kept"], USAGE, "batch.size", "128", HELP)
    refused(["produce", "--acks", "2", "kept"], USAGE, "acks", "0|1|all", HELP)
    refused(["produce", "--linger", "-1", "kept"], USAGE, "linger.ms", "0..900000", HELP)
    refused(["produce", "--compression", "rar", "kept"], USAGE, "compression.type", "zstd", HELP)
    refused(["consume", "-X", "isolation.level=none", "-e", "kept"], USAGE, "isolation.level", "read_durable")


def configuration_of_busd():
    for setting, *words in (
        ["flush.interval.m=50", "flush.interval.m", "did you mean flush.interval.ms"],
        ["nothing.like.it=50", "nothing.like.it", "config list"],
        ["flush.interval.ms=1", "flush.interval.ms=1", "10 to 3600000"],
        ["max.connections=0", "max.connections=0", "1 to 100000"],
        ["log.level=loud", "loud", "warning"],
    ):
        data = bus.folder / "never"
        command = [harness.BUILD / "busd/busd", "--data", data, "--socket", bus.folder / "never.sock"]
        fails(bus.run(*command, "--set", setting), CONFIGURATION, *words)
        assert not data.exists(), "busd made a data folder before it knew its settings"


# ---- records ------------------------------------------------------------------------------------


def large_record():
    create("small", "-c", "max.message.bytes=1000")
    large = "x" * 5000
    for extra in ([], ["-X", "direct=never"], ["--acks", "1"]):
        before = values("small")
        done = bus.busctl("produce", *extra, "small", stdin=f"first\n{large}\nthird\n", check=False)
        fails(done, FAILURE, "record 2", "small-0", "1000", "raise max.message.bytes")
        assert values("small") == before + ["first"], values("small")
    bus.busctl("topic", "alter", "small", "-c", "max.message.bytes=10000")
    bus.busctl("produce", "small", stdin=large + "\n")
    assert values("small")[-1] == large, "the remedy does not help"


def missing_key():
    create("keys")
    lines = "a:1\nno key\nb:2\nnone either\n"
    done = bus.busctl("produce", "-k", ":", "keys", stdin=lines)
    fails(done, 0, "2 records", "record 2", "':'", "--strict")
    told = bus.json("produce", "-k", ":", "keys", stdin=lines)
    assert told == [{"records": 4, "without_key": 2, "done": True}], told
    assert values("keys") == ["1", "no key", "2", "none either"] * 2
    done = bus.busctl("produce", "--strict", "-k", ":", "keys", stdin=lines, check=False)
    fails(done, FAILURE, "record 2", "':'", "--strict")
    assert values("keys")[8:] == ["1"], "what came before the mistake, nothing behind it"


def offsets():
    """busctl begins nowhere else than where it was told: auto.offset.reset is none."""
    create("offsets")
    bus.busctl("produce", "offsets", stdin="a\nb\n")
    for extra in ([], ["-X", "auto.offset.reset=none"]):
        refused(
            ["consume", "-e", "-o", "999999", *extra, "offsets"],
            *(FAILURE, "offsets-0", "0 to 2", "999999", "begin at"),
        )
    assert bus.json("consume", "-e", "-o", "2", "offsets") == [], "the end is within"
    refused(["consume", "-e", "-p", "7", "offsets"], FAILURE, "partition 7", "partition 0 only")
    done = bus.busctl("produce", "-p", "7", "offsets", stdin="x\n", check=False)
    fails(done, FAILURE, "offsets", "7")
    assert values("offsets") == ["a", "b"]


def tokens_and_times():
    for given in ("%q", "abc%", "%1"):
        refused(["consume", "-e", "-f", given, "kept"], USAGE, "-f", given[-2:].lstrip("c"), "%t %p %o", HELP)
    refused(["consume", "-e", "-f", r"\q", "kept"], USAGE, "-f", r"\q", HELP)
    for given in ("@yesterday", "@-1x", "@2026-13-01", "@", "@25:00", "@" + "9" * 30):
        refused(["consume", "-e", "-o", given, "kept"], USAGE, "-o", f"'{given[1:]}'", "write", HELP)
    for given in ("first", "1x", "", "9" * 30, "--3", "1.5"):
        refused(["consume", "-e", "-o", given, "kept"], USAGE, "-o", f"'{given}'", "write", HELP)


# ---- the data folder ----------------------------------------------------------------------------


def newer_format():
    """busd keeps its hands off, and the one that wrote it finds all there."""
    before = values("kept")
    assert bus.stop() == 0, bus.busd.tail()
    path = bus.data / "format"
    text = path.read_text()
    number = int(re.search(r"\d+", text).group())
    path.write_text(text.replace(str(number), str(number + 7), 1))
    listing = sorted(str(p) for p in bus.data.rglob("*"))
    fails(bus.run(*bus.command()), FAILURE, bus.data, number + 7, "newer busd")
    assert sorted(str(p) for p in bus.data.rglob("*")) == listing, "it made or removed something"
    path.write_text(text)
    bus.start()
    assert values("kept") == before


with bus:
    bus.settings.update(harness.SMALL)
    tap.run("no busd listens", nobody_listens)
    bus.start()
    create("kept")
    bus.busctl("produce", "kept", stdin="first\n")
    for name, function in (
        ("no permission for the socket", without_permission),
        ("a client of another layout", other_layout),
        ("garbage on the socket", garbage),
        ("promises on the socket", half_a_frame),
        ("an unknown topic", unknown_topic),
        ("names of topics", topic_names),
        ("a topic that exists", topic_exists),
        ("numbers of partitions", partitions),
        ("settings of topics and clients", configuration),
        ("settings of busd", configuration_of_busd),
        ("a record that is too large", large_record),
        ("a line without its key", missing_key),
        ("offsets and partitions that are not there", offsets),
        ("tokens, times and starts that are none", tokens_and_times),
    ):
        tap.run(name, unharmed(function))
    tap.run("data of a newer format", newer_format)
    tap.case("busd ends cleanly after all of it", bus.stop() == 0, bus.busd.tail())
tap.done()
