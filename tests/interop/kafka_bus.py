# SPDX-License-Identifier: Apache-2.0
"""What tests with clients of others share: a bus with a Kafka door, records that are told apart, and
whether what came out by one door is what went in by the other.

    with kafka_bus.Door() as door:
        door.bus.busctl("topic", "create", "t")
        program = door.spawn(["kcat", "-b", door.address, "-C", "-t", "t"])
        ...
"""

import pathlib
import shutil
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
import harness  # noqa: E402 (the folder has to be known first)
import tap  # noqa: E402

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


class Door:
    """A bus that serves Kafka clients at `address`; used as a context, at whose end busd must end
    well and must not have cut off a client, unless the test says so."""

    def __init__(self, harmless=True, **settings):
        defaults = {
            "listeners": "127.0.0.1:0",
            "group.initial.rebalance.delay.ms": 0,
            "auto.create.topics.enable": "true",
        }
        self.harmless = harmless
        self.bus = harness.Bus(settings={**defaults, **settings})
        self.address = None

    def __enter__(self):
        self.bus.__enter__()
        self.bus.start()
        host, port = self.bus.kafka()[0]
        self.address = f"{host}:{port}"
        return self

    def __exit__(self, kind, *rest):
        try:
            if kind is None:
                assert self.bus.stop() == 0, self.bus.busd.tail()
                assert not self.harmless or "connection cut" not in self.bus.busd.err(), self.bus.busd.tail()
        finally:
            self.bus.__exit__(kind, *rest)

    def spawn(self, arguments, **options):
        """Starts a program that ends with the door at the latest."""
        name = pathlib.Path(arguments[0]).name
        return self.bus.spawn(arguments, name, env=self.bus.environment(), **options)

    def run(self, *arguments, stdin=None):
        """Runs a program to its end, which must be a good one; its output."""
        done = self.bus.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done
        return done.stdout

    def local(self, topic, form="%p %o %T %k %s\\n"):
        """What a local program reads of the topic, in place: a line a record."""
        return self.bus.busctl("consume", "-e", "-f", form, topic).stdout.splitlines()

    def codecs_of(self, topic, partition=0):
        """The numbers of the codecs of the batches, as they lie in the files."""
        found = set()
        for path in self.bus.partition_folder(topic, partition).glob("[0-9]*.log"):
            raw, at = path.read_bytes(), 0
            while at + 61 <= len(raw) and (length := struct.unpack_from(">i", raw, at + 8)[0]) > 0:
                found.add(raw[at + 22] & 7)
                at += 12 + length
        return found


def needs(program, package):
    """Ends the test, with the reason, when a program is not there."""
    if shutil.which(program) is None:
        skip(f"{program} is not installed: apt-get install {package}")


def skip(reason):
    print(f"ok - nothing was tested # SKIP {reason}", flush=True)
    tap.done()


def records(count, word="record"):
    """Key and value of so many records, all different."""
    return [(f"{word}-key-{i}", f"{word}-value-{i}") for i in range(count)]
