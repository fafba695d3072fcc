# SPDX-License-Identifier: Apache-2.0
"""Fault F4: a writer that is stopped while it holds the append lock, and goes on after busd took
the lock away. The others go on meanwhile, and what the late one writes reaches nobody."""

import random
import signal
import subprocess

import harness
import history
import tap

SEED = 4
LOAN_BYTES = 50000
STOPS = 60  # of the writer that is stopped at random moments
STOPS_MAX = 1500
EVICTIONS = 2  # so many of them have to hit the lock

DIRECT = ("acks=1", "worker.pause_us=2000")
MEDIATED = ("acks=1", "direct=never", "worker.pause_us=2000")


def start(bus, lock_timeout_ms):
    bus.settings.update(harness.SMALL)
    bus.settings["append.lock.timeout.ms"] = lock_timeout_ms
    bus.start()
    bus.busctl("topic", "create", "t")


def everybody(bus, direct=2):
    """Producers of both kinds and a consumer, all of them at work."""
    producers = [bus.worker("produce", "t", i + 1, 0, *DIRECT) for i in range(direct)]
    producers.append(bus.worker("produce", "t", direct + 1, 0, *MEDIATED))
    for producer in producers:
        producer.told("ack", 3)
    reader = bus.worker("consume", "t", 0, 0)
    reader.told("read", 3)
    return producers, reader


def goes_on(producers, reader, more=30):
    """All that work do so still."""
    for producer in producers:
        producer.told("ack", more)
    reader.told("read", more)


def finish(bus, producers, reader):
    """Ends all; the history is perfect and so is what is on the disk."""
    for producer in producers:
        assert producer.stop() == 0, producer.tail()
    acked = sum(producer.count("ack") for producer in producers)
    reader.until(lambda r: r.count("read") >= acked, "reading all that was acknowledged")
    assert reader.stop() == 0, reader.tail()
    history.expect_good(producers, bus.read_all("t"), [reader], least=100)
    assert bus.stop() == 0, bus.busd.tail()
    summary = bus.json("log", "verify", bus.partition_folder("t"))[-1]
    assert summary["damages"] == 0 and summary["records"] == acked, (summary, acked)


def evictions(bus):
    return bus.busd.err().count("was evicted: generation")


def lend(bus, *settings):
    """A worker that holds the append lock, and stands."""
    loan = bus.worker(
        "loan", "t", 9, 1, f"worker.size={LOAN_BYTES}", *settings, stdin=subprocess.PIPE
    )
    loan.line("^lent$")
    loan.signal(signal.SIGSTOP)
    loan.stopped()
    return loan


def wake(loan):
    """Lets it go on, write into the loan once more, and commit; its last line."""
    loan.signal(signal.SIGCONT)
    loan.popen.stdin.write(b"go\n")
    loan.popen.stdin.close()
    assert loan.wait() == 0, loan.tail()
    return loan.lines()[-1]


def stopped_with_a_loan(bus):
    start(bus, 300)
    producers, reader = everybody(bus)
    before = bus.generations()
    loan = lend(bus)
    goes_on(producers, reader)
    bus.busd.line("was evicted: generation")
    after = bus.generations()
    assert len(after) == 1 and after != before, (before, after)
    goes_on(producers, reader)
    told = wake(loan)
    assert told.startswith("commit EVICTED") and "append.lock.timeout.ms" in told, told
    goes_on(producers, reader)
    assert bus.generations() == after and evictions(bus) == 1, "only the stopped one was evicted"
    finish(bus, producers, reader)


def stopped_alone(bus):
    """Nobody else waits for the lock until later; the commit comes before anybody looked."""
    start(bus, 60000)
    producers, reader = everybody(bus, direct=1)
    for producer in producers:
        assert producer.stop() == 0, producer.tail()
    loan = lend(bus)
    told = wake(loan)
    assert told.startswith("commit NONE"), told
    reader.line("^torn 0 ")  # so a reader does tell when it sees the bytes of a loan
    assert evictions(bus) == 0, bus.busd.tail()


def stopped_at_random(bus):
    draw = random.Random(SEED)
    start(bus, 10)
    producers, reader = everybody(bus, direct=1)
    victim = bus.worker("produce", "t", 9, 0, "acks=1", "worker.size=300000", "worker.pause_us=200")
    victim.told("ack", 1)
    stops = 0
    while stops < STOPS or (evictions(bus) < EVICTIONS and stops < STOPS_MAX):
        for _ in range(draw.randrange(20000)):
            pass  # some moment, unlike the last one
        victim.signal(signal.SIGSTOP)
        victim.stopped()
        goes_on(producers, reader, more=4)
        victim.signal(signal.SIGCONT)
        victim.told("ack", draw.randrange(1, 4))
        stops += 1
    print(f"# {stops} stops, {evictions(bus)} evictions", flush=True)
    assert evictions(bus) >= EVICTIONS, f"{stops} stops hit the lock too seldom"
    finish(bus, producers + [victim], reader)


def killed_with_a_loan(bus):
    """The kernel hands the lock of a dead holder over: busd has nothing to do."""
    start(bus, 60000)
    producers, reader = everybody(bus)
    before = bus.generations()
    for _ in range(5):
        loan = lend(bus)
        loan.kill()
        goes_on(producers, reader)
    assert bus.generations() == before and evictions(bus) == 0, bus.busd.tail()
    finish(bus, producers, reader)


for name, function in (
    ("a writer stopped while it holds the lock", stopped_with_a_loan),
    ("a writer stopped for a moment keeps its loan", stopped_alone),
    ("a writer stopped at random moments", stopped_at_random),
    ("a writer killed while it holds the lock", killed_with_a_loan),
):
    with harness.Bus() as one_bus:
        tap.run(name, function, one_bus)
tap.done()
