# SPDX-License-Identifier: Apache-2.0
"""What one node says of cluster, disk, producers and transactions, in every version."""

import wire_client
from wire_client import batches, connection, rig
from wire_client.rig import NO_OPERATIONS, NODE, NOW, each, exactly, produce, since, with_bus

ONE = [(NOW, b"key", b"value", [])]


@with_bus()
def describe_cluster(bus, own):
    (node,) = own.call("Metadata", 1, Topics=[])["Brokers"]
    broker = {"BrokerId": NODE, "Host": node["Host"], "Port": node["Port"], "Rack": None}
    for version, client in each(bus, "DescribeCluster"):
        for asked in (False, True):
            answer = client.call("DescribeCluster", version, IncludeClusterAuthorizedOperations=asked)
            operations = answer.pop("ClusterAuthorizedOperations")
            assert operations & 1 << 8 if asked else operations == NO_OPERATIONS
            assert answer.pop("ClusterId")
            head = {"ThrottleTimeMs": 0, "ErrorCode": 0, "ErrorMessage": None}
            kind = since(version, 1, EndpointType=1)
            exactly(answer, {**head, **kind, "ControllerId": NODE, "Brokers": [broker]})
        for kind, error in ((2, 114), (3, 115)) * (version >= 1):
            answer = client.call("DescribeCluster", version, EndpointType=kind)
            assert answer["ErrorCode"] == error and answer["ErrorMessage"] and answer["Brokers"] == []


@with_bus()
def log_dirs(bus, own):
    rig.create(own, "t", 2)
    rig.create(own, "empty")
    size = sum(len(batches.build(ONE)) for _ in range(3) if not produce(own, "t", batches.build(ONE))["ErrorCode"])
    for version, client in each(bus, "DescribeLogDirs"):

        def part(index, size):
            return {"PartitionIndex": index, "PartitionSize": size, "OffsetLag": 0, "IsFutureKey": False}

        def ask(topics):
            answer = client.call("DescribeLogDirs", version, Topics=topics)
            (folder,) = answer.pop("Results")
            exactly(answer, {"ThrottleTimeMs": 0, **since(version, 3, ErrorCode=0)})
            total, usable = folder.pop("TotalBytes", 2), folder.pop("UsableBytes", 1)
            assert total >= usable > 0, (total, usable)
            found = folder.pop("Topics")
            exactly(folder, {"ErrorCode": 0, "LogDir": str(bus.data)})
            return sorted(found, key=lambda topic: topic["Name"])

        both = {"Name": "t", "Partitions": [part(0, size), part(1, 0)]}
        exactly(ask(None), [{"Name": "empty", "Partitions": [part(0, 0)]}, both])
        wanted = [{"Topic": "t", "Partitions": [1, 8, 0]}, {"Topic": "no", "Partitions": [0]}]
        exactly(ask(wanted), [{"Name": "t", "Partitions": both["Partitions"][::-1]}])
        exactly(ask([]), [])


@with_bus()
def elections(bus, own):
    rig.create(own, "t", 2)
    for version, client in each(bus, "ElectLeaders"):
        wanted = [{"Topic": "t", "Partitions": [0, 5]}, {"Topic": "no", "Partitions": [0]}]
        for kind in (0, 1)[: 1 + (version >= 1)]:
            answer = client.call("ElectLeaders", version, ElectionType=kind, TopicPartitions=wanted)
            head = {"ThrottleTimeMs": 0, **since(version, 1, ErrorCode=0)}
            rows = answer["ReplicaElectionResults"]
            for topic in rows:
                for row in topic["PartitionResult"]:
                    assert row.pop("ErrorMessage")
            found = [
                {"Topic": "t", "PartitionResult": [
                    {"PartitionId": 0, "ErrorCode": 84}, {"PartitionId": 5, "ErrorCode": 3},
                ]},
                {"Topic": "no", "PartitionResult": [{"PartitionId": 0, "ErrorCode": 3}]},
            ]  # fmt: skip
            exactly(answer, {**head, "ReplicaElectionResults": found})
            answer = client.call("ElectLeaders", version, ElectionType=kind, TopicPartitions=None)
            exactly(answer, {**head, "ReplicaElectionResults": []})
        if version >= 1:
            answer = client.call("ElectLeaders", version, ElectionType=9, TopicPartitions=wanted)
            exactly(answer, {"ThrottleTimeMs": 0, "ErrorCode": 42, "ReplicaElectionResults": []})


@with_bus()
def reassignments(bus, own):
    rig.create(own, "t", 2)
    head = {"ThrottleTimeMs": 0, "ErrorCode": 0, "ErrorMessage": None}
    for version, client in each(bus, "AlterPartitionReassignments"):
        moves = [(0, [NODE], 0), (1, None, 85), (1, [5], 39), (1, [], 39), (7, [NODE], 3)]
        parts = [{"PartitionIndex": index, "Replicas": nodes} for index, nodes, _ in moves]
        answer = client.call("AlterPartitionReassignments", version, Topics=[{"Name": "t", "Partitions": parts}])
        for row in answer["Responses"][0]["Partitions"]:
            assert bool(row.pop("ErrorMessage")) == bool(row["ErrorCode"])
        rows = [{"PartitionIndex": index, "ErrorCode": error} for index, _, error in moves]
        exactly(answer, {**head, "Responses": [{"Name": "t", "Partitions": rows}]})
    for version, client in each(bus, "ListPartitionReassignments"):
        for topics in (None, [{"Name": "t", "PartitionIndexes": [0]}]):
            exactly(client.call("ListPartitionReassignments", version, Topics=topics), {**head, "Topics": []})


@with_bus()
def quorum(bus, own):
    (node,) = own.call("Metadata", 1, Topics=[])["Brokers"]
    rig.create(own, "t")
    for version, client in each(bus, "DescribeQuorum"):
        wanted = [("__cluster_metadata", 0), ("__cluster_metadata", 4), ("t", 0)]
        answer = client.call(
            "DescribeQuorum",
            version,
            Topics=[{"TopicName": name, "Partitions": [{"PartitionIndex": p}]} for name, p in wanted],
        )
        if version >= 2:
            (told,) = answer.pop("Nodes")
            port = [listener["Port"] for listener in told["Listeners"]]
            assert told["NodeId"] == NODE and port == [node["Port"]] * (node["Port"] > 0)
        rows = [topic.pop("Partitions") for topic in answer["Topics"]]
        names = [{"TopicName": name} for name, _ in wanted]
        text = since(version, 2, ErrorMessage=None)
        exactly(answer, {"ErrorCode": 0, **text, "Topics": names})
        ((log,), (lost,), (other,)) = rows
        (voter,) = log.pop("CurrentVoters")
        end = voter["LogEndOffset"]
        assert end > 0 and voter["ReplicaId"] == NODE
        if version >= 1:
            assert min(voter["LastFetchTimestamp"], voter["LastCaughtUpTimestamp"]) > NOW
        head = {"PartitionIndex": 0, "ErrorCode": 0, **text, "LeaderId": NODE, "LeaderEpoch": 1}
        exactly(log, {**head, "HighWatermark": end, "Observers": []})
        assert lost["ErrorCode"] == other["ErrorCode"] == 3 and lost["PartitionIndex"] == 4


@with_bus()
def features(bus, _):
    for version, client in each(bus, "UpdateFeatures"):
        wanted = [{"Feature": "metadata.version", "MaxVersionLevel": 20}]
        answer = client.call("UpdateFeatures", version, FeatureUpdates=wanted)
        if version < 2:
            assert answer["Results"][0].pop("ErrorMessage")
            rows = [{"Feature": "metadata.version", "ErrorCode": 95}]
            exactly(answer, {"ThrottleTimeMs": 0, "ErrorCode": 0, "ErrorMessage": None, "Results": rows})
        else:
            assert answer.pop("ErrorMessage")
            exactly(answer, {"ThrottleTimeMs": 0, "ErrorCode": 95})
        answer = client.call("UpdateFeatures", version, FeatureUpdates=[])
        nothing = {"Results": []} if version < 2 else {}
        exactly(answer, {"ThrottleTimeMs": 0, "ErrorCode": 0, "ErrorMessage": None, **nothing})


@with_bus()
def unregister(bus, _):
    for version, client in each(bus, "UnregisterBroker"):
        for node, error in ((55, 102), (NODE, 42)):
            answer = client.call("UnregisterBroker", version, BrokerId=node)
            assert answer.pop("ErrorMessage")
            exactly(answer, {"ThrottleTimeMs": 0, "ErrorCode": error})


@with_bus()
def producers(bus, own):
    rig.create(own, "t", 2)
    known = own.call("InitProducerId", 5, ProducerId=-1, ProducerEpoch=-1)["ProducerId"]
    for first, count in ((0, 1), (1, 3)):
        fields = {"ProducerId": known, "ProducerEpoch": 0, "BaseSequence": first}
        assert produce(own, "t", batches.build(ONE * count, **fields))["ErrorCode"] == 0
    for version, client in each(bus, "DescribeProducers"):
        wanted = [{"Name": "t", "PartitionIndexes": [0, 1, 6]}, {"Name": "no", "PartitionIndexes": [0]}]
        answer = client.call("DescribeProducers", version, Topics=wanted)
        parts = [row for topic in answer["Topics"] for row in topic.pop("Partitions")]
        exactly(answer, {"ThrottleTimeMs": 0, "Topics": [{"Name": "t"}, {"Name": "no"}]})
        (producer,) = parts[0].pop("ActiveProducers")
        assert producer.pop("LastTimestamp") > NOW
        none = {"CoordinatorEpoch": -1, "CurrentTxnStartOffset": -1}
        exactly(producer, {"ProducerId": known, "ProducerEpoch": 0, "LastSequence": 3, **none})
        for row, index, error in zip(parts, (0, 1, 6, 0), (0, 0, 3, 3)):
            assert bool(row.pop("ErrorMessage")) == bool(error) and not row.pop("ActiveProducers", None)
            exactly(row, {"PartitionIndex": index, "ErrorCode": error})


@with_bus()
def transactions(bus, _):
    for version, client in each(bus, "ListTransactions"):
        filters = {"ProducerIdFilters": [1], "DurationFilter": 5}
        answer = client.call("ListTransactions", version, StateFilters=["Ongoing", "Odd"], **filters)
        head = {"ThrottleTimeMs": 0, "ErrorCode": 0}
        exactly(answer, {**head, "UnknownStateFilters": ["Odd"], "TransactionStates": []})
    for version, client in each(bus, "DescribeTransactions"):
        answer = client.call("DescribeTransactions", version, TransactionalIds=["x", ""])
        assert answer.pop("ThrottleTimeMs") == 0
        found = [(row["TransactionalId"], row["ErrorCode"]) for row in answer["TransactionStates"]]
        exactly(found, [("x", 105), ("", 42)])


rig.run("DescribeCluster: every version", describe_cluster)
rig.run("DescribeLogDirs: every version", log_dirs)
rig.run("ElectLeaders: every version", elections)
rig.run("Alter- and ListPartitionReassignments", reassignments)
rig.run("DescribeQuorum: every version", quorum)
rig.run("UpdateFeatures: every version", features)
rig.run("UnregisterBroker", unregister)
rig.run("DescribeProducers", producers)
rig.run("List- and DescribeTransactions", transactions)
rig.done(wire_client.CLUSTER)
