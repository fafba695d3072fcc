# SPDX-License-Identifier: Apache-2.0
"""Consumer groups in every version that busd announces."""

import wire_client
from wire_client import connection, rig
from wire_client.rig import NO_OPERATIONS, NODE, each, exactly, same, since, with_bus

FAST = {"group.min.session.timeout.ms": 500, "group.initial.rebalance.delay.ms": 0}
ALONE = {"ProtocolType": "consumer", "Protocols": [{"Name": "range", "Metadata": b"\0\1meta"}]}


def join(client, version, group, member="", instance=None, **values):
    return client.call(
        "JoinGroup",
        version,
        GroupId=group,
        SessionTimeoutMs=30000,
        RebalanceTimeoutMs=60000,
        MemberId=member,
        GroupInstanceId=instance,
        Reason="because",
        **{**ALONE, **values},
    )


def enter(client, group, version=9):
    """A member of its own in a stable group; gives its id and the generation."""
    answer = join(client, version, group)
    if answer["ErrorCode"] == 79:
        answer = join(client, version, group, answer["MemberId"])
    assert answer["ErrorCode"] == 0, answer
    share = [{"MemberId": answer["MemberId"], "Assignment": b"share"}]
    synced = client.call(
        "SyncGroup",
        5,
        GroupId=group,
        GenerationId=answer["GenerationId"],
        MemberId=answer["MemberId"],
        ProtocolType="consumer",
        ProtocolName="range",
        Assignments=share,
    )
    same(synced, {"ErrorCode": 0, "Assignment": b"share"})
    return answer["MemberId"], answer["GenerationId"]


# ---- FindCoordinator ----------------------------------------------------------------------------


@with_bus(**FAST)
def coordinator(bus, client):
    """Where Metadata says that the node is."""
    (node,) = client.call("Metadata", 1, Topics=[])["Brokers"]
    here = {"NodeId": NODE, "Host": node["Host"], "Port": node["Port"]}
    nowhere = {"NodeId": -1, "Host": "", "Port": -1}
    for version, client in each(bus, "FindCoordinator"):
        for key_type, error in ((0, 0), (1, 15), (7, 42)):
            if version == 0 and key_type:
                continue
            answer = client.call(
                "FindCoordinator", version, Key="g", KeyType=key_type, CoordinatorKeys=["g", "h"]
            )
            place = nowhere if error else here
            rows = answer.get("Coordinators", [answer])
            for row in rows:
                assert bool(row.pop("ErrorMessage", error)) == bool(error)
            if version >= 4:
                found = [{"Key": key, **place, "ErrorCode": error} for key in ("g", "h")]
                exactly(answer, {"ThrottleTimeMs": 0, "Coordinators": found})
            else:
                exactly(answer, {**since(version, 1, ThrottleTimeMs=0), "ErrorCode": error, **place})


# ---- members ------------------------------------------------------------------------------------


def joined(version, answer, group, generation):
    member = answer["MemberId"]
    exactly(
        answer,
        {
            **since(version, 2, ThrottleTimeMs=0),
            "ErrorCode": 0,
            "GenerationId": generation,
            **since(version, 7, ProtocolType="consumer"),
            "ProtocolName": "range",
            "Leader": member,
            **since(version, 9, SkipAssignment=False),
            "MemberId": member,
            "Members": [
                {"MemberId": member, **since(version, 5, GroupInstanceId=None), "Metadata": b"\0\1meta"}
            ],
        },
    )


@with_bus(**FAST)
def joins(bus, _):
    for version, client in each(bus, "JoinGroup"):
        group = f"g{version}{client.strange}"
        answer = join(client, version, group)
        if version >= 4:
            member = answer["MemberId"]
            assert member.startswith("wire-") and len(member) > 20
            same(answer, {"ErrorCode": 79, "GenerationId": -1, "Leader": "", "Members": []})
            assert answer["ProtocolName"] == (None if version >= 7 else "")
            answer = join(client, version, group, member)
            assert answer["MemberId"] == member
        joined(version, answer, group, 1)
        same(join(client, version, group, "stranger"), {"ErrorCode": 25})
        same(join(client, version, "", ""), {"ErrorCode": 24})
        short = {"SessionTimeoutMs": 1, "GroupId": "x", "RebalanceTimeoutMs": 1, **ALONE}
        same(client.call("JoinGroup", version, **short), {"ErrorCode": 26})
        same(join(client, version, group, ProtocolType="other"), {"ErrorCode": 23})
        leave(client, group, answer["MemberId"])


def leave(client, group, member):
    answer = client.call("LeaveGroup", 0, GroupId=group, MemberId=member)
    assert answer["ErrorCode"] == 0


@with_bus(**FAST)
def static_members(bus, _):
    """Who has an instance id takes its place again; who had it is fenced."""
    for version, client in each(bus, "JoinGroup"):
        if version < 5:
            continue
        group = f"g{version}{client.strange}"
        first = join(client, version, group, instance="i1")
        same(first, {"ErrorCode": 0, "GenerationId": 1})
        assert first["MemberId"].startswith("i1-"), first
        assert first["Members"][0]["GroupInstanceId"] == "i1"
        share = [{"MemberId": first["MemberId"], "Assignment": b"mine"}]
        told = {"GroupId": group, "GenerationId": 1, "MemberId": first["MemberId"]}
        same(client.call("SyncGroup", 3, **told, Assignments=share), {"ErrorCode": 0})
        again = join(client, version, group, instance="i1")
        same(again, {"ErrorCode": 0, "GenerationId": 1})
        assert again["MemberId"] != first["MemberId"]
        if version >= 9:
            assert again["SkipAssignment"] is True and again["Leader"] == again["MemberId"]
        else:
            assert again["Leader"] == first["MemberId"] and again["Members"] == []
        same(client.call("Heartbeat", 4, **told, GroupInstanceId="i1"), {"ErrorCode": 82})


@with_bus(**FAST)
def syncs(bus, client):
    for version, client in each(bus, "SyncGroup"):
        group = f"g{version}{client.strange}"
        member, generation = enter(client, group)

        def sync(**values):
            told = {"GroupId": group, "GenerationId": generation, "MemberId": member,
                    "ProtocolType": "consumer", "ProtocolName": "range", **values}  # fmt: skip
            return client.call("SyncGroup", version, **told)

        throttle = since(version, 1, ThrottleTimeMs=0)
        names = since(version, 5, ProtocolType="consumer", ProtocolName="range")
        exactly(sync(), {**throttle, "ErrorCode": 0, **names, "Assignment": b"share"})
        nothing = since(version, 5, ProtocolType=None, ProtocolName=None)
        for values, error in (
            ({"GenerationId": 8}, 22),
            ({"MemberId": "x"}, 25),
            ({"GroupId": "nobody"}, 25),
            *([({"ProtocolName": "other"}, 23)] if version >= 5 else []),
        ):
            exactly(sync(**values), {**throttle, "ErrorCode": error, **nothing, "Assignment": b""})


@with_bus(**FAST)
def heartbeats(bus, _):
    for version, client in each(bus, "Heartbeat"):
        group = f"g{version}{client.strange}"
        member, generation = enter(client, group)
        for values, error in (
            ({}, 0),
            ({"GenerationId": 9}, 22),
            ({"MemberId": "x"}, 25),
            ({"GroupId": "nobody"}, 25),
        ):
            told = {"GroupId": group, "GenerationId": generation, "MemberId": member, **values}
            exactly(
                client.call("Heartbeat", version, **told),
                {**since(version, 1, ThrottleTimeMs=0), "ErrorCode": error},
            )


@with_bus(**FAST)
def leaves(bus, _):
    for version, client in each(bus, "LeaveGroup"):
        group = f"g{version}{client.strange}"
        member, _ = enter(client, group)
        throttle = since(version, 1, ThrottleTimeMs=0)
        if version < 3:
            for name, error in (("x", 25), (member, 0), (member, 25)):
                answer = client.call("LeaveGroup", version, GroupId=group, MemberId=name)
                exactly(answer, {**throttle, "ErrorCode": error})
            continue
        gone = [{"MemberId": name, "GroupInstanceId": None, "Reason": "bye"} for name in ("x", member)]
        answer = client.call("LeaveGroup", version, GroupId=group, Members=gone)
        rows = [
            {"MemberId": name, "GroupInstanceId": None, "ErrorCode": error}
            for name, error in (("x", 25), (member, 0))
        ]
        exactly(answer, {**throttle, "ErrorCode": 0, "Members": rows})
        exactly(
            client.call("LeaveGroup", version, GroupId="", Members=gone),
            {**throttle, "ErrorCode": 24, "Members": []},
        )


# ---- offsets ------------------------------------------------------------------------------------


def commit(client, version, group, offset, partition=0, generation=-1, member="", **values):
    row = {"PartitionIndex": partition, "CommittedOffset": offset, "CommittedLeaderEpoch": 3, **values}
    return client.call(
        "OffsetCommit",
        version,
        GroupId=group,
        GenerationIdOrMemberEpoch=generation,
        MemberId=member,
        RetentionTimeMs=-1,
        Topics=[{"Name": "t", "Partitions": [{"CommittedMetadata": "note", **row}]}],
    )


@with_bus(**FAST)
def commits(bus, own):
    rig.create(own, "t", 2)
    for version, client in each(bus, "OffsetCommit"):
        group = f"g{version}{client.strange}"

        def expect(error, *arguments, **values):
            answer = commit(client, version, group, *arguments, **values)
            row = {"PartitionIndex": values.get("partition", 0), "ErrorCode": error}
            topics = [{"Name": "t", "Partitions": [row]}]
            exactly(answer, {**since(version, 3, ThrottleTimeMs=0), "Topics": topics})

        expect(0, 41)
        expect(0, 42, CommittedMetadata=None)
        expect(3, 42, partition=5)
        expect(12, 42, CommittedMetadata="x" * 5000)
        expect(25, 42, generation=4, member="x")
        answer = own.call("OffsetFetch", 5, GroupId=group, Topics=None)
        same(
            answer["Topics"][0]["Partitions"][0],
            {"CommittedOffset": 42, "CommittedLeaderEpoch": 3 if version >= 6 else -1, "Metadata": ""},
        )
        member, generation = enter(client, group)
        expect(0, 43, generation=generation, member=member)
        expect(22, 43, generation=generation + 1, member=member)
        expect(25, 43, generation=generation, member="x")
        expect(25, 43)
        group = "nobody"
        expect(22 if version < 9 else 69, 1, generation=4, member="x")


@with_bus(**FAST)
def fetches(bus, own):
    rig.create(own, "t", 2)
    commit(own, 9, "g", 7)
    for version, client in each(bus, "OffsetFetch"):
        epoch = since(version, 5, CommittedLeaderEpoch=3)
        here = {"PartitionIndex": 0, "CommittedOffset": 7, **epoch, "Metadata": "note", "ErrorCode": 0}
        empty = {**here, "PartitionIndex": 1, "CommittedOffset": -1, "Metadata": ""}
        empty.update({name: -1 for name in epoch})
        throttle = since(version, 3, ThrottleTimeMs=0)
        wanted = [{"Name": "t", "PartitionIndexes": [0, 1]}]
        both, one = [{"Name": "t", "Partitions": [here, empty]}], [{"Name": "t", "Partitions": [here]}]
        none = [{"Name": "t", "Partitions": [{**empty, "PartitionIndex": 0}, empty]}]
        if version < 8:
            error = since(version, 2, ErrorCode=0)
            cases = [("g", wanted, both), ("nobody", wanted, none), ("g", [], [])]
            for group, topics, rows in cases + [("g", None, one)] * (version >= 2):
                answer = client.call("OffsetFetch", version, GroupId=group, Topics=topics, RequireStable=True)
                exactly(answer, {**throttle, "Topics": rows, **error})
            continue
        groups = [
            {"GroupId": "g", "MemberId": None, "MemberEpoch": -1, "Topics": wanted},
            {"GroupId": "nobody", "Topics": wanted},
            {"GroupId": "g", "Topics": None},
            {"GroupId": "g", "Topics": []},
        ]
        answer = client.call("OffsetFetch", version, Groups=groups, RequireStable=True)
        rows = [
            {"GroupId": group, "Topics": topics, "ErrorCode": 0}
            for group, topics in (("g", both), ("nobody", none), ("g", one), ("g", []))
        ]
        exactly(answer, {**throttle, "Groups": rows})


@with_bus(**FAST)
def offset_delete(bus, own):
    rig.create(own, "t", 2)
    commit(own, 9, "g", 7)
    for version, client in each(bus, "OffsetDelete"):
        parts = [{"PartitionIndex": 0}, {"PartitionIndex": 9}]
        answer = client.call("OffsetDelete", version, GroupId="g", Topics=[{"Name": "t", "Partitions": parts}])
        rows = [{"PartitionIndex": 0, "ErrorCode": 0}, {"PartitionIndex": 9, "ErrorCode": 3}]
        exactly(answer, {"ErrorCode": 0, "ThrottleTimeMs": 0, "Topics": [{"Name": "t", "Partitions": rows}]})
        answer = client.call("OffsetDelete", version, GroupId="nobody", Topics=[])
        exactly(answer, {"ErrorCode": 69, "ThrottleTimeMs": 0, "Topics": []})


# ---- looking at groups --------------------------------------------------------------------------


@with_bus(**FAST)
def describe(bus, own):
    rig.create(own, "t")
    member, _ = enter(own, "g")
    commit(own, 9, "simple", 7)
    for version, client in each(bus, "DescribeGroups"):
        answer = client.call(
            "DescribeGroups", version, Groups=["g", "simple", "nobody"], IncludeAuthorizedOperations=False
        )

        def group(name, state, error=0, **values):
            return {
                "ErrorCode": error,
                **since(version, 6, ErrorMessage=None),
                "GroupId": name,
                "GroupState": state,
                "ProtocolType": "",
                "ProtocolData": "",
                "Members": [],
                **since(version, 3, AuthorizedOperations=NO_OPERATIONS),
                **values,
            }

        host = answer["Groups"][0]["Members"][0]["ClientHost"]
        assert host
        members = [
            {
                "MemberId": member,
                **since(version, 4, GroupInstanceId=None),
                "ClientId": "wire",
                "ClientHost": host,
                "MemberMetadata": b"\0\1meta",
                "MemberAssignment": b"share",
            }
        ]
        told = answer["Groups"][2].get("ErrorMessage")
        assert bool(told) == (version >= 6)
        rows = [
            group("g", "Stable", ProtocolType="consumer", ProtocolData="range", Members=members),
            group("simple", "Empty"),
            group("nobody", "Dead", 69 if version >= 6 else 0, **since(version, 6, ErrorMessage=told)),
        ]
        exactly(answer, {**since(version, 1, ThrottleTimeMs=0), "Groups": rows})
        if version >= 3:
            answer = client.call("DescribeGroups", version, Groups=["g"], IncludeAuthorizedOperations=True)
            assert answer["Groups"][0]["AuthorizedOperations"] & 1 << 3


@with_bus(**FAST)
def lists(bus, own):
    rig.create(own, "t")
    enter(own, "g")
    commit(own, 9, "simple", 7)
    for version, client in each(bus, "ListGroups"):

        def row(name, kind, state):
            state = since(version, 4, GroupState=state)
            return {"GroupId": name, "ProtocolType": kind, **state, **since(version, 5, GroupType="classic")}

        rows = [row("g", "consumer", "Stable"), row("simple", "", "Empty")]

        def ask(**values):
            answer = client.call("ListGroups", version, **values)
            answer["Groups"].sort(key=lambda group: group["GroupId"])
            return answer

        head = {**since(version, 1, ThrottleTimeMs=0), "ErrorCode": 0}
        exactly(ask(), {**head, "Groups": rows})
        if version >= 4:
            exactly(ask(StatesFilter=["stable"]), {**head, "Groups": rows[:1]})
        if version >= 5:
            exactly(ask(TypesFilter=["consumer"]), {**head, "Groups": []})
            exactly(ask(TypesFilter=["Classic"]), {**head, "Groups": rows})


@with_bus(**FAST)
def deletes(bus, own):
    rig.create(own, "t")
    enter(own, "busy")
    for version, client in each(bus, "DeleteGroups"):
        commit(own, 9, "simple", 7)
        names = ["simple", "busy", "nobody", ""]
        answer = client.call("DeleteGroups", version, GroupsNames=names)
        rows = [{"GroupId": name, "ErrorCode": code} for name, code in zip(names, (0, 68, 69, 24))]
        exactly(answer, {"ThrottleTimeMs": 0, "Results": rows})


rig.run("FindCoordinator: every version", coordinator)
rig.run("JoinGroup: every version", joins)
rig.run("JoinGroup: static members", static_members)
rig.run("SyncGroup: every version", syncs)
rig.run("Heartbeat: every version", heartbeats)
rig.run("LeaveGroup: every version", leaves)
rig.run("OffsetCommit: every version", commits)
rig.run("OffsetFetch: every version", fetches)
rig.run("OffsetDelete: every version", offset_delete)
rig.run("DescribeGroups: every version", describe)
rig.run("ListGroups: every version", lists)
rig.run("DeleteGroups: every version", deletes)
rig.done(wire_client.GROUPS)
