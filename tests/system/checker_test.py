# SPDX-License-Identifier: Apache-2.0
"""The checker finds each kind of wrong history, and nothing in a good one."""

import checker
import tap

GOOD_SENDS = ["send 1 0", "ack 1 0 0 0", "send 1 1", "ack 1 1 0 1", "send 1 2", "fail 1 2 TIMED_OUT x"]
GOOD_READS = ["read 0 0 1 0", "read 0 1 1 1", "end 0 2"]


def verdict(sends=GOOD_SENDS, reads=GOOD_READS, more_reads=None, **options):
    history = checker.History()
    history.add_producer(sends)
    history.add_consumer("c", reads)
    if more_reads is not None:
        history.add_consumer("d", more_reads)
    return checker.judge(history, complete=["c"], **options)


def expect(name, wrong, word):
    tap.case(name, len(wrong) == 1 and word in wrong[0], wrong)


tap.case("a good history", verdict() == [], verdict())
maybe = verdict(reads=GOOD_READS + ["read 0 2 1 2"])
tap.case("a failed send may be in the log", maybe == [], maybe)
expect("lost", verdict(reads=["read 0 0 1 0"]), "lost")
expect("unseen", verdict(reads=GOOD_READS + ["read 0 2 9 9"]), "unseen")
expect("duplicate", verdict(reads=GOOD_READS + ["read 0 2 1 1"]), "duplicate")
allowed = verdict(reads=GOOD_READS + ["read 0 2 1 1"], duplicates_allowed=True)
tap.case("a duplicate that is allowed", allowed == [], allowed)
expect("torn", verdict(reads=GOOD_READS + ["torn 0 2"]), "torn")
expect("two values", verdict(more_reads=["read 0 0 1 2"]), "two values")
expect("another offset than acknowledged", verdict(sends=GOOD_SENDS[:3] + ["ack 1 1 0 0"]), "is there")
expect("skipped", verdict(reads=["read 0 0 1 0", "read 0 2 1 1"]), "skipped")
expect("went back", verdict(reads=GOOD_READS, more_reads=["read 0 1 1 1", "read 0 1 1 1"]), "went back")
expect(
    "reordered",
    verdict(sends=["send 1 0", "send 1 1"], reads=["read 0 0 1 1", "read 0 1 1 0"]),
    "reordered",
)
tap.done()
