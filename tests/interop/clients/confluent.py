#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""confluent-kafka (librdkafka) as one of the clients of kafka_clients.py; JOBS.md says what a job is."""

import signal
import sys

import confluent_kafka
from confluent_kafka import admin

import job

END = confluent_kafka.TopicPartition


def settings(work, **more):
    common = {"bootstrap.servers": work["servers"], "client.id": "interop-confluent"}
    for name, value in work.get("security", {}).items():
        common[
            {
                "protocol": "security.protocol",
                "mechanism": "sasl.mechanism",
                "user": "sasl.username",
                "password": "sasl.password",
                "ca": "ssl.ca.location",
            }[name]
        ] = value
    return {**common, **more}


def raise_for(error):
    if error:
        raise confluent_kafka.KafkaException(error)


def produce(work):
    told = {}

    def delivered(number):
        def note(error, message):
            raise_for(error)
            told[number] = {"partition": message.partition(), "offset": message.offset()}

        return note

    producer = confluent_kafka.Producer(
        settings(
            work,
            **{
                "compression.type": work.get("codec", "none"),
                "acks": work.get("acks", -1),
                "enable.idempotence": work.get("idempotent", False),
                "linger.ms": 20,
                "message.max.bytes": 20_000_000,
            },
        )
    )
    for number, record in enumerate(work["records"]):
        producer.produce(
            work["topic"],
            partition=record.get("partition", -1),
            key=job.decode(record.get("key")),
            value=job.decode(record.get("value")),
            headers=[(name, job.decode(value)) for name, value in record.get("headers", [])],
            timestamp=record.get("timestamp", 0),
            on_delivery=delivered(number),
        )
        producer.poll(0)
    if producer.flush(60) > 0:
        raise TimeoutError("records were not delivered")
    for number in range(len(work["records"])):
        job.tell(told[number])


def told_record(message):
    return job.record(
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        message.value(),
        message.headers() or [],
    )


def polled(consumer, seconds=60):
    message = consumer.poll(seconds)
    if message is None:
        raise TimeoutError("no record came")
    raise_for(message.error())
    return message


def consume(work):
    consumer = confluent_kafka.Consumer(
        settings(work, **{"group.id": "unused", "enable.auto.commit": False, "check.crcs": True})
    )
    start = work.get("from", 0)
    consumer.assign([END(work["topic"], partition, start) for partition in work["partitions"]])
    for _ in range(work["count"]):
        job.tell(told_record(polled(consumer)))
    consumer.close()


def time(work):
    consumer = confluent_kafka.Consumer(settings(work, **{"group.id": "unused"}))
    asked = [END(work["topic"], work["partition"], work["timestamp"])]
    job.tell({"offset": consumer.offsets_for_times(asked, timeout=30)[0].offset})
    consumer.close()


def group(work):
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    consumer = confluent_kafka.Consumer(
        settings(
            work,
            **{
                "group.id": work["group"],
                "auto.offset.reset": "earliest",
                "session.timeout.ms": work.get("session_ms", 6000),
                "heartbeat.interval.ms": 500,
                "enable.auto.commit": False,
                "partition.assignment.strategy": work.get("assignor", "range"),
            },
        )
    )

    def assigned(_, partitions):
        job.tell({"event": "assigned", "partitions": sorted(p.partition for p in partitions)})

    def revoked(_, partitions):
        job.tell({"event": "revoked", "partitions": sorted(p.partition for p in partitions)})

    consumer.subscribe(work["topics"], on_assign=assigned, on_revoke=revoked)
    while not ended:
        message = consumer.poll(0.2)
        if message is None:
            continue
        raise_for(message.error())
        job.tell({"event": "record", **told_record(message)})
        consumer.commit(message, asynchronous=False)
    consumer.close()


def wait_all(futures):
    for future in futures.values():
        future.result(30)


def step(client, name, *arguments):
    if name == "create":
        topic, partitions, config = arguments
        wait_all(client.create_topics([admin.NewTopic(topic, partitions, 1, config=config)]))
        return True
    if name == "grow":
        wait_all(client.create_partitions([admin.NewPartitions(*arguments)]))
        return True
    if name == "delete":
        wait_all(client.delete_topics(list(arguments)))
        return True
    if name == "alter":
        wait_all(client.alter_configs([admin.ConfigResource("topic", arguments[0], arguments[1])]))
        return True
    if name == "configs":
        asked = client.describe_configs([admin.ConfigResource("topic", arguments[0])])
        return {n: entry.value for future in asked.values() for n, entry in future.result(30).items()}
    if name == "topics":
        return {n: len(topic.partitions) for n, topic in client.list_topics(timeout=30).topics.items()}
    if name == "groups":
        return sorted(found.id for found in client.list_groups(timeout=30))
    raise ValueError(name)


def administer(work):
    client = admin.AdminClient(settings(work))
    for name, *arguments in work["steps"]:
        job.tell({"step": name, "result": step(client, name, *arguments)})


if __name__ == "__main__":
    job.run(
        sys.argv[1],
        {"produce": produce, "consume": consume, "time": time, "group": group, "admin": administer},
    )
