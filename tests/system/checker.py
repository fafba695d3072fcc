# SPDX-License-Identifier: Apache-2.0
"""Judges histories that tests/system/worker.c tells, the way Jepsen judges logs.

A history is a list of lines of several producers and consumers; the order of lines within one
process counts, the order between processes does not. What is found wrong is a list of sentences.
"""

import collections


class History:
    def __init__(self):
        self.sent = {}  # (id, seq) → True, in order of sending
        self.acked = {}  # (id, seq) → (partition, offset)
        self.failed = {}  # (id, seq) → error name
        self.reads = {}  # consumer → [(partition, offset, id, seq)]
        self.wrong = []

    def add_producer(self, lines):
        for line in lines:
            word, *rest = line.split()
            if word == "send":
                self.sent[int(rest[0]), int(rest[1])] = True
            elif word == "ack":
                self.acked[int(rest[0]), int(rest[1])] = (int(rest[2]), int(rest[3]))
            elif word == "fail":
                self.failed[int(rest[0]), int(rest[1])] = rest[2]

    def add_consumer(self, name, lines):
        reads = self.reads.setdefault(name, [])
        for line in lines:
            word, *rest = line.split()
            if word == "read":
                reads.append(tuple(int(x) for x in rest))
            elif word == "torn":
                self.wrong.append(f"{name}: torn record at partition {rest[0]} offset {rest[1]}")


def _single_values(history):
    """Two values at one offset, whoever read or was told it."""
    at = {}
    for name, reads in history.reads.items():
        for partition, offset, producer, seq in reads:
            known = at.setdefault((partition, offset), (producer, seq))
            if known != (producer, seq):
                yield (
                    f"two values at partition {partition} offset {offset}: {known} and"
                    f" {(producer, seq)} (read by {name})"
                )
    for value, place in history.acked.items():
        if place in at and at[place] != value:
            yield f"acknowledged {value} at {place}, but {at[place]} is there"


def _polls(history):
    """Skipped or non-monotonic polls: offsets of a partition come one by one."""
    for name, reads in history.reads.items():
        last = {}
        for partition, offset, *_ in reads:
            if partition in last and offset != last[partition] + 1:
                kind = "went back" if offset <= last[partition] else "skipped"
                yield f"{name}: {kind} from offset {last[partition]} to {offset} of {partition}"
            last[partition] = offset


def _values(history, complete, duplicates_allowed):
    seen = collections.Counter()
    for name in complete:
        for _, _, producer, seq in history.reads[name]:
            seen[producer, seq] += 1
        break
    for value in history.acked:
        if seen[value] == 0:
            yield f"lost: {value} was acknowledged and is not in the log"
    for value, times in seen.items():
        if value not in history.sent:
            yield f"unseen: {value} was never sent"
        if times > 1 and not duplicates_allowed:
            yield f"duplicate: {value} is {times} times in the log"


def _order(history):
    """Values of one producer in one partition keep their order."""
    for name, reads in history.reads.items():
        last = {}
        for partition, offset, producer, seq in reads:
            before = last.get((partition, producer), -1)
            if seq < before:
                yield (
                    f"{name}: reordered: {seq} of producer {producer} after {before}"
                    f" at partition {partition} offset {offset}"
                )
            last[partition, producer] = max(seq, before)


def judge(history, complete=(), duplicates_allowed=False):
    """What is wrong, as sentences; [] is a good history.

    complete: names of consumers that read everything there is, from the beginning; with one of
    them acknowledged writes are looked for. duplicates_allowed: a producer retried through the
    socket without idempotence.
    """
    wrong = list(history.wrong)
    wrong += _single_values(history)
    wrong += _polls(history)
    wrong += _order(history)
    if complete:
        wrong += _values(history, complete, duplicates_allowed)
    return wrong
