#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""python3-kafka as one of the clients of kafka_clients.py; JOBS.md says what a job is."""

import signal
import sys

import kafka
from kafka import admin
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

import job

ASSIGNORS = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor}


def settings(work, **more):
    common = {"bootstrap_servers": work["servers"], "client_id": "interop-kafka-python"}
    names = {
        "protocol": "security_protocol",
        "mechanism": "sasl_mechanism",
        "user": "sasl_plain_username",
        "password": "sasl_plain_password",
        "ca": "ssl_cafile",
    }
    for name, value in work.get("security", {}).items():
        common[names[name]] = value
    return {**common, **more}


def produce(work):
    codec = work.get("codec", "none")
    producer = kafka.KafkaProducer(
        **settings(
            work,
            compression_type=None if codec == "none" else codec,
            acks={-1: "all"}.get(work.get("acks", -1), work.get("acks")),
            linger_ms=20,
            max_request_size=20_000_000,
            buffer_memory=64_000_000,
        )
    )
    futures = [
        producer.send(
            work["topic"],
            partition=record.get("partition"),
            key=job.decode(record.get("key")),
            value=job.decode(record.get("value")),
            headers=[(name, job.decode(value)) for name, value in record.get("headers", [])],
            timestamp_ms=record.get("timestamp"),
        )
        for record in work["records"]
    ]
    for future in futures:
        told = future.get(60)
        job.tell({"partition": told.partition, "offset": told.offset})
    producer.close()


def told_record(message):
    return job.record(
        message.partition, message.offset, message.timestamp, message.key, message.value, message.headers
    )


def consume(work):
    consumer = kafka.KafkaConsumer(**settings(work, consumer_timeout_ms=60000, enable_auto_commit=False))
    assigned = [kafka.TopicPartition(work["topic"], partition) for partition in work["partitions"]]
    consumer.assign(assigned)
    for partition in assigned:
        consumer.seek(partition, work.get("from", 0))
    left = work["count"]
    while left > 0:
        job.tell(told_record(next(consumer)))
        left -= 1
    consumer.close()


def time(work):
    consumer = kafka.KafkaConsumer(**settings(work))
    partition = kafka.TopicPartition(work["topic"], work["partition"])
    found = consumer.offsets_for_times({partition: work["timestamp"]})[partition]
    job.tell({"offset": found.offset if found else -1})
    consumer.close()


class Listener(kafka.ConsumerRebalanceListener):
    def on_partitions_assigned(self, assigned):
        job.tell({"event": "assigned", "partitions": sorted(p.partition for p in assigned)})

    def on_partitions_revoked(self, revoked):
        job.tell({"event": "revoked", "partitions": sorted(p.partition for p in revoked)})


def group(work):
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    consumer = kafka.KafkaConsumer(
        **settings(
            work,
            group_id=work["group"],
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=work.get("session_ms", 6000),
            heartbeat_interval_ms=500,
            partition_assignment_strategy=[ASSIGNORS[work.get("assignor", "range")]],
        )
    )
    consumer.subscribe(work["topics"], listener=Listener())
    while not ended:
        for messages in consumer.poll(timeout_ms=200).values():
            for message in messages:
                job.tell({"event": "record", **told_record(message)})
        consumer.commit()
    consumer.close()


def step(client, name, *arguments):
    if name == "create":
        topic, partitions, config = arguments
        client.create_topics([admin.NewTopic(topic, partitions, 1, topic_configs=config)])
        return True
    if name == "grow":
        client.create_partitions({arguments[0]: admin.NewPartitions(arguments[1])})
        return True
    if name == "delete":
        client.delete_topics(list(arguments))
        return True
    if name == "alter":
        client.alter_configs(
            [admin.ConfigResource(admin.ConfigResourceType.TOPIC, arguments[0], arguments[1])]
        )
        return True
    if name == "configs":
        asked = admin.ConfigResource(admin.ConfigResourceType.TOPIC, arguments[0])
        told = client.describe_configs([asked])[0].resources[0]
        return {entry[0]: entry[1] for entry in told[4]}
    if name == "topics":
        return {t["topic"]: len(t["partitions"]) for t in client.describe_topics()}
    if name == "groups":
        return sorted(found[0] for found in client.list_consumer_groups())
    raise ValueError(name)


def administer(work):
    client = admin.KafkaAdminClient(**settings(work))
    for name, *arguments in work["steps"]:
        job.tell({"step": name, "result": step(client, name, *arguments)})


if __name__ == "__main__":
    job.run(
        sys.argv[1],
        {"produce": produce, "consume": consume, "time": time, "group": group, "admin": administer},
    )
