# SPDX-License-Identifier: Apache-2.0
"""Fault F1 at named points: busd dies before and after each flush, rename, reservation and removal.

The fault shim kills busd at the n-th call for n = 1, 2, 3, … until what is under test has come to
its end without reaching the n-th: the first start, a start on data, the creation and deletion of a
topic, and rolls under load. After each death busd starts again and everything is there.
"""

import shutil

import harness
import history
import tap

CALLS = ("fdatasync", "fsync", "rename", "fallocate", "ftruncate", "unlink", "pwrite")
POINTS_MAX = 40
ROLLS = 3


def points(call):
    """Faults before and after the n-th call, until `struck(False)` is told for one n of both."""
    for when in ("before", "after"):
        for n in range(1, POINTS_MAX + 1):
            answer = []
            yield f"{when}:{call}:{n}:kill", answer.append
            if not answer[0]:
                break


def started_under(bus, fault):
    """Starts busd with the fault; whether it came to be ready."""
    try:
        bus.start(env=bus.environment(fault=fault))
        return True
    except RuntimeError:
        assert bus.busd.wait() == -9, bus.busd.tail()
        return False


def remake(bus):
    """A data folder that never was."""
    bus.forget_shared_memory()
    shutil.rmtree(bus.data, ignore_errors=True)


def first_start(call):
    strikes = 0
    with harness.Bus(settings=harness.SMALL) as bus:
        for fault, tell in points(call):
            ready = started_under(bus, fault)
            tell(not ready)
            bus.kill()
            strikes += not ready
            bus.start()
            bus.busctl("topic", "create", "t")
            bus.busctl("produce", "t", stdin="works\n")
            assert bus.busctl("consume", "-e", "t").stdout == "works\n"
            assert bus.stop() == 0, bus.busd.tail()
            remake(bus)
    return strikes


def unless_dead(bus, *arguments):
    """Runs busctl; its output, or None when busd died meanwhile or before."""
    busctl = [harness.BUILD / "tools/busctl/busctl", "--socket", bus.socket]
    process = bus.spawn(busctl + list(arguments), "busctl", env=bus.environment())
    harness.until(lambda: not bus.busd.alive() or not process.alive(), "an answer, or death", detail=process.tail)
    done = process.popen.poll() == 0
    process.kill()
    if not done:
        assert bus.busd.wait() == -9, process.tail() + bus.busd.tail()
    return process.out() if done else None


def start_on_data(call, reboot):
    """Starts on what a crash left; with a reboot the log is scanned, else taken over."""
    strikes = 0
    with harness.Bus(settings=harness.SMALL) as bus:
        bus.start()
        bus.busctl("topic", "create", "t", "-p", 2)
        producer = bus.worker("produce", "t", 1, 40, "worker.size=60000", "acks=all")
        assert producer.wait() == 0, producer.tail()
        bus.kill()
        for fault, tell in points(call):
            if reboot:
                bus.forget_shared_memory()
            text = unless_dead(bus, "consume", "-e", "t") if started_under(bus, fault) else None
            tell(text is None)
            strikes += text is None
            bus.kill()
            bus.start()
            assert len(bus.busctl("consume", "-e", "t").stdout.splitlines()) == 40
            bus.kill()
        bus.start()
        history.expect_good([producer], bus.read_all("t"), least=40)
    return strikes


def change_of_topics(call):
    """Creating and deleting: afterwards the topic is there as a whole, or not at all."""
    strikes = 0
    with harness.Bus(settings=harness.SMALL) as bus:
        armed = bus.folder / "armed"
        for fault, tell in points(call):
            bus.start(env=bus.environment(fault=fault, when=armed))
            armed.touch()
            struck = False
            for command in (["create", "made", "-p", "3"], ["delete", "made"]):
                struck = struck or unless_dead(bus, "topic", *command) is None
            armed.unlink()
            tell(struck)
            strikes += struck
            bus.kill()
            bus.start()
            there = [row["topic"] for row in bus.json("topic", "list")]
            assert there in ([], ["made"]), there
            done = bus.busctl("topic", "create", "made", "-p", "3", check=False)
            assert (done.returncode != 0) == bool(there), done
            bus.busctl("produce", "-p", "2", "made", stdin="works\n")
            assert bus.busctl("consume", "-e", "made").stdout == "works\n"
            bus.busctl("topic", "delete", "made")
            topics = bus.data / "topics"
            harness.until(lambda: not list(topics.iterdir()), "the folders to go", detail=bus.busd.tail)
            assert bus.stop() == 0, bus.busd.tail()
    return strikes


def rolls(call, acks):
    """Segments fill and roll under a producer that lives through all of it."""
    strikes = 0
    settings = dict(harness.SMALL, **{"flush.interval.ms": 50})
    with harness.Bus(settings=settings) as bus:
        armed = bus.folder / "armed"
        bus.start()
        bus.busctl("topic", "create", "t")
        producer = bus.worker("produce", "t", 1, 0, f"acks={acks}", "worker.size=100000", "worker.pause_us=1000")
        reader = bus.worker("consume", "t", 9, 0)
        reader.told("read", 1)
        bus.kill()
        for fault, tell in points(call):
            bus.start(env=bus.environment(fault=fault, when=armed))
            armed.touch()
            # A segment takes some 20 of these values.
            goal = producer.count("ack") + 25 * ROLLS
            producer.until(
                lambda p, goal=goal: not bus.busd.alive() or p.count("ack") >= goal, "rolls, or death"
            )
            struck = not bus.busd.alive()
            armed.unlink()
            tell(struck)
            strikes += struck
            bus.kill()
        bus.start()
        assert producer.stop() == 0, producer.tail()
        late = bus.read_all("t")
        reader.until(lambda r: r.count("read") + r.count("torn") >= len(late) - 1, "the consumer to see all")
        assert reader.stop() == 0, reader.tail()
        history.expect_good([producer], late, [reader], 30)
        summary = bus.json("log", "verify", bus.data)[-1]
        assert summary["damages"] == 0, summary
        left = [p.name for p in bus.partition_folder("t").iterdir() if p.name.startswith("spare-")]
        assert len(left) <= 1, left
        assert bus.stop() == 0, bus.busd.tail()
    return strikes


def every_call(what, *arguments, calls=CALLS):
    """Runs it for each call; a rig that never strikes would pass everything."""
    strikes = {call: what(call, *arguments) for call in calls}
    print(f"# deaths: {strikes}", flush=True)
    assert sum(strikes.values()) >= 1, strikes


def rolls_of_all():
    every_call(rolls, "all", calls=("fdatasync", "rename"))


if not harness.SHIM.exists():
    raise SystemExit(f"{harness.SHIM} is missing: make check builds it")
tap.run("the first start", every_call, first_start)
tap.run("a start that takes over", every_call, start_on_data, False)
tap.run("a start that scans", every_call, start_on_data, True)
tap.run("topics are created and deleted", every_call, change_of_topics)
tap.run("rolls under load, acks=1", every_call, rolls, "1")
tap.run("rolls under load, acks=all", rolls_of_all)
tap.done()
