# SPDX-License-Identifier: Apache-2.0
"""Batches that are sent again are in the log once, and in their order.

Producers without the right to append in place send batches through the socket, several at a time,
while busd is killed: many answers are lost, and the producers cannot know what is in the log. With
idempotence nothing is doubled and nothing changes its place. One producer appends in place, and
goes through busd when the log has no room.
"""

import random

import harness
import history
import tap

ROUNDS = 6
STREAM = (
    "worker.pause_us=500",
    "batch.size=600",
    "retry.backoff.ms=5",
    "worker.size=300",
    "buffer.memory=65536",
)


def start_producers(bus):
    return [
        bus.worker("stream", "t", 1, 0, "direct=never", *STREAM),
        bus.worker("stream", "t", 2, 0, "direct=never", "compression.type=zstd", *STREAM),
        bus.worker("stream", "t", 3, 0, "direct=never", "linger.ms=2", *STREAM),
        bus.worker("produce", "t", 4, 0, "direct=never", "worker.pause_us=100"),
        bus.worker("stream", "t", 5, 0, "enable.idempotence=true", *STREAM),
    ]


def finish(bus, producers):
    for worker in producers:
        before = worker.count("ack")
        worker.until(lambda w: w.count("ack") > before + 20, "it to go on")
        assert worker.stop() == 0, worker.tail()
        assert worker.count("fail") == 0, worker.tail()
        assert worker.count("ack") == worker.count("send"), worker.tail()
    history.expect_good(producers, bus.read_all("t"), least=500)
    assert bus.stop() == 0, bus.busd.tail()


def killed_at_random(seed, settings):
    source = random.Random(seed)
    with harness.Bus(settings=settings) as bus:
        bus.start()
        bus.busctl("topic", "create", "t", "-p", 2)
        producers = start_producers(bus)
        for _ in range(ROUNDS):
            source.choice(producers).told("ack", source.randrange(1, 200))
            bus.kill()
            bus.start()
        finish(bus, producers)


def killed_between_append_and_answer(seed):
    """The worst moment: the batch is in the log, and its producer does not hear of it."""
    source = random.Random(seed)
    with harness.Bus(settings={}) as bus:
        bus.start()
        bus.busctl("topic", "create", "t", "-p", 2)
        producers = start_producers(bus)
        source.choice(producers).told("ack", source.randrange(1, 50))
        for _ in range(ROUNDS):
            bus.kill()
            fault = f"before:fdatasync:{source.randrange(5, 60)}:kill"
            bus.launch(env=bus.environment(fault=fault))
            bus.busd.wait()
        bus.start()
        finish(bus, producers)


tap.run("killed at random moments, seed 1", killed_at_random, 1, {})
tap.run("killed at random moments, small segments", killed_at_random, 2, harness.SMALL)
tap.run("killed between append and answer", killed_between_append_and_answer, 3)
tap.done()
