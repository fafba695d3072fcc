/* SPDX-License-Identifier: Apache-2.0
 * A program of somebody else, in C and in C++ alike: it knows what `make install` installed, no
 * more. It writes and reads one record, and prints what libbus says to a few mistakes.
 */
#include <bus/bus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_MS = 10000, TOO_LARGE_BYTES = 8 << 20 };

static void
must(int rc, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, bus_error());
    exit(1);
}

static void
refused(int rc, const char *what)
{
    printf("%s %s: %s\n", what, rc < 0 ? bus_err_name(rc) : "passed", bus_error());
}

static struct bus_message
message(const void *value, size_t value_size)
{
    struct bus_message made;
    memset(&made, 0, sizeof made);
    made.timestamp_ms = BUS_TIME_NOW;
    made.value = value;
    made.value_size = value_size;
    return made;
}

static void
produce(struct bus *bus, struct bus_config *config, const char *name)
{
    struct bus_producer *producer;
    struct bus_topic *topic;
    struct bus_delivery delivery;
    must(bus_producer_open(bus, config, &producer), "producer");
    must(bus_producer_topic(producer, name, &topic), "topic");
    struct bus_message hello = message("hello", 5);
    must(bus_send(topic, &hello, &delivery), "send");
    void *much = calloc(1, TOO_LARGE_BYTES);
    struct bus_message large = message(much, TOO_LARGE_BYTES);
    refused(bus_send_async(topic, &large), "large");
    free(much);
    bus_producer_close(&producer, WAIT_MS);
}

static void
consume(struct bus *bus, struct bus_config *config, const char *name)
{
    struct bus_consumer *consumer;
    struct bus_assignment from;
    struct bus_record record;
    memset(&from, 0, sizeof from);
    from.topic = name;
    from.offset = BUS_OFFSET_BEGINNING;
    must(bus_consumer_open(bus, config, &consumer), "consumer");
    must(bus_assign(consumer, &from, 1), "assign");
    must(bus_poll(consumer, &record, 1, WAIT_MS) - 1, "poll");
    printf("read %.*s\n", (int)record.value_size, (const char *)record.value);
    bus_consumer_close(&consumer);
}

int
main(int argc, char **argv)
{
    struct bus *bus;
    struct bus_config *config = bus_config_new();
    if (argc != 3)
        return 2;
    must(bus_config_set(config, "socket.path", argv[1]), "socket.path");
    must(bus_open(config, &bus), "open");
    must(bus_topic_create(bus, argv[2], 1, NULL, 0), "create");
    produce(bus, config, argv[2]);
    consume(bus, config, argv[2]);
    refused(bus_topic_grow(bus, argv[2], 1), "grow");
    refused(bus_records_delete(bus, argv[2], 0, 9, NULL), "delete");
    bus_close(&bus);
    bus_config_free(&config);
    return 0;
}
