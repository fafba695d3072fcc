/* SPDX-License-Identifier: Apache-2.0
 * A consumer that does what its input tells it, so that a test can put it into any situation.
 *
 *   member SOCKET [name=value…]
 *
 * One command a line; what happened comes line by line, then "= ERROR TEXT", "= NONE" when all went
 * well:
 *
 *   subscribe TOPIC…           assign TOPIC PARTITION OFFSET     unsubscribe
 *   poll MS                    "read TOPIC PARTITION OFFSET" for each record
 *   wait MS                    for the fd; "readable" or "silent"
 *   commit [TOPIC PARTITION OFFSET]      async [TOPIC PARTITION OFFSET]
 *   committed TOPIC PARTITION  position TOPIC PARTITION          "offset OFFSET"
 *   seek TOPIC PARTITION OFFSET
 *   member                     "member GENERATION ID"
 *   close
 *
 * Callbacks tell "assigned|revoked|lost TOPIC PARTITION OFFSET" and "stored COUNT ERROR TEXT".
 */
#include <bus/bus.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORDS_MAX = 100, WORDS_MAX = 20 };

static struct bus *bus;
static struct bus_consumer *consumer;

static void
on_rebalance(void *context, struct bus_consumer *from, enum bus_rebalance what,
    const struct bus_assignment *assignments, size_t count)
{
    static const char *const words[] = {
        [BUS_ASSIGNED] = "assigned", [BUS_REVOKED] = "revoked", [BUS_LOST] = "lost"};
    (void)context;
    (void)from;
    for (size_t i = 0; i < count; i++)
        printf("%s %s %d %" PRId64 "\n", words[what], assignments[i].topic,
            (int)assignments[i].partition, assignments[i].offset);
}

static void
on_stored(void *context, struct bus_consumer *from, int rc, const struct bus_assignment *offsets,
    size_t count)
{
    (void)context;
    (void)from;
    (void)offsets;
    printf(
        "stored %zu %s %s\n", count, rc < 0 ? bus_err_name(rc) : "NONE", rc < 0 ? bus_error() : "");
}

static int
do_poll(int timeout_ms)
{
    struct bus_record records[RECORDS_MAX];
    int got = bus_poll(consumer, records, RECORDS_MAX, timeout_ms);
    for (int i = 0; i < got; i++)
        printf("read %s %d %" PRId64 "\n", records[i].topic, (int)records[i].partition,
            records[i].offset);
    return got < 0 ? got : 0;
}

static int
do_wait(int timeout_ms)
{
    struct pollfd one = {.fd = bus_consumer_fd(consumer), .events = POLLIN};
    if (one.fd < 0)
        return one.fd;
    puts(poll(&one, 1, timeout_ms) > 0 ? "readable" : "silent");
    return 0;
}

static int
do_member(void)
{
    char id[600];
    int32_t generation = bus_group_member(consumer, id, sizeof id);
    printf("member %d %s\n", (int)generation, id);
    return 0;
}

static int
do_ask(const char *verb, const char *topic, int32_t partition)
{
    int64_t offset;
    int rc = strcmp(verb, "position") == 0 ? bus_position(consumer, topic, partition, &offset)
                                           : bus_committed(consumer, topic, partition, &offset);
    if (rc == 0)
        printf("offset %" PRId64 "\n", offset);
    return rc;
}

static int
do_place(const char *verb, const char *topic, int32_t partition, int64_t offset, bool given)
{
    struct bus_assignment one = {topic, partition, offset};
    if (strcmp(verb, "assign") == 0)
        return bus_assign(consumer, &one, 1);
    if (strcmp(verb, "seek") == 0)
        return bus_seek(consumer, topic, partition, offset);
    if (strcmp(verb, "commit") == 0)
        return given ? bus_commit_offsets(consumer, &one, 1) : bus_commit_sync(consumer);
    if (strcmp(verb, "async") == 0)
        return bus_commit_async(consumer, given ? &one : NULL, 1, on_stored, NULL);
    if (strcmp(verb, "committed") == 0 || strcmp(verb, "position") == 0)
        return do_ask(verb, topic, partition);
    fprintf(stderr, "member: no such command: %s\n", verb);
    exit(2);
}

static int
perform(const char *const *words, int count)
{
    const char *verb = words[0];
    if (strcmp(verb, "subscribe") == 0)
        return bus_subscribe(consumer, words + 1, (size_t)count - 1);
    if (strcmp(verb, "unsubscribe") == 0)
        return bus_unsubscribe(consumer);
    if (strcmp(verb, "member") == 0)
        return do_member();
    if (strcmp(verb, "close") == 0) {
        bus_consumer_close(&consumer);
        return 0;
    }
    long number = count > 1 ? strtol(words[1], NULL, 10) : 0;
    if (strcmp(verb, "poll") == 0)
        return do_poll((int)number);
    if (strcmp(verb, "wait") == 0)
        return do_wait((int)number);
    return do_place(verb, count > 1 ? words[1] : "",
        count > 2 ? (int32_t)strtol(words[2], NULL, 10) : 0,
        count > 3 ? strtoll(words[3], NULL, 10) : 0, count > 1);
}

static void
fail(const char *what)
{
    fprintf(stderr, "member: %s: %s\n", what, bus_error());
    exit(1);
}

static void
obey(char *line)
{
    const char *words[WORDS_MAX];
    int count = 0;
    line[strcspn(line, "\n")] = '\0';
    for (char *word; count < WORDS_MAX && (word = strsep(&line, " "));)
        words[count++] = word;
    int rc = perform(words, count);
    printf("= %s %s\n", rc < 0 ? bus_err_name(rc) : "NONE", rc < 0 ? bus_error() : "");
}

int
main(int argc, char **argv)
{
    struct bus_config *config = bus_config_new();
    char *line = NULL;
    size_t capacity = 0;
    if (argc < 2 || !config)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (bus_config_set(config, "socket.path", argv[1]) < 0)
        fail("the socket");
    for (int i = 2; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value)
            return 2;
        *value++ = '\0';
        if (bus_config_set(config, argv[i], value) < 0)
            fail(argv[i]);
    }
    if (bus_open(config, &bus) < 0 || bus_consumer_open(bus, config, &consumer) < 0)
        fail("open");
    bus_on_rebalance(consumer, on_rebalance, NULL);
    while (getline(&line, &capacity, stdin) > 0)
        obey(line);
    free(line);
    bus_consumer_close(&consumer);
    bus_close(&bus);
    bus_config_free(&config);
    return 0;
}
