# SPDX-License-Identifier: Apache-2.0
"""Creating, changing, describing and deleting topics in every version that busd announces."""

import uuid

import wire_client
from wire_client import batches, codec, connection, rig
from wire_client.rig import NO_OPERATIONS, NODE, NOW, each, exactly, produce, same, since, with_bus

ONE = [(NOW, b"key", b"value", [])]
FROM_TOPIC, FROM_STATIC, FROM_DEFAULT = 1, 4, 5


def some_text(row, name="ErrorMessage"):
    """An error has a text, a success has none; gone afterwards."""
    if name in row:
        assert bool(row.pop(name)) == (row["ErrorCode"] != 0), row


# ---- CreateTopics, CreatePartitions --------------------------------------------------------------


@with_bus(**{"num.partitions": 3})
def creates(bus, _):
    for version, client in each(bus, "CreateTopics"):
        mark = f"{version}{client.strange}"

        def ask(validate=False, **values):
            topic = {"Name": "t" + mark, "NumPartitions": 2, "ReplicationFactor": 1, **values}
            answer = client.call(
                "CreateTopics", version, Topics=[topic], timeoutMs=10000, validateOnly=validate
            )
            (row,) = answer.pop("Topics")
            exactly(answer, {"ThrottleTimeMs": 0})
            some_text(row)
            assert row.pop("Name") == topic["Name"]
            return row

        def created(row, partitions, has_id=True, **configs):
            assert (row.pop("TopicId", codec.NOTHING) != codec.NOTHING) == (version >= 7 and has_id)
            found = {config["Name"]: config for config in row.pop("Configs", ())}
            exactly(row, {"ErrorCode": 0, **since(version, 5, NumPartitions=partitions, ReplicationFactor=1)})
            if version < 5:
                return
            for name, (value, source) in {"retention.bytes": ("-1", FROM_DEFAULT), **configs}.items():
                plain = {"ReadOnly": False, "IsSensitive": False}
                exactly(found[name], {"Name": name, "Value": value, "ConfigSource": source, **plain})

        def refused(row, error):
            none = since(version, 5, NumPartitions=-1, ReplicationFactor=-1, Configs=None)
            exactly(row, {**since(version, 7, TopicId=codec.NOTHING), "ErrorCode": error, **none})

        config = [{"Name": "retention.ms", "Value": "1000"}, {"Name": "max.message.bytes", "Value": None}]
        told = {"retention.ms": ("1000", FROM_TOPIC)}
        created(ask(True, Configs=config), 2, False, **told)
        created(ask(Configs=config), 2, **told)
        refused(ask(), 36)
        created(ask(Name="d" + mark, NumPartitions=-1, ReplicationFactor=-1), 3)
        placed = [{"PartitionIndex": i, "BrokerIds": [NODE]} for i in range(4)]
        by_hand = {"NumPartitions": -1, "ReplicationFactor": -1}
        created(ask(Name="a" + mark, Assignments=placed, **by_hand), 4)
        refused(ask(Name="x" + mark, Assignments=[{"PartitionIndex": 0, "BrokerIds": [99]}], **by_hand), 39)
        refused(ask(Name="x" + mark, NumPartitions=0), 37)
        refused(ask(Name="x" + mark, ReplicationFactor=3), 38)
        refused(ask(Name="x" + mark, Configs=[{"Name": "no.such", "Value": "1"}]), 40)
        refused(ask(Name="a/b"), 17)


@with_bus()
def grows(bus, own):
    for version, client in each(bus, "CreatePartitions"):
        name = f"t{version}{client.strange}"
        rig.create(own, name)
        for validate, count, placed, wanted, error in (
            (True, 3, None, name, 0),
            (False, 3, [{"BrokerIds": [NODE]}] * 2, name, 0),
            (False, 3, None, name, 37),
            (False, 4, [{"BrokerIds": [5]}], name, 39),
            (False, 4, None, "no", 3),
        ):
            topics = [{"Name": wanted, "Count": count, "Assignments": placed}]
            answer = client.call("CreatePartitions", version, Topics=topics, ValidateOnly=validate)
            some_text(answer["Results"][0])
            exactly(answer, {"ThrottleTimeMs": 0, "Results": [{"Name": wanted, "ErrorCode": error}]})
        (topic,) = own.call("Metadata", 1, Topics=[{"Name": name}])["Topics"]
        assert len(topic["Partitions"]) == 3


# ---- DeleteTopics, DeleteRecords -----------------------------------------------------------------


@with_bus()
def deletes(bus, own):
    for version, client in each(bus, "DeleteTopics"):
        topic_id, other = rig.create(own, "t"), uuid.UUID(int=5)

        def ask(*topics):
            names = [topic.get("Name") for topic in topics]
            answer = client.call("DeleteTopics", version, Topics=topics, TopicNames=names, TimeoutMs=1000)
            for row in answer["Responses"]:
                some_text(row)
            assert answer.pop("ThrottleTimeMs", 0) == 0
            return answer["Responses"]

        ids = since(version, 6, TopicId=topic_id), since(version, 6, TopicId=codec.NOTHING)
        exactly(
            ask({"Name": "t"}, {"Name": "no"}),
            [{"Name": "t", **ids[0], "ErrorCode": 0}, {"Name": "no", **ids[1], "ErrorCode": 3}],
        )
        exactly(ask({"Name": "t"}), [{"Name": "t", **ids[1], "ErrorCode": 3}])
        if version >= 6:
            again = rig.create(own, "t")
            assert again != topic_id
            gone = ({"Name": None, "TopicId": topic_id}, {"Name": None, "TopicId": again})
            rows = [(None, topic_id, 100), ("t", again, 0)]
            exactly(ask(*gone), [{"Name": n, "TopicId": i, "ErrorCode": e} for n, i, e in rows])
            exactly(
                ask({"Name": "t", "TopicId": other}), [{"Name": "t", "TopicId": other, "ErrorCode": 42}]
            )


@with_bus()
def cuts(bus, own):
    for version, client in each(bus, "DeleteRecords"):
        name = f"t{version}{client.strange}"
        rig.create(own, name)
        for _ in range(4):
            produce(own, name, batches.build(ONE))
        parts = [(0, 2), (0, 1), (0, 9), (3, 1), (0, -1)]
        answer = client.call(
            "DeleteRecords",
            version,
            Topics=[
                {"Name": name, "Partitions": [{"PartitionIndex": p, "Offset": o} for p, o in parts]},
                {"Name": "no", "Partitions": [{"PartitionIndex": 0, "Offset": 1}]},
            ],
            TimeoutMs=1000,
        )
        rows = [(0, 2, 0), (0, 2, 0), (0, -1, 1), (3, -1, 3), (0, 4, 0)]
        rows = [{"PartitionIndex": p, "LowWatermark": low, "ErrorCode": e} for p, low, e in rows]
        lost = [{"PartitionIndex": 0, "LowWatermark": -1, "ErrorCode": 3}]
        topics = [{"Name": name, "Partitions": rows}, {"Name": "no", "Partitions": lost}]
        exactly(answer, {"ThrottleTimeMs": 0, "Topics": topics})


# ---- DescribeTopicPartitions ---------------------------------------------------------------------


@with_bus()
def topic_pages(bus, own):
    ids = {name: rig.create(own, name, 3) for name in ("b", "a", "c")}
    for version, client in each(bus, "DescribeTopicPartitions"):

        def ask(names, limit=2000, cursor=None):
            answer = client.call(
                "DescribeTopicPartitions",
                version,
                Topics=[{"Name": name} for name in names],
                ResponsePartitionLimit=limit,
                Cursor=cursor,
            )
            assert answer.pop("ThrottleTimeMs") == 0
            for topic in answer["Topics"]:
                operations = topic.pop("TopicAuthorizedOperations")
                assert operations == NO_OPERATIONS if topic["ErrorCode"] else operations & 1 << 3
            return answer["Topics"], answer["NextCursor"]

        def topic(name, first=0, last=2, **values):
            part = {"ErrorCode": 0, "LeaderId": NODE, "LeaderEpoch": 0, "ReplicaNodes": [NODE],
                    "IsrNodes": [NODE], "EligibleLeaderReplicas": [], "LastKnownElr": [],
                    "OfflineReplicas": []}  # fmt: skip
            rows = [{**part, "PartitionIndex": i} for i in range(first, last + 1)]
            head = {"ErrorCode": 0, "Name": name, "TopicId": ids.get(name, codec.NOTHING), "IsInternal": False}
            return {**head, "Partitions": rows, **values}

        lost = topic("no", ErrorCode=3, Partitions=[])
        exactly(ask([]), ([topic("a"), topic("b"), topic("c")], None))
        exactly(ask(["no", "c", "a", "c"]), ([topic("a"), topic("c"), lost], None))
        here = {"TopicName": "b", "PartitionIndex": 1}
        exactly(ask([], 4), ([topic("a"), topic("b", last=0)], here))
        exactly(ask([], 5, here), ([topic("b", 1), topic("c")], None))
        exactly(ask([], 3), ([topic("a")], {"TopicName": "b", "PartitionIndex": 0}))


# ---- configurations ------------------------------------------------------------------------------


def config_of(version, name, value, source, kind, **values):
    return {"Name": name, "Value": value, "ReadOnly": False, "ConfigSource": source, "IsSensitive": False,
            "Synonyms": [], **since(version, 3, ConfigType=kind, Documentation=None), **values}  # fmt: skip


@with_bus(**{"log.retention.ms": 5000})
def describes_configs(bus, own):
    rig.create(own, "t", max_message_bytes=5000)
    for version, client in each(bus, "DescribeConfigs"):

        def ask(kind, name, keys, **values):
            resource = {"ResourceType": kind, "ResourceName": name, "ConfigurationKeys": keys}
            answer = client.call("DescribeConfigs", version, Resources=[resource], **values)
            (row,) = answer.pop("Results")
            exactly(answer, {"ThrottleTimeMs": 0})
            some_text(row)
            same(row, {"ResourceType": kind, "ResourceName": name})
            return row

        keys = ["max.message.bytes", "retention.ms", "no.such", "flush.ms"]
        row = ask(2, "t", keys)
        found = {config["Name"]: config for config in row["Configs"]}
        assert row["ErrorCode"] == 0 and set(found) <= set(keys)
        exactly(
            found["max.message.bytes"], config_of(version, "max.message.bytes", "5000", FROM_TOPIC, 3)
        )
        exactly(found["retention.ms"], config_of(version, "retention.ms", "5000", FROM_STATIC, 5))
        row = ask(2, "t", ["max.message.bytes"], IncludeSynonyms=True, IncludeDocumentation=True)
        (config,) = row["Configs"]
        assert bool(config.pop("Documentation", None)) == (version >= 3)
        synonyms = [(s["Name"], s["Value"], s["Source"]) for s in config["Synonyms"]]
        assert synonyms[0] == ("max.message.bytes", "5000", FROM_TOPIC), synonyms
        assert synonyms[-1] == ("message.max.bytes", "1048588", FROM_DEFAULT), synonyms
        assert len(ask(2, "t", None)["Configs"]) > 20
        for name in (str(NODE), ""):
            (config,) = ask(4, name, ["auto.create.topics.enable"])["Configs"]
            exactly(config, config_of(version, "auto.create.topics.enable", "false", FROM_DEFAULT, 1))
        for kind, name, error in ((2, "no", 3), (4, "77", 42), (99, "x", 42)):
            same(ask(kind, name, None), {"ErrorCode": error, "Configs": []})


def value_of(client, name):
    resource = {"ResourceType": 2, "ResourceName": "t", "ConfigurationKeys": [name]}
    (config,) = client.call("DescribeConfigs", 1, Resources=[resource])["Results"][0]["Configs"]
    return config["Value"]


@with_bus()
def alters_configs(bus, own):
    rig.create(own, "t", retention_ms=1)
    for version, client in each(bus, "AlterConfigs"):

        def ask(name="t", validate=False, kind=2, **configs):
            configs = [{"Name": k.replace("_", "."), "Value": v} for k, v in configs.items()]
            resource = {"ResourceType": kind, "ResourceName": name, "Configs": configs}
            answer = client.call("AlterConfigs", version, Resources=[resource], ValidateOnly=validate)
            (row,) = answer["Responses"]
            some_text(row)
            error = row["ErrorCode"]
            row = {"ErrorCode": error, "ResourceType": kind, "ResourceName": name}
            exactly(answer, {"ThrottleTimeMs": 0, "Responses": [row]})
            return error

        exactly((ask(retention_ms="77", segment_ms="1000000"), value_of(own, "retention.ms")), (0, "77"))
        exactly((ask(validate=True, retention_ms="78"), value_of(own, "retention.ms")), (0, "77"))
        # What is not named goes back to its default.
        exactly((ask(segment_ms="2000000"), value_of(own, "retention.ms")), (0, "604800000"))
        exactly([ask(no_such="1"), ask(retention_ms="x"), ask("no")], [40, 40, 3])
        exactly([ask("77", kind=4), ask("x", kind=99)], [42, 42])


@with_bus()
def alters_incrementally(bus, own):
    rig.create(own, "t")
    put, drop, append, subtract = range(4)
    for version, client in each(bus, "IncrementalAlterConfigs"):

        def ask(setting, operation, value, name="t", validate=False):
            configs = [{"Name": setting, "ConfigOperation": operation, "Value": value}]
            resource = {"ResourceType": 2, "ResourceName": name, "Configs": configs}
            answer = client.call(
                "IncrementalAlterConfigs", version, Resources=[resource], ValidateOnly=validate
            )
            (row,) = answer["Responses"]
            some_text(row)
            error = row["ErrorCode"]
            row = {"ErrorCode": error, "ResourceType": 2, "ResourceName": name}
            exactly(answer, {"ThrottleTimeMs": 0, "Responses": [row]})
            return error, value_of(own, setting) if not error else None

        exactly(ask("retention.ms", put, "5"), (0, "5"))
        exactly(ask("retention.ms", put, "6", validate=True), (0, "5"))
        exactly(ask("retention.ms", drop, None), (0, "604800000"))
        exactly(ask("cleanup.policy", append, "compact"), (0, "delete,compact"))
        exactly(ask("cleanup.policy", subtract, "compact"), (0, "delete"))
        exactly(ask("retention.ms", append, "7")[0], 40)
        exactly(ask("retention.ms", put, None)[0], 42)
        exactly(ask("retention.ms", 9, "1")[0], 42)
        exactly(ask("retention.ms", put, "1", name="no")[0], 3)


rig.run("CreateTopics: every version", creates)
rig.run("CreatePartitions: every version", grows)
rig.run("DeleteTopics: every version", deletes)
rig.run("DeleteRecords: every version", cuts)
rig.run("DescribeTopicPartitions: pages", topic_pages)
rig.run("DescribeConfigs: every version", describes_configs)
rig.run("AlterConfigs: every version", alters_configs)
rig.run("IncrementalAlterConfigs: every version", alters_incrementally)
rig.done(wire_client.TOPICS)
