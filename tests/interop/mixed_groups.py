# SPDX-License-Identifier: Apache-2.0
"""A group with members of two kinds: kcat (librdkafka) at the Kafka door and a local one of libbus.
Whoever leads, the partitions are shared out, each record is printed, and who stays gets all."""

import re

import kafka_bus
import tap
from kafka_bus import harness

PARTITIONS, COUNT = 4, 25
FORM = "%p %o\\n"


class Group:
    def __init__(self, door, name, strategy):
        self.door, self.name, self.sent = door, name, 0
        self.settings = []
        for setting in (f"partition.assignment.strategy={strategy}", "heartbeat.interval.ms=100"):
            self.settings += ["-X", setting]
        self.settings += ["-X", "auto.offset.reset=earliest"]
        door.bus.busctl("topic", "create", name, "-p", str(PARTITIONS))

    def kcat(self):
        command = ["kcat", "-u", "-b", self.door.address, "-G", self.name, "-f", FORM]
        return self.door.spawn([*command, *self.settings, self.name])

    def busctl(self):
        program = harness.BUILD / "tools/busctl/busctl"
        command = [program, "--socket", self.door.bus.socket, "consume", "-G", self.name, "-f", FORM]
        return self.door.spawn([*command, *self.settings, self.name])

    def has(self, local, count):
        """Waits until the local member has so many partitions, by what it told."""

        def told(process):
            mine = set()
            for line in process.err().splitlines():
                places = re.findall(r"-(\d+)@", line)
                mine = mine | set(places) if "assigned" in line else mine - set(places)
            return len(mine) == count

        local.until(told, f"having {count} partitions")

    def is_read(self, *members):
        """Sends to all partitions; everything so far comes out."""
        for partition in range(PARTITIONS):
            lines = "".join(f"{n}\n" for n in range(COUNT))
            self.door.bus.busctl("produce", "-p", str(partition), self.name, stdin=lines)
        self.sent += COUNT
        wanted = {f"{p} {o}" for p in range(PARTITIONS) for o in range(self.sent)}
        harness.until(
            lambda: wanted <= {line for member in members for line in member.lines()},
            "reading everything",
            detail=lambda: "\n".join(member.tail() for member in members),
        )


def kcat_leads(door, strategy):
    group = Group(door, f"kcat-{strategy}", strategy)
    leader = group.kcat()
    group.is_read(leader)
    local = group.busctl()
    group.has(local, PARTITIONS // 2)
    group.is_read(leader, local)
    assert leader.stop() == 0, leader.tail()
    group.has(local, PARTITIONS)
    group.is_read(leader, local)
    assert local.stop() == 0, local.tail()


def libbus_leads(door, strategy):
    group = Group(door, f"libbus-{strategy}", strategy)
    leader = group.busctl()
    group.has(leader, PARTITIONS)
    group.is_read(leader)
    other = group.kcat()
    group.has(leader, PARTITIONS // 2)
    group.is_read(leader, other)
    assert leader.stop() == 0, leader.tail()
    group.is_read(leader, other)
    assert other.stop() == 0, other.tail()


kafka_bus.needs("kcat", "kcat")
with kafka_bus.Door() as shared:
    for name in ("range", "roundrobin", "cooperative-sticky"):
        tap.run(f"{name}: kcat leads", kcat_leads, shared, name)
        tap.run(f"{name}: libbus leads", libbus_leads, shared, name)
tap.done()
