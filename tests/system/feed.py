# SPDX-License-Identifier: Apache-2.0
"""Keyed records for a compacted topic t, and whether a reader gets what must be left of them."""

import itertools
import json

KEYS = 50


class Feed:
    """Lines for busctl produce, each with a key; remembers the last of each."""

    def __init__(self):
        self.numbers = itertools.count()
        self.last = {}

    def lines(self, count, size=400):
        text = []
        for number in itertools.islice(self.numbers, count):
            key = f"k{number * 7 % KEYS}"
            self.last[key] = number
            text.append(f"{key}:{number:09d}{'.' * (number % size)}\n")
        return "".join(text)


def send(bus, feed, count, *options):
    bus.busctl("produce", "-k", ":", *options, "t", stdin=feed.lines(count))


def records(bus, *options):
    """(key, number) of all that a consumer gets from the beginning to the end."""
    out = bus.busctl("--json", "consume", "-e", *options, "t").stdout
    rows = [json.loads(line) for line in out.splitlines()]
    return [(row["offset"], row["key"], int(row["value"][:9])) for row in rows]


def check(bus, feed, rows=None):
    """What a reader gets is in order, and ends with the last value of each key."""
    rows = records(bus) if rows is None else rows
    assert [r[0] for r in rows] == sorted({r[0] for r in rows}), "offsets do not rise"
    assert [r[2] for r in rows] == sorted(r[2] for r in rows), "records were reordered"
    assert all(offset == number for offset, _, number in rows), "an offset has another record"
    last = {key: number for _, key, number in rows}
    assert last == feed.last, f"{len(last)} keys; {set(last.items()) ^ set(feed.last.items())}"
    return rows
