/* SPDX-License-Identifier: Apache-2.0 */
#include "demo/ends.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { POLL_RECORDS = 256, LOOK_UPS = 25, ONE_BY_ONE = 5000 };

static int64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

struct demo_journal *
demo_journal_new(int64_t total)
{
    size_t bytes =
        sizeof(struct demo_journal) + (size_t)total * (DEMO_PARTITIONS + 2) * sizeof(int64_t);
    void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    struct demo_journal *journal = start;
    journal->total = total;
    journal->streamed = total > 2 * ONE_BY_ONE ? total - ONE_BY_ONE : total / 2;
    return journal;
}

static int
give_up(struct demo_journal *journal, const char *who)
{
    fprintf(stderr, "demo: %s: %s\n", who, bus_error());
    atomic_store(&journal->failed, 1);
    return 1;
}

static int
open_bus(const char *socket, const char *isolation, struct bus_config **config, struct bus **bus)
{
    *config = bus_config_new();
    if (!*config)
        return -1;
    int rc = bus_config_set(*config, "socket.path", socket);
    if (rc == 0)
        rc = bus_config_set(*config, "acks", "1");
    if (rc == 0)
        rc = bus_config_set(*config, "isolation.level", isolation);
    return rc == 0 ? bus_open(*config, bus) : rc;
}

/* One record; the consumer may see it before this returns, so what it needs is noted before. */
static int
send_one(struct bus_topic *topic, const struct stanzas *stanzas, struct demo_journal *journal,
    int64_t number)
{
    const struct stanza *stanza = &stanzas->list[(size_t)number % stanzas->count];
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, number);
    struct bus_header header = {.key = "number", .value = text, .value_size = strlen(text)};
    struct bus_message message = {.partition = BUS_PARTITION_ANY,
        .timestamp_ms = BUS_TIME_NOW,
        .key = stanza->key,
        .key_size = stanza->key_size,
        .value = stanza->text,
        .value_size = stanza->text_size,
        .headers = &header,
        .header_count = 1};
    struct bus_delivery delivery;
    *demo_sent_ns(journal, number) = now_ns();
    int rc = bus_send(topic, &message, &delivery);
    if (rc < 0)
        return rc;
    *demo_stanza_at(journal, delivery.partition, delivery.offset) =
        number % (int64_t)stanzas->count + 1;
    journal->count[delivery.partition]++;
    atomic_fetch_add(&journal->sent, 1);
    return 0;
}

/* What is measured in a stream is its queue; so the last records find nobody before them. */
static void
wait_until_read(struct demo_journal *journal, int64_t number)
{
    if (number < journal->streamed)
        return;
    while (atomic_load(&journal->read) < number && !atomic_load(&journal->failed))
        sched_yield();
}

int
demo_produce(const char *socket, const struct stanzas *stanzas, struct demo_journal *journal)
{
    struct bus_config *config;
    struct bus *bus;
    struct bus_producer *producer;
    struct bus_topic *topic;
    if (open_bus(socket, "read_uncommitted", &config, &bus) < 0 ||
        bus_producer_open(bus, config, &producer) < 0 ||
        bus_producer_topic(producer, DEMO_TOPIC, &topic) < 0)
        return give_up(journal, "the producer");
    journal->started_ns = now_ns();
    for (int64_t number = 0; number < journal->total; number++) {
        wait_until_read(journal, number);
        if (send_one(topic, stanzas, journal, number) < 0)
            return give_up(journal, "the producer");
    }
    bus_producer_close(&producer, 10000);
    bus_close(&bus);
    bus_config_free(&config);
    return 0;
}

static int64_t
number_of(const struct bus_record *record)
{
    struct bus_record_header header;
    char text[24] = "";
    if (bus_record_header(record, 0, &header) < 0 || header.value_size >= sizeof text)
        return -1;
    memcpy(text, header.value, header.value_size);
    return strtoll(text, NULL, 10);
}

static bool
is_stanza(const struct bus_record *record, const struct stanza *stanza)
{
    return record->key_size == stanza->key_size && record->value_size == stanza->text_size &&
           memcmp(record->key, stanza->key, stanza->key_size) == 0 &&
           memcmp(record->value, stanza->text, stanza->text_size) == 0;
}

static int
compare_record(const struct bus_record *record, const struct stanzas *stanzas,
    struct demo_journal *journal, int64_t *next)
{
    int64_t number = number_of(record);
    if (number < 0 || number >= journal->total ||
        !is_stanza(record, &stanzas->list[(size_t)number % stanzas->count])) {
        fprintf(stderr,
            "demo: the record at offset %" PRId64 " of partition %d is not what was sent\n",
            record->offset, (int)record->partition);
        return -1;
    }
    if (record->offset != next[record->partition]++) {
        fprintf(stderr, "demo: partition %d goes on at offset %" PRId64 "\n",
            (int)record->partition, record->offset);
        return -1;
    }
    *demo_took_ns(journal, number) = now_ns() - *demo_sent_ns(journal, number);
    return 0;
}

static int
assign_all(struct bus_consumer *consumer)
{
    struct bus_assignment places[DEMO_PARTITIONS];
    for (int i = 0; i < DEMO_PARTITIONS; i++)
        places[i] = (struct bus_assignment){DEMO_TOPIC, i, BUS_OFFSET_BEGINNING};
    return bus_assign(consumer, places, DEMO_PARTITIONS);
}

int
demo_consume(const char *socket, const struct stanzas *stanzas, struct demo_journal *journal)
{
    static struct bus_record records[POLL_RECORDS];
    int64_t next[DEMO_PARTITIONS] = {0};
    struct bus_config *config;
    struct bus *bus;
    struct bus_consumer *consumer;
    if (open_bus(socket, "read_uncommitted", &config, &bus) < 0 ||
        bus_consumer_open(bus, config, &consumer) < 0 || assign_all(consumer) < 0)
        return give_up(journal, "the consumer");
    for (int64_t seen = 0; seen < journal->total && !atomic_load(&journal->failed);) {
        int got = bus_poll(consumer, records, POLL_RECORDS, 200);
        if (got < 0)
            return give_up(journal, "the consumer");
        for (int i = 0; i < got; i++)
            if (compare_record(&records[i], stanzas, journal, next) < 0)
                return atomic_store(&journal->failed, 1), 1;
        seen += got;
        if (journal->ended_ns == 0 && seen >= journal->streamed)
            journal->ended_ns = now_ns();
        atomic_store(&journal->read, seen);
    }
    bus_consumer_close(&consumer);
    bus_close(&bus);
    bus_config_free(&config);
    return atomic_load(&journal->failed);
}

/* Polls until the first record of `partition` comes; the others are paused by their absence. */
static int
first_record(struct bus_consumer *consumer, struct bus_record *record)
{
    int got;
    do
        got = bus_poll(consumer, record, 1, 5000);
    while (got == 0);
    return got;
}

static int
look_up_one(struct bus_consumer *consumer, const struct stanzas *stanzas,
    struct demo_journal *journal, int partition, int64_t offset)
{
    struct bus_record record;
    struct bus_assignment place = {DEMO_TOPIC, partition, offset};
    if (bus_assign(consumer, &place, 1) < 0 || first_record(consumer, &record) < 0)
        return -1;
    int64_t stanza = *demo_stanza_at(journal, partition, offset) - 1;
    int64_t time_ms = record.timestamp_ms;
    if (record.offset != offset || !is_stanza(&record, &stanzas->list[stanza]))
        return fprintf(stderr, "demo: by offset: %" PRId64 " of partition %d is wrong\n", offset,
                   partition),
               -2;
    /* By time: the first record that is as young; so none younger may be skipped before it. */
    if (bus_seek_time(consumer, DEMO_TOPIC, partition, time_ms) < 0 ||
        first_record(consumer, &record) < 0)
        return -1;
    if (record.timestamp_ms < time_ms || record.offset > offset)
        return fprintf(stderr, "demo: by time: %" PRId64 " ms of partition %d is wrong\n", time_ms,
                   partition),
               -2;
    return 0;
}

int
demo_look_up(const char *socket, const struct stanzas *stanzas, struct demo_journal *journal)
{
    struct bus_config *config;
    struct bus *bus;
    struct bus_consumer *consumer;
    int done = 0, rc = 0;
    if (open_bus(socket, "read_uncommitted", &config, &bus) < 0 ||
        bus_consumer_open(bus, config, &consumer) < 0)
        return -give_up(journal, "the look-up");
    for (int partition = 0; rc == 0 && partition < DEMO_PARTITIONS; partition++) {
        int64_t count = journal->count[partition];
        for (int i = 0; rc == 0 && i < LOOK_UPS && i < count; i++, done++)
            rc = look_up_one(consumer, stanzas, journal, partition, count * i / LOOK_UPS);
    }
    if (rc == -1)
        give_up(journal, "the look-up");
    bus_consumer_close(&consumer);
    bus_close(&bus);
    bus_config_free(&config);
    return rc < 0 ? rc : done;
}
