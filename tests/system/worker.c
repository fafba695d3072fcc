/* SPDX-License-Identifier: Apache-2.0
 * A producer or a consumer for system tests; it tells what it did, line by line, so that
 * checker.py can judge the history.
 *
 *   worker produce SOCKET TOPIC ID COUNT [name=value…]
 *   worker stream  SOCKET TOPIC ID COUNT [name=value…]     as produce, but does not wait for each
 *   worker consume SOCKET TOPIC ID COUNT [name=value…]
 *   worker group   SOCKET TOPIC ID COUNT [name=value…]     as consume, as a member of group.id;
 *                                                          tells "assigned|revoked|lost
 *                                                          PARTITION OFFSET", and "generation
 *                                                          NUMBER" before what it reads in one
 *   worker loan    SOCKET TOPIC ID 1     [name=value…]     takes a loan, tells, and waits for a
 *                                                          line on its input before it commits
 *   worker script  SOCKET TOPIC ID 0     [name=value…]     sends the records that its input tells
 *   worker cut     SOCKET TOPIC PARTITION OFFSET           deletes the records below; tells "start
 *                                                          OFFSET"
 *   worker link    SOCKET TOPIC ID 0                       tells "connected" and "disconnected"
 *
 * COUNT 0: until SIGTERM. name=value are settings of libbus, and of the worker itself:
 *   worker.partition=N (produce: -1, by key; consume: all), worker.size=BYTES (the largest value),
 *   worker.pause_us=US (produce: between two records, to keep the history short),
 *   worker.from=OFFSET, worker.give_up_ms=MS (consume: ends when nothing came for so long),
 *   worker.on_damage=N (consume: what follows CORRUPT_MESSAGE; 0 the end, 1 another poll, 2 a seek
 *   over the record that it stands at, in worker.partition, told as "skip PARTITION OFFSET").
 *
 * A line of a script is a record: TIMESTAMP KEY VALUE [NAME VALUE]…, bytes in hexadecimal, "-" for
 * null, "." for empty. An empty line flushes, so that what follows is in another batch.
 *
 * A value is "ID SEQ LENGTH CRC" and padding; the CRC covers all of it, so that a torn value is
 * known. Lines of a producer: "send ID SEQ", then "ack ID SEQ PARTITION OFFSET" or "fail ID SEQ
 * ERROR"; of a consumer: "read PARTITION OFFSET ID SEQ" or "torn PARTITION OFFSET", "error ERROR
 * TEXT", and "end PARTITION OFFSET" (the position) when it ends.
 */
#include "record/crc32c.h"

#include <bus/bus.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    VALUE_BYTES_MAX = 1 << 20,
    VALUE_BYTES_MIN = 64,
    RECORDS_MAX = 512,
    HEADERS_MAX = 16,
    POLL_MS = 100,
    FLUSH_MS = 60000,
};

static volatile sig_atomic_t stopping;

static struct {
    const char *topic;
    int id;
    long count;
    long partition;
    long size;
    long from;
    long give_up_ms;
    long pause_us;
    long on_damage;
    struct bus_config *config;
} options = {.partition = -1, .size = 200, .from = BUS_OFFSET_BEGINNING, .give_up_ms = -1};

static void
on_term(int number)
{
    (void)number;
    stopping = 1;
}

_Noreturn static void
die(const char *what)
{
    printf("error %s: %s\n", what, bus_error());
    exit(1);
}

static bool
own_option(const char *text)
{
    static const struct {
        const char *name;
        long *value;
    } own[] = {{"worker.partition=", &options.partition}, {"worker.size=", &options.size},
        {"worker.from=", &options.from}, {"worker.give_up_ms=", &options.give_up_ms},
        {"worker.pause_us=", &options.pause_us}, {"worker.on_damage=", &options.on_damage}};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        size_t length = strlen(own[i].name);
        if (strncmp(text, own[i].name, length) == 0) {
            *own[i].value = strtol(text + length, NULL, 10);
            return true;
        }
    }
    return false;
}

static void
set_option(const char *text)
{
    char name[128];
    const char *equals = strchr(text, '=');
    if (own_option(text))
        return;
    if (!equals || (size_t)(equals - text) >= sizeof name)
        die("an argument is not name=value");
    memcpy(name, text, (size_t)(equals - text));
    name[equals - text] = '\0';
    if (bus_config_set(options.config, name, equals + 1) < 0)
        die(text);
}

/* Different sizes, so that batches do not line up by chance; the same for the same number. */
static size_t
value_fill(char *value, long seq)
{
    size_t span = options.size > VALUE_BYTES_MIN ? (size_t)(options.size - VALUE_BYTES_MIN) : 1;
    size_t size = VALUE_BYTES_MIN + (size_t)seq * 7919 % span;
    memset(value, 'a' + (int)(seq % 26), size);
    int used = snprintf(value, size, "%d %ld %zu 00000000", options.id, seq, size);
    value[used] = ' ';
    uint32_t crc = crc32c(value, size);
    snprintf(value + used - 8, 9, "%08" PRIx32, crc);
    value[used] = ' ';
    return size;
}

static bool
value_check(const void *bytes, size_t size, int *id, long *seq)
{
    static char copy[VALUE_BYTES_MAX + 1];
    size_t told;
    uint32_t crc;
    int at = 0;
    if (size > VALUE_BYTES_MAX)
        return false;
    memcpy(copy, bytes, size);
    copy[size] = '\0';
    if (sscanf(copy, "%d %ld %zu %n%" SCNx32, id, seq, &told, &at, &crc) != 4 || told != size)
        return false;
    memset(copy + at, '0', 8);
    return crc32c(copy, size) == crc;
}

/* A poll of nothing: it ends early when a signal comes. */
static void
pause_between(void)
{
    struct timespec pause = {
        .tv_sec = options.pause_us / 1000000, .tv_nsec = options.pause_us % 1000000 * 1000};
    if (options.pause_us > 0)
        ppoll(NULL, 0, &pause, NULL);
}

static void
open_topic(struct bus *bus, struct bus_producer **producer, struct bus_topic **topic)
{
    if (bus_producer_open(bus, options.config, producer) < 0 ||
        bus_producer_topic(*producer, options.topic, topic) < 0)
        die("open a producer");
}

/* Message number `seq`, told before it is sent; good until the next one. */
static struct bus_message
next_message(long seq)
{
    static char key[32], value[VALUE_BYTES_MAX];
    size_t size = value_fill(value, seq);
    int key_size = snprintf(key, sizeof key, "%d-%ld", options.id, seq % 17);
    printf("send %d %ld\n", options.id, seq);
    return (struct bus_message){.partition = (int32_t)options.partition,
        .timestamp_ms = BUS_TIME_NOW,
        .key = key,
        .key_size = (size_t)key_size,
        .value = value,
        .value_size = size,
        .opaque = (void *)(intptr_t)seq};
}

static bool
goes_on(long seq)
{
    return !stopping && (options.count == 0 || seq < options.count);
}

static void
produce(struct bus *bus)
{
    struct bus_producer *producer;
    struct bus_topic *topic;
    open_topic(bus, &producer, &topic);
    for (long seq = 0; goes_on(seq); seq++) {
        struct bus_delivery delivery;
        struct bus_message message = next_message(seq);
        int rc = bus_send(topic, &message, &delivery);
        if (rc < 0)
            printf("fail %d %ld %s %s\n", options.id, seq, bus_err_name(rc), bus_error());
        else
            printf("ack %d %ld %d %" PRId64 "\n", options.id, seq, (int)delivery.partition,
                delivery.offset);
        pause_between();
    }
    bus_producer_close(&producer, 10000);
}

/* ---- stream ---------------------------------------------------------------------------------- */

static void
on_delivered(void *context, void *opaque, const struct bus_delivery *delivery)
{
    long seq = (long)(intptr_t)opaque;
    (void)context;
    if (delivery->error < 0)
        printf("fail %d %ld %s\n", options.id, seq, bus_err_name(delivery->error));
    else
        printf("ack %d %ld %d %" PRId64 "\n", options.id, seq, (int)delivery->partition,
            delivery->offset);
}

static void
stream(struct bus *bus)
{
    struct bus_producer *producer;
    struct bus_topic *topic;
    open_topic(bus, &producer, &topic);
    bus_producer_on_delivery(producer, on_delivered, NULL);
    for (long seq = 0; goes_on(seq); seq++) {
        struct bus_message message = next_message(seq);
        if (bus_send_async(topic, &message) < 0)
            printf("fail %d %ld %s\n", options.id, seq, bus_error());
        pause_between();
    }
    bus_producer_close(&producer, FLUSH_MS);
}

/* ---- script ---------------------------------------------------------------------------------- */

/* The word as bytes, in place; NULL for "-". */
static char *
unhex(char *word, size_t *size)
{
    *size = 0;
    if (strcmp(word, "-") == 0)
        return NULL;
    for (const char *at = word; at[0] && at[1]; at += 2) {
        char digits[3] = {at[0], at[1], '\0'};
        word[(*size)++] = (char)strtol(digits, NULL, 16);
    }
    return word;
}

static void
script_record(struct bus_topic *topic, char *line)
{
    struct bus_header headers[HEADERS_MAX];
    struct bus_message message = {.partition = (int32_t)options.partition, .headers = headers};
    message.timestamp_ms = strtoll(strsep(&line, " "), NULL, 10);
    char *key = strsep(&line, " "), *value = strsep(&line, " "), *name;
    if (!key || !value)
        die("a line of the script is too short");
    message.key = unhex(key, &message.key_size);
    message.value = unhex(value, &message.value_size);
    while (line && message.header_count < HEADERS_MAX && (name = strsep(&line, " ")) && line) {
        struct bus_header *header = &headers[message.header_count++];
        size_t size;
        value = strsep(&line, " ");
        header->key = unhex(name, &size);
        name[size] = '\0';
        header->value = unhex(value, &header->value_size);
    }
    if (bus_send_async(topic, &message) < 0)
        die("send");
}

static void
script(struct bus *bus)
{
    struct bus_producer *producer;
    struct bus_topic *topic;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    if (bus_producer_open(bus, options.config, &producer) < 0 ||
        bus_producer_topic(producer, options.topic, &topic) < 0)
        die("open a producer");
    while ((length = getline(&line, &capacity, stdin)) > 0) {
        line[length - 1] = '\0';
        if (length > 1)
            script_record(topic, line);
        else if (bus_flush(producer, FLUSH_MS) < 0)
            die("flush");
    }
    free(line);
    if (bus_producer_close(&producer, FLUSH_MS) < 0)
        die("close");
}

/* ---- loan ------------------------------------------------------------------------------------ */

static void
loan(struct bus *bus)
{
    struct bus_producer *producer;
    struct bus_topic *topic;
    struct bus_loan lent;
    struct bus_delivery delivery;
    char line[16];
    if (bus_producer_open(bus, options.config, &producer) < 0 ||
        bus_producer_topic(producer, options.topic, &topic) < 0 ||
        bus_loan(topic, 0, NULL, 0, (size_t)options.size, &lent) < 0)
        die("take a loan");
    value_fill(lent.value, 0);
    memset(lent.value, 'L', lent.value_size); /* never valid: a reader that sees it reports it */
    printf("lent\n");
    ssize_t got = read(STDIN_FILENO, line, sizeof line);
    (void)got;
    memset(lent.value, 'M', lent.value_size); /* when the loan was taken away: a late write */
    int rc = bus_commit(&lent, &delivery);
    printf("commit %s %s\n", rc < 0 ? bus_err_name(rc) : "NONE", rc < 0 ? bus_error() : "");
    bus_producer_close(&producer, 10000);
}

static void
tell_record(const struct bus_record *record)
{
    int id;
    long seq;
    if (record->value && value_check(record->value, record->value_size, &id, &seq))
        printf("read %d %" PRId64 " %d %ld\n", (int)record->partition, record->offset, id, seq);
    else
        printf("torn %d %" PRId64 "\n", (int)record->partition, record->offset);
}

static int
assign(struct bus *bus, struct bus_consumer *consumer)
{
    struct bus_topics *topics;
    struct bus_assignment assignments[256];
    if (bus_topics_fetch(bus, options.topic, &topics) < 0)
        die("look at the topic");
    int32_t partitions = bus_topics_partitions(topics, 0);
    bus_topics_free(&topics);
    int count = 0;
    for (int32_t i = 0; i < partitions && count < 256; i++)
        if (options.partition < 0 || options.partition == i)
            assignments[count++] = (struct bus_assignment){options.topic, i, (int64_t)options.from};
    if (bus_assign(consumer, assignments, (size_t)count) < 0)
        die("assign");
    return partitions;
}

static int64_t
now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* Whether to go on after a poll that failed. */
static bool
go_on(struct bus_consumer *consumer, int rc)
{
    int32_t partition = (int32_t)options.partition;
    int64_t at;
    printf("error %s %s\n", bus_err_name(rc), bus_error());
    if (rc != -BUS_ERR_CORRUPT_MESSAGE)
        return bus_err_retriable(rc);
    if (options.on_damage != 2)
        return options.on_damage == 1;
    if (bus_position(consumer, options.topic, partition, &at) < 0)
        return false;
    printf("skip %d %" PRId64 "\n", (int)partition, at);
    return bus_seek(consumer, options.topic, partition, at + 1) == 0;
}

static void
tell_rebalance(void *context, struct bus_consumer *consumer, enum bus_rebalance what,
    const struct bus_assignment *assignments, size_t count)
{
    static const char *const words[] = {
        [BUS_ASSIGNED] = "assigned", [BUS_REVOKED] = "revoked", [BUS_LOST] = "lost"};
    (void)context;
    (void)consumer;
    for (size_t i = 0; i < count; i++)
        printf("%s %d %" PRId64 "\n", words[what], (int)assignments[i].partition,
            assignments[i].offset);
}

static void
tell_generation(struct bus_consumer *consumer)
{
    static int32_t told = -1;
    int32_t generation = bus_group_member(consumer, NULL, 0);
    if (generation != told)
        printf("generation %d\n", (int)generation);
    told = generation;
}

static int32_t
subscribe(struct bus_consumer *consumer)
{
    bus_on_rebalance(consumer, tell_rebalance, NULL);
    if (bus_subscribe(consumer, &options.topic, 1) < 0)
        die("subscribe");
    return 0;
}

static void
consume(struct bus *bus, bool in_group)
{
    static struct bus_record records[RECORDS_MAX];
    struct bus_consumer *consumer;
    if (bus_consumer_open(bus, options.config, &consumer) < 0)
        die("open a consumer");
    int32_t partitions = in_group ? subscribe(consumer) : assign(bus, consumer);
    int64_t last_ms = now_ms();
    for (long seen = 0; !stopping && (options.count == 0 || seen < options.count);) {
        int got = bus_poll(consumer, records, RECORDS_MAX, POLL_MS);
        if (got < 0 && !go_on(consumer, got))
            break;
        if (got > 0 && in_group)
            tell_generation(consumer);
        for (int i = 0; i < got; i++)
            tell_record(&records[i]);
        if (got > 0) {
            seen += got;
            last_ms = now_ms();
        } else if (options.give_up_ms >= 0 && now_ms() - last_ms > options.give_up_ms) {
            break;
        }
    }
    for (int32_t i = 0; i < partitions; i++) {
        int64_t position;
        if (bus_position(consumer, options.topic, i, &position) == 0)
            printf("end %d %" PRId64 "\n", (int)i, position);
    }
    bus_consumer_close(&consumer);
}

static void
cut(struct bus *bus)
{
    int64_t start;
    if (bus_records_delete(bus, options.topic, (int32_t)options.id, options.count, &start) < 0)
        die("delete records");
    printf("start %" PRId64 "\n", start);
}

/** Tells each change; it looks every millisecond, to leave the CPU to others. */
static void
link_state(struct bus *bus)
{
    bool was = false;
    for (; !stopping; poll(NULL, 0, 1)) {
        if (bus_connected(bus) == was)
            continue;
        was = !was;
        puts(was ? "connected" : "disconnected");
    }
}

int
main(int argc, char **argv)
{
    struct bus *bus;
    if (argc < 6) {
        fprintf(stderr, "worker: see the head of worker.c\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGTERM, on_term);
    options.topic = argv[3];
    options.id = (int)strtol(argv[4], NULL, 10);
    options.count = strtol(argv[5], NULL, 10);
    options.config = bus_config_new();
    if (bus_config_set(options.config, "socket.path", argv[2]) < 0)
        die("the socket");
    for (int i = 6; i < argc; i++)
        set_option(argv[i]);
    if (bus_open(options.config, &bus) < 0)
        die("open the bus");
    if (strcmp(argv[1], "produce") == 0)
        produce(bus);
    else if (strcmp(argv[1], "stream") == 0)
        stream(bus);
    else if (strcmp(argv[1], "loan") == 0)
        loan(bus);
    else if (strcmp(argv[1], "script") == 0)
        script(bus);
    else if (strcmp(argv[1], "cut") == 0)
        cut(bus);
    else if (strcmp(argv[1], "link") == 0)
        link_state(bus);
    else
        consume(bus, strcmp(argv[1], "group") == 0);
    bus_close(&bus);
    bus_config_free(&options.config);
    return 0;
}
