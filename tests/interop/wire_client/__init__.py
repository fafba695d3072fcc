# SPDX-License-Identifier: Apache-2.0
"""A Kafka client of our own that knows layouts.txt and nothing of shmbus."""

DATA = ("Produce", "Metadata", "ApiVersions", "InitProducerId")
READING = ("Fetch", "ListOffsets", "OffsetForLeaderEpoch")
GROUPS = (
    "OffsetCommit", "OffsetFetch", "FindCoordinator", "JoinGroup", "Heartbeat", "LeaveGroup",
    "SyncGroup", "DescribeGroups", "ListGroups", "DeleteGroups", "OffsetDelete",
)  # fmt: skip
TOPICS = (
    "CreateTopics", "CreatePartitions", "DeleteTopics", "DeleteRecords", "DescribeTopicPartitions",
    "DescribeConfigs", "AlterConfigs", "IncrementalAlterConfigs",
)  # fmt: skip
CLUSTER = (
    "DescribeCluster", "DescribeLogDirs", "ElectLeaders", "AlterPartitionReassignments",
    "ListPartitionReassignments", "DescribeQuorum", "UpdateFeatures", "UnregisterBroker",
    "DescribeProducers", "ListTransactions", "DescribeTransactions",
)  # fmt: skip

# Which test drives what; each of them ends by saying that it left out no version.
DRIVEN = DATA + READING + GROUPS + TOPICS + CLUSTER
