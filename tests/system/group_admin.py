# SPDX-License-Identifier: Apache-2.0
"""busctl group, and topic offsets: what users see of groups, and what they may do with them."""

import struct
import time

import groups_wire
import harness
import tap

HOUR_MS = 3600 * 1000
LONG_SESSION_MS = 60000

bus = harness.Bus(settings={**harness.SMALL, **groups_wire.SETTINGS})


def fails(done, code, *words):
    missing = [word for word in words if word not in done.stderr]
    assert done.returncode == code and not missing, (code, missing, done)


def create(topic, partitions=2, records=10):
    """A topic with so many records in each partition."""
    bus.busctl("topic", "create", topic, "-p", partitions)
    for number in range(partitions):
        bus.busctl("produce", "-p", number, topic, stdin="x\n" * records)
    return topic


def timed(topic, times):
    """A topic of one partition, with these timestamps in its records."""
    bus.busctl("topic", "create", topic)
    path = bus.folder / f"{topic}.script"
    path.write_text("".join(f"{time_ms} - 78\n" for time_ms in times))
    with open(path, encoding="utf-8") as text:
        worker = bus.worker("script", topic, 0, 0, stdin=text)
        assert worker.wait() == 0, worker.tail()
    return topic


def reset(group, *arguments, **options):
    return bus.json("group", "reset", group, *arguments, **options)


def describe(group, *arguments):
    (one,) = bus.json("group", "describe", *arguments, group)
    return one


def committed(group):
    return {(row["topic"], row["partition"]): row["committed"] for row in describe(group)["partitions"]}


def groups():
    return {row["group"]: row for row in bus.json("group", "list")}


def share(topic, *partitions):
    """An assignment in Kafka's consumer protocol, as text: all its bytes are below 128."""
    raw = struct.pack(">hi", 0, 1) + groups_wire.text(topic)
    raw += struct.pack(f">i{len(partitions)}i", len(partitions), *partitions) + struct.pack(">i", 0)
    return raw.decode()


def member(group, topic, *partitions):
    """A live member of a group, alone in it."""
    one = groups_wire.Member(bus, "painter", group, topic, LONG_SESSION_MS)
    one.start_join()
    error, listed = one.read_join()
    assert error == 0 and listed == [one.id], (error, listed)
    one.send_sync({one.id: share(topic, *partitions) if partitions else "\x01own words"})
    assert one.read_sync() == 0
    return one


def leaves(one):
    body = groups_wire.text(one.group) + struct.pack(">i", 1) + groups_wire.text(one.id)
    answer = one.ask(groups_wire.LEAVE, 3, body + struct.pack(">h", -1))
    answer.number("i")
    assert answer.number("h") == 0


# ---- looking ------------------------------------------------------------------------------------


def listed():
    assert groups() == {} and bus.busctl("group", "list").stdout == ""
    create("listed"), create("listed2")
    reset("lister", "listed", "--to", "offset", "4")
    reset("lister", "listed2:1", "--to", "end")
    row = groups()["lister"]
    expected = {"group": "lister", "state": "Empty", "members": 0, "lag": 12, "topics": "listed,listed2"}
    assert row == expected, row
    one = member("live-lister", "listed", 0, 1)
    row = groups()["live-lister"]
    assert row["state"] == "Stable" and row["members"] == 1 and row["topics"] == "listed", row
    text = bus.busctl("group", "list").stdout
    assert "GROUP" in text and "live-lister" in text and "listed,listed2" in text, text
    leaves(one)
    row = groups()["live-lister"]
    assert row["state"] == "Empty" and row["members"] == 0 and row["topics"] is None, row


def described():
    create("shown", 3)
    one = member("shower", "shown", 0, 1)
    assert one.commit(7) == 0
    all_of = describe("shower", "--members")
    assert all_of["state"] == "Stable" and all_of["assignor"] == "range", all_of
    assert all_of["protocol"] == "consumer" and all_of["member_count"] == 1 and all_of["lag"] == 3
    first, second = all_of["partitions"]
    assert first["topic"] == "shown" and first["partition"] == 0, first
    assert (first["committed"], first["log_start"], first["log_end"], first["lag"]) == (7, 0, 10, 3), first
    assert first["member"] == one.id and first["client"] == "painter" and first["host"].startswith("unix:")
    # Nothing is committed for the second: how far it is behind is for the member to decide.
    assert (second["partition"], second["committed"], second["lag"]) == (1, None, None), second
    assert second["log_end"] == 10 and second["member"] == one.id, second
    (person,) = all_of["members"]
    assert person["member"] == one.id and person["assignment"] == "shown:0,1", person
    assert person["partitions"] == 2 and person["instance"] is None, person
    assert "members" not in describe("shower")
    text = bus.busctl("group", "describe", "--members", "shower").stdout
    assert "COMMITTED" in text and one.id in text and "shown:0,1" in text, text
    leaves(one)
    rows = describe("shower")["partitions"]
    assert [(row["partition"], row["member"], row["lag"]) for row in rows] == [(0, None, 3)], rows
    done = bus.busctl("group", "describe", "no-such", "shower", check=False)
    fails(done, 1, "no group no-such", "group list")
    assert "shower" in done.stdout, "the other one is shown all the same"


def own_words():
    """What a member of another kind has cannot be told; everything else can."""
    create("foreign")
    one = member("foreigner", "foreign")
    (person,) = describe("foreigner", "--members")["members"]
    assert person["partitions"] is None and person["assignment"] is None, person
    leaves(one)


# ---- reset --------------------------------------------------------------------------------------


def reset_places():
    create("placed")
    for target, offset in (
        (("beginning",), 0),
        (("end",), 10),
        (("offset", "4"), 4),
        (("4k",), None),  # behind the end
        (("shift", "-3"), 7),
        (("shift", "+2"), 9),
        (("shift 1",), 10),
        (("6",), 6),
        (("time", "-1h"), 0),
        (("@-1h",), 0),
        (("time", "2001-01-01"), 0),
    ):
        done = bus.busctl("--json", "group", "reset", "placer", "placed", "--to", *target)
        expected = 10 if offset is None else offset
        assert set(committed("placer").values()) == {expected}, (target, done)
        if offset is None:
            assert "2 of 2 partitions" in done.stderr and "behind the log end" in done.stderr, done
    rows = reset("placer", "placed:1", "--to", "offset", "3")
    assert rows == [
        {
            "topic": "placed",
            "partition": 1,
            "committed": 0,
            "new_offset": 3,
            "new_lag": 7,
            "done": True,
            "remark": None,
        }
    ], rows
    assert committed("placer") == {("placed", 0): 0, ("placed", 1): 3}


def reset_scope():
    """Without topics: all partitions of the topics that the group has committed something for."""
    create("wide", 3), create("wider"), create("other")
    reset("scoped", "wide:0,2", "wider:1", "--to", "offset", "5")
    assert sorted(committed("scoped")) == [("wide", 0), ("wide", 2), ("wider", 1)]
    done = bus.busctl("group", "reset", "scoped", "--to", "shift", "-1")
    assert "2 of 5 partitions: nothing is committed that could be shifted" in done.stderr, done
    assert "nothing committed" in done.stdout, done
    assert sorted(committed("scoped").values()) == [4, 4, 4]
    reset("scoped", "--to", "end")
    assert len(committed("scoped")) == 5 and set(committed("scoped").values()) == {10}
    rows = reset("scoped", "wide:0-1", "wide:1,2", "--to", "beginning")
    assert [row["partition"] for row in rows] == [0, 1, 2], "each once"


def dry_run():
    create("dry")
    reset("drier", "dry", "--to", "offset", "5")
    done = bus.busctl("--json", "group", "reset", "drier", "--to", "beginning", "--dry-run")
    assert '"done":false' in done.stdout and '"new_offset":0' in done.stdout and not done.stderr, done
    assert set(committed("drier").values()) == {5}
    done = bus.busctl("group", "reset", "made-up", "dry", "-n", "--to", "end")
    assert "no group made-up yet" in done.stderr and "made-up" not in groups(), done
    reset("drier", "--execute", "--to", "beginning")
    assert set(committed("drier").values()) == {0}
    fails(bus.busctl("group", "reset", "drier", "-n", "--execute", "--to", "end", check=False), 2, "one of them")


def cut(topic, offset):
    """DeleteRecords: the log of partition 0 starts at this offset then."""
    asker = groups_wire.Member(bus, "cutter")
    body = struct.pack(">i", 1) + groups_wire.text(topic) + struct.pack(">iiqi", 1, 0, offset, 30000)
    answer = asker.ask(21, 0, body)
    answer.number("i"), answer.number("i"), answer.text(), answer.number("i")
    assert (answer.number("i"), answer.number("q"), answer.number("h")) == (0, offset, 0)


def below_log_start():
    create("short", 1, 100)
    reset("shorter", "short", "--to", "offset", "20")
    cut("short", 50)
    (row,) = describe("shorter")["partitions"]
    assert (row["committed"], row["log_start"], row["lag"]) == (20, 50, 80), row
    for target in (("shift", "0"), ("shift", "-30"), ("offset", "7")):
        done = bus.busctl("--json", "group", "reset", "shorter", "--to", *target)
        assert "1 of 1 partitions: the offset is before the log start" in done.stderr, done
        assert '"new_offset":50' in done.stdout and '"remark":"log start"' in done.stdout, done
    assert committed("shorter") == {("short", 0): 50}


def future():
    now = int(time.time() * 1000)
    timed("clock", [now - 2 * HOUR_MS, now - HOUR_MS, now - 1000])
    done = bus.busctl("--json", "group", "reset", "clocker", "clock", "--to", "time", str(now + HOUR_MS))
    assert "is in the future" in done.stderr and "goes to the end" in done.stderr, done
    assert '"remark":"no record that young"' in done.stdout and committed("clocker") == {("clock", 0): 3}
    done = bus.busctl("group", "reset", "clocker", "--to", "time", "-90m")
    assert done.stderr == "" and committed("clocker") == {("clock", 0): 1}, done
    # A record that was written with a time to come is found.
    timed("ahead", [now, now + 3 * HOUR_MS])
    reset("clocker", "ahead", "--to", "time", str(now + HOUR_MS))
    assert committed("clocker")[("ahead", 0)] == 1


def hostile_names():
    """What members call themselves is shown, and cannot command a terminal."""
    create("loud")
    one = groups_wire.Member(bus, "e\x1b[2Jvil\n", "loud", "loud", LONG_SESSION_MS)
    one.start_join()
    assert one.read_join()[0] == 0
    done = bus.busctl("group", "reset", "loud", "--to", "end", check=False)
    fails(done, 1, "e\\x1b[2Jvil\\n", "1 member")
    text = bus.busctl("group", "describe", "-m", "loud").stdout
    assert "\x1b" not in done.stderr + text and "e\\x1b[2Jvil\\n" in text, (done, text)
    leaves(one)


def live():
    """Members commit for themselves, so nobody else may."""
    create("busy")
    one = member("worker", "busy", 0, 1)
    assert one.commit(3) == 0
    remedy = (one.id, "painter", "unix:", "stop it")
    fails(bus.busctl("group", "reset", "worker", "--to", "end", check=False), 1, "1 member:", *remedy)
    fails(bus.busctl("group", "reset", "worker", "busy", "-n", "--to", "end", check=False), 1, *remedy)
    fails(bus.busctl("group", "delete", "worker", check=False), 1, "1 member:", *remedy)
    done = bus.busctl("group", "delete-offsets", "worker", "busy", check=False)
    fails(done, 1, "members that read topic busy", "stop them")
    assert committed("worker")[("busy", 0)] == 3
    # What its members do not read may be forgotten all the same.
    create("left")
    leaves(one)
    reset("worker", "left", "--to", "end")
    one = member("worker", "busy", 0)
    bus.busctl("group", "delete-offsets", "worker", "left")
    assert sorted(topic for topic, _ in committed("worker")) == ["busy"]
    leaves(one)
    reset("worker", "--to", "end")
    assert set(committed("worker").values()) == {10}
    bus.busctl("group", "delete", "worker")
    assert "worker" not in groups()


def static_member():
    """It stays a member after its end, so that it finds its partitions again."""
    create("fixed")
    settings = ("-X", "group.instance.id=me", "-X", f"session.timeout.ms={LONG_SESSION_MS}")
    bus.busctl("consume", "-G", "fixer", *settings, "-c", "1", "fixed")
    (one,) = describe("fixer", "--members")["members"]
    assert one["instance"] == "me" and one["client"] == "busctl", one
    done = bus.busctl("group", "reset", "fixer", "--to", "end", check=False)
    fails(done, 1, "1 member: me-", "static ones leave when their session.timeout.ms is over")


# ---- deleting -----------------------------------------------------------------------------------


def deleted():
    create("gone"), create("kept")
    reset("doomed", "gone", "kept", "--to", "end")
    reset("doomed2", "gone", "--to", "end")
    done = bus.busctl("group", "delete-offsets", "doomed", "gone:1", "kept")
    assert done.stdout == done.stderr == "" and sorted(committed("doomed")) == [("gone", 0)], done
    fails(bus.busctl("group", "delete-offsets", "doomed", "kept", check=False), 1, "committed nothing there")
    fails(bus.busctl("group", "delete-offsets", "no-such", "kept", check=False), 1, "no group no-such")
    fails(bus.busctl("group", "delete-offsets", "doomed", "no-topic", check=False), 1, "no topic no-topic")
    fails(bus.busctl("group", "delete-offsets", "doomed", "gone:7", check=False), 1, "partition 7")
    fails(bus.busctl("group", "delete-offsets", "doomed", check=False), 2, "missing")
    done = bus.busctl("group", "delete", "doomed", "no-such", "doomed2", check=False)
    fails(done, 1, "no group no-such", "group list")
    assert "doomed" not in groups() and "doomed2" not in groups()


def topic_gone():
    """With a topic go the offsets that were committed for it."""
    create("going"), create("staying")
    reset("stayer", "going", "staying", "--to", "end")
    bus.busctl("topic", "delete", "going")
    harness.until(lambda: len(committed("stayer")) == 2, "the offsets to go")
    assert sorted({topic for topic, _ in committed("stayer")}) == ["staying"]
    fails(bus.busctl("group", "reset", "stayer", "going", "--to", "end", check=False), 1, "no topic going")


def survives():
    """What was reset is there after a crash."""
    create("durable")
    reset("durables", "durable", "--to", "offset", "6")
    bus.kill()
    bus.start()
    assert set(committed("durables").values()) == {6}


# ---- mistakes -----------------------------------------------------------------------------------


def mistakes():
    create("wrong")
    reset("wronger", "wrong", "--to", "end")
    for arguments, code, words in (
        (["group", "reset"], 2, ["missing"]),
        (["group", "reset", "wronger"], 2, ["--to is missing"]),
        (["group", "reset", "wronger", "--to"], 2, ["--to"]),
        (["group", "reset", "wronger", "--to", "middle"], 2, ["'middle'", "beginning, end, offset N"]),
        (["group", "reset", "wronger", "--to", "offset"], 2, ["offset: a value must follow"]),
        (["group", "reset", "wronger", "--to", "offset", "-5"], 2, ["offset -5"]),
        (["group", "reset", "wronger", "--to", "-5"], 2, ["'-5'", "shift"]),
        (["group", "reset", "wronger", "--to", "time", "soon"], 2, ["'soon' is no time"]),
        (["group", "reset", "wronger", "--to", "shift", "far"], 2, ["shift far"]),
        (["group", "reset", "wronger", "wrong:", "--to", "end"], 2, ["wrong:", "0,2-5"]),
        (["group", "reset", "wronger", ":1", "--to", "end"], 2, ["TOPIC:0,2-5"]),
        (["group", "reset", "wronger", "wrong:2", "--to", "end"], 1, ["partition 2", "0 to 1"]),
        (["group", "reset", "wronger", "no-topic", "--to", "end"], 1, ["no topic no-topic"]),
        (["group", "reset", "no-such", "--to", "end"], 1, ["no group no-such"]),
        (["group", "reset", "", "wrong", "--to", "end"], 1, ["cannot be the name of a group"]),
        (["group", "describe"], 2, ["missing"]),
        (["group", "delete"], 2, ["missing"]),
        (["group", "list", "extra"], 2, ["extra"]),
        (["group", "lst"], 2, ["group list"]),
        (["topic", "offsets", "--at", "soon", "wrong"], 2, ["'soon' is no time"]),
        (["topic", "offsets", "no-topic"], 1, ["no topic no-topic"]),
    ):
        done = bus.busctl(*arguments, check=False)
        fails(done, code, *words)
        assert done.stdout == "", done
    assert set(committed("wronger").values()) == {10}


# ---- offsets of topics --------------------------------------------------------------------------


def offsets():
    now = int(time.time() * 1000)
    # The newest by time is not the last one; of two the first counts.
    timed("mixed", [now - 5000, now - 1000, now - 3000, now - 1000, now - 4000])
    (row,) = bus.json("topic", "offsets", "mixed")
    expected = {"topic": "mixed", "partition": 0, "start_offset": 0, "end_offset": 5}
    assert row == {**expected, "newest_offset": 1, "newest_time": now - 1000}, row
    (row,) = bus.json("topic", "offsets", "--at", str(now - 3500), "mixed")
    assert (row["at_offset"], row["at_time"]) == (1, now - 1000), row
    (row,) = bus.json("topic", "offsets", "-a", "@-1h", "mixed")
    assert (row["at_offset"], row["at_time"]) == (0, now - 5000), row
    (row,) = bus.json("topic", "offsets", "--at", str(now + HOUR_MS), "mixed")
    assert row["at_offset"] is None, row
    bus.busctl("topic", "create", "void")
    (row,) = bus.json("topic", "offsets", "void")
    assert (row["end_offset"], row["newest_offset"]) == (0, None), row
    create("several", 3)
    rows = bus.json("topic", "offsets", "several:0,2", "mixed")
    assert [(row["topic"], row["partition"]) for row in rows] == [("mixed", 0), ("several", 0), ("several", 2)]
    text = bus.busctl("topic", "offsets", "several", "void").stdout
    assert "NEWEST TIME" in text and text.count("\n") == 5, text


with bus:
    bus.start()
    for name, function in (
        ("group list", listed),
        ("group describe", described),
        ("group describe of members that speak no consumer protocol", own_words),
        ("group reset --to each place", reset_places),
        ("group reset of partitions, topics, all", reset_scope),
        ("group reset --dry-run and --execute", dry_run),
        ("group reset to what is no more", below_log_start),
        ("group reset --to time, and to times to come", future),
        ("a group with members is left alone", live),
        ("a static member that was stopped is still one", static_member),
        ("names that command terminals", hostile_names),
        ("group delete and delete-offsets", deleted),
        ("offsets go with their topic", topic_gone),
        ("a reset survives a crash of busd", survives),
        ("mistakes are told", mistakes),
        ("topic offsets", offsets),
    ):
        tap.run(name, function)
    tap.done()
