# SPDX-License-Identifier: Apache-2.0
"""Fault F1 and the first promise: busd is killed under load, and local traffic goes on.

Producers (acks=all and 1) and a consumer work all the time while busd is killed at random moments
and started again. Nothing acknowledged is lost, doubled, torn or in another order, and a consumer
that comes late reads the same.
"""

import os
import random
import signal

import harness
import history
import tap

ROUNDS = 12
PARTITIONS = 4

# Room for everything that these producers write while busd is away.
ROOMY = {"log.segment.bytes": 1 << 26, "log.segment.preallocate.bytes": 1 << 24}


def start_load(bus, topic, pause_us=300):
    """Producers of each kind of promise, and a consumer."""
    common = (f"worker.pause_us={pause_us}",)
    producers = [
        bus.worker("produce", topic, 1, 0, "acks=all", *common),
        bus.worker("produce", topic, 2, 0, "acks=1", *common),
        bus.worker("produce", topic, 3, 0, "acks=all", "linger.ms=1", *common),
        bus.worker("produce", topic, 4, 0, "acks=1", "compression.type=zstd", *common),
    ]
    reader = bus.worker("consume", topic, 9, 0)
    for worker in producers:
        worker.told("ack", 40)  # so many keys meet every partition: each is attached now
    reader.told("read", 1)
    return producers, reader


def end_load(bus, topic, producers, reader, least):
    for worker in producers:
        assert worker.stop() == 0, worker.tail()
    late = bus.read_all(topic)
    total = sum(1 for line in late if line.startswith("read"))
    reader.until(lambda r: r.count("read") + r.count("torn") >= total, "the consumer to see everything")
    assert reader.stop() == 0, reader.tail()
    history.expect_good(producers, late, [reader], least)


def killed_at_random(seed, settings):
    """With small segments there are rolls, and at times no room: then nobody need go on."""
    source = random.Random(seed)
    with harness.Bus(settings=settings) as bus:
        bus.start()
        bus.busctl("topic", "create", "t", "-p", PARTITIONS)
        producers, reader = start_load(bus, "t")
        for _ in range(ROUNDS):
            source.choice(producers).told("ack", source.randrange(1, 300))
            bus.kill()
            if settings is ROOMY:
                for worker in producers:
                    worker.told("ack", source.randrange(1, 20))
                reader.told("read", 1)
            bus.start()
        end_load(bus, "t", producers, reader, 1000)
        assert bus.stop() == 0, bus.busd.tail()


def killed_while_it_starts(seed):
    """At a random moment of the start: its own clock is the number of bytes that it wrote."""
    source = random.Random(seed)
    with harness.Bus(settings=harness.SMALL) as bus:
        bus.start()
        bus.busctl("topic", "create", "t", "-p", PARTITIONS)
        producers, reader = start_load(bus, "t")
        bus.kill()
        for _ in range(ROUNDS):
            bus.launch(env=bus.environment(fault=f"before:any:{source.randrange(1, 200)}:kill"))
            one = source.choice(producers)
            goal = one.count("ack") + 1
            # A busd that dies so early makes no room.
            one.until(lambda p, goal=goal: p.count("ack") >= goal or settled(p), "a record, or no room")
            bus.kill()
        bus.start()
        end_load(bus, "t", producers, reader, 20)


def away_until_the_room_is_used_up():
    """Producers wait for room when the reserved segments are full, and go on when busd is back."""
    with harness.Bus(settings=harness.SMALL) as bus:
        bus.start()
        bus.busctl("topic", "create", "t")
        producer = bus.worker("produce", "t", 1, 0, "acks=1", "worker.size=30000")
        producer.told("ack", 100)
        bus.kill()
        # A full active segment and a full spare are 2 MiB at the most.
        before = producer.count("ack")
        producer.until(lambda p: p.count("send") == p.count("ack") + 1, "it to wait")
        harness.until(lambda: settled(producer), "the producer to have no room left")
        assert producer.count("ack") - before < 400, "more than there was room for"
        bus.start()
        producer.told("ack", 200)
        assert producer.stop() == 0, producer.tail()
        history.expect_good([producer], bus.read_all("t"), least=300)


def settled(producer):
    """Whether the producer sleeps in the kernel, and has not moved meanwhile."""
    sends = producer.count("send")
    with open(f"/proc/{producer.pid}/stat", encoding="ascii") as stat:
        asleep = stat.read().rsplit(")", 1)[1].split()[0] == "S"
    return asleep and producer.count("send") == sends == producer.count("ack") + 1


def same_generation():
    """A restart with clients attached takes the shared memory over: nothing is scanned anew."""
    with harness.Bus(settings=ROOMY) as bus:
        bus.start()
        bus.busctl("topic", "create", "t", "-p", PARTITIONS)
        producers, reader = start_load(bus, "t", pause_us=2000)
        pages = bus.generations()
        assert len(pages) == PARTITIONS, pages
        inodes = [os.stat(f"/dev/shm/{page}").st_ino for page in pages]
        for end in (bus.kill, bus.stop, bus.kill):
            end()
            bus.start()
            for worker in producers:
                worker.told("ack", 5)
            assert bus.generations() == pages
            assert [os.stat(f"/dev/shm/{page}").st_ino for page in pages] == inodes
        end_load(bus, "t", producers, reader, 50)


def upgrade():
    """The way of a package upgrade: SIGTERM, another program, start; clients stay."""
    with harness.Bus(settings=ROOMY) as bus:
        bus.start()
        bus.busctl("topic", "create", "t", "-p", PARTITIONS)
        producers, reader = start_load(bus, "t")
        for _ in range(3):
            assert bus.stop() == 0, bus.busd.tail()
            for worker in producers + [reader]:
                worker.told("read" if worker is reader else "ack", 10)
            bus.start()
            for worker in producers:
                worker.told("ack", 50)
        end_load(bus, "t", producers, reader, 500)


def away_for_new_clients():
    """Without busd nobody new comes in, but those who are in still produce with acks=all."""
    with harness.Bus(settings=ROOMY) as bus:
        bus.start()
        bus.busctl("topic", "create", "t")
        producer = bus.worker("produce", "t", 1, 0, "acks=all", "worker.pause_us=1000")
        durable = bus.worker("consume", "t", 9, 0, "isolation.level=read_durable")
        producer.told("ack", 1)
        durable.told("read", 1)
        bus.kill()
        done = bus.busctl("topic", "list", check=False)
        assert done.returncode == 1 and str(bus.socket) in done.stderr, done
        producer.told("ack", 50)
        durable.told("read", 50)
        bus.start()
        end_load(bus, "t", [producer], durable, 50)


def memory_topic():
    """A topic in memory survives busd, not the boot."""
    with harness.Bus(settings=ROOMY) as bus:
        bus.start()
        bus.busctl("topic", "create", "m", "-c", "storage.type=memory")
        # Little is kept ahead in memory: what there is has to do for as long as busd is away.
        producers, reader = start_load(bus, "m", pause_us=5000)
        for _ in range(3):
            bus.kill()
            for worker in producers:
                worker.told("ack", 10)
            bus.start()
            for worker in producers:
                worker.told("ack", 10)
        end_load(bus, "m", producers, reader, 100)
        assert bus.stop() == 0
        bus.forget_shared_memory()
        bus.start()
        assert bus.busctl("consume", "-e", "m").stdout == ""
        bus.busctl("produce", "m", stdin="after the boot\n")
        assert bus.busctl("consume", "-e", "m").stdout == "after the boot\n"


def worker_killed_too():
    """Producers die as well; what they were told is there, and the others go on."""
    source = random.Random(7)
    with harness.Bus(settings=ROOMY) as bus:
        bus.start()
        bus.busctl("topic", "create", "t", "-p", 2)
        dead = []
        living = bus.worker("produce", "t", 1, 0, "acks=1", "worker.pause_us=100")
        reader = bus.worker("consume", "t", 99, 0)
        for number in range(10, 20):
            victim = bus.worker("produce", "t", number, 0, f"acks={source.choice(('1', 'all'))}")
            victim.told("ack", source.randrange(1, 200))
            victim.signal(signal.SIGKILL)
            if number % 3 == 0:
                bus.kill()
            victim.wait()
            living.told("ack", 5)
            if number % 3 == 0:
                bus.start()
            dead.append(victim)
        assert living.stop() == 0, living.tail()
        late = bus.read_all("t")
        reader.until(lambda r: r.count("read") >= len(late) - 2, "the consumer to see everything")
        reader.stop()
        history.expect_good(dead + [living], late, [reader], 10)


for random_seed, room in ((1, ROOMY), (2, ROOMY), (3, harness.SMALL), (4, harness.SMALL)):
    tap.run(f"killed at random moments, seed {random_seed}", killed_at_random, random_seed, room)
tap.run("killed while it starts", killed_while_it_starts, 3)
tap.run("away until the room is used up", away_until_the_room_is_used_up)
tap.run("a restart does not begin a new generation", same_generation)
tap.run("an upgrade under load", upgrade)
tap.run("producers with acks=all need no busd", away_for_new_clients)
tap.run("a topic in memory", memory_topic)
tap.run("producers are killed as well", worker_killed_too)
tap.done()
