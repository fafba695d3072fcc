/* SPDX-License-Identifier: Apache-2.0
 * The two ends of the demonstration, a producer and a consumer, each in a process of its own; they
 * note in shared memory what they did, so that it can be compared.
 */
#ifndef DEMO_ENDS_H
#define DEMO_ENDS_H

#include "demo/stanzas.h"

#include <bus/bus.h>
#include <stdatomic.h>
#include <stdint.h>

enum { DEMO_PARTITIONS = 4 };

#define DEMO_TOPIC "packages"

/** Shared by the processes of the demonstration. */
struct demo_journal {
    _Atomic int64_t sent; /* records that the producer was told are done */
    _Atomic int64_t read; /* records that the consumer has compared */
    _Atomic int failed;   /* an end gave up; it said why on stderr */
    int64_t total;        /* records to come */
    int64_t streamed;     /* so many as fast as possible; the rest one by one, each awaited */
    int64_t started_ns;   /* CLOCK_MONOTONIC at the first send */
    int64_t ended_ns;     /* and when the consumer had all that were streamed */
    int64_t count[DEMO_PARTITIONS];
    /* Which stanza went to an offset: place[partition * total + offset]; then when it was sent, and
     * how long it took to arrive, by the same index. */
    int64_t arrays[];
};

/** A journal for `total` records, or NULL. */
struct demo_journal *demo_journal_new(int64_t total);

/** Which stanza, counted from 1, was sent to this place; 0 none. */
static inline int64_t *
demo_stanza_at(struct demo_journal *journal, int partition, int64_t offset)
{
    return &journal->arrays[partition * journal->total + offset];
}

/** When record `number` was sent, CLOCK_MONOTONIC. */
static inline int64_t *
demo_sent_ns(struct demo_journal *journal, int64_t number)
{
    return &journal->arrays[DEMO_PARTITIONS * journal->total + number];
}

/** How long record `number` was under way. */
static inline int64_t *
demo_took_ns(struct demo_journal *journal, int64_t number)
{
    return &journal->arrays[(DEMO_PARTITIONS + 1) * journal->total + number];
}

/**
 * Sends every stanza, again and again, until the total is reached; behind those that are streamed
 * it waits for each to be read before it sends the next. Returns an exit status.
 */
int demo_produce(const char *socket, const struct stanzas *stanzas, struct demo_journal *journal);

/** Reads from the beginning in place and compares each record with its stanza. */
int demo_consume(const char *socket, const struct stanzas *stanzas, struct demo_journal *journal);

/** Reads by offset and by time and compares. Returns the number of look-ups, negative on failure.
 */
int demo_look_up(const char *socket, const struct stanzas *stanzas, struct demo_journal *journal);

#endif
