# SPDX-License-Identifier: Apache-2.0
"""A Kafka client of our own that knows layouts.txt and nothing of shmbus."""

DATA = ("Produce", "Metadata", "ApiVersions", "InitProducerId")
READING = ("Fetch", "ListOffsets", "OffsetForLeaderEpoch")
GROUPS = (
    "OffsetCommit", "OffsetFetch", "FindCoordinator", "JoinGroup", "Heartbeat", "LeaveGroup",
    "SyncGroup", "DescribeGroups", "ListGroups", "DeleteGroups", "OffsetDelete",
)  # fmt: skip
ADMIN = (
    "CreateTopics", "DeleteTopics", "DeleteRecords", "DescribeConfigs", "AlterConfigs",
    "DescribeLogDirs", "CreatePartitions", "ElectLeaders", "IncrementalAlterConfigs",
    "AlterPartitionReassignments", "ListPartitionReassignments", "DescribeQuorum", "UpdateFeatures",
    "DescribeCluster", "DescribeProducers", "UnregisterBroker", "DescribeTransactions",
    "ListTransactions", "DescribeTopicPartitions",
)  # fmt: skip

# Which test drives what; each of them ends by saying that it left out no version.
DRIVEN = DATA + READING + GROUPS + ADMIN
