/* SPDX-License-Identifier: Apache-2.0 */
#include "core/producers.h"

#include "base/bytes.h"
#include "base/err.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    FORM = 1,
    HEAD_BYTES = 1 + 4,             /* form, producers */
    PRODUCER_BYTES = 8 + 2 + 8 + 1, /* id, epoch, silence, batches */
    BATCH_BYTES = 4 + 4 + 8 + 8,    /* sequence, delta, offset, time */
};

struct seen {
    int32_t first_sequence, last_delta;
    int64_t base_offset, append_time_ms;
};

struct producer {
    struct producer *chain;
    int64_t id;
    int64_t wrote_ms; /* when it wrote last */
    int16_t epoch;
    int count;                            /* of `window` */
    struct seen window[PRODUCERS_WINDOW]; /* the oldest first */
};

void
producers_init(struct producers *producers)
{
    *producers = (struct producers){0};
}

static void
clear(struct producers *p)
{
    for (size_t i = 0; i < p->bucket_count; i++)
        while (p->buckets[i]) {
            struct producer *producer = p->buckets[i];
            p->buckets[i] = producer->chain;
            free(producer);
        }
    p->count = 0;
}

void
producers_fini(struct producers *producers)
{
    clear(producers);
    free(producers->buckets);
    producers_init(producers);
}

int32_t
producers_sequence(int32_t sequence, int32_t delta)
{
    return (int32_t)(((uint32_t)sequence + (uint32_t)delta) & INT32_MAX);
}

/* ---- the table ------------------------------------------------------------------------------ */

static size_t
bucket_of(int64_t id, size_t buckets)
{
    return (size_t)(((uint64_t)id * UINT64_C(0x9e3779b97f4a7c15)) >> 32) % buckets;
}

static struct producer *
find(const struct producers *p, int64_t id)
{
    struct producer *producer =
        p->bucket_count > 0 ? p->buckets[bucket_of(id, p->bucket_count)] : NULL;
    while (producer && producer->id != id)
        producer = producer->chain;
    return producer;
}

static void
drop(struct producers *p, struct producer *producer)
{
    struct producer **at = &p->buckets[bucket_of(producer->id, p->bucket_count)];
    while (*at != producer)
        at = &(*at)->chain;
    *at = producer->chain;
    p->count--;
    free(producer);
}

/** Doubles the table when it is full; without memory it stays as it is. */
static void
grow(struct producers *p)
{
    if (p->count < p->bucket_count)
        return;
    size_t more = p->bucket_count ? 2 * p->bucket_count : PRODUCERS_BUCKETS;
    struct producer **next = calloc(more, sizeof(struct producer *));
    if (!next)
        return;
    for (size_t i = 0; i < p->bucket_count; i++)
        while (p->buckets[i]) {
            struct producer *producer = p->buckets[i];
            p->buckets[i] = producer->chain;
            producer->chain = next[bucket_of(producer->id, more)];
            next[bucket_of(producer->id, more)] = producer;
        }
    free(p->buckets);
    p->buckets = next;
    p->bucket_count = more;
}

/** Makes place for one more: the one that was silent for longest goes. */
static void
make_place(struct producers *p)
{
    struct producer *oldest = NULL;
    if (p->count < PRODUCERS_MAX)
        return;
    for (size_t i = 0; i < p->bucket_count; i++)
        for (struct producer *at = p->buckets[i]; at; at = at->chain)
            if (!oldest || at->wrote_ms < oldest->wrote_ms)
                oldest = at;
    drop(p, oldest);
}

static struct producer *
get(struct producers *p, int64_t id, int16_t epoch)
{
    struct producer *producer = find(p, id);
    if (producer)
        return producer;
    make_place(p);
    grow(p);
    producer = p->bucket_count > 0 ? calloc(1, sizeof *producer) : NULL;
    if (!producer) {
        err_no_memory();
        return NULL;
    }
    producer->id = id;
    producer->epoch = epoch;
    struct producer **bucket = &p->buckets[bucket_of(id, p->bucket_count)];
    producer->chain = *bucket;
    *bucket = producer;
    p->count++;
    return producer;
}

/* ---- the rules ------------------------------------------------------------------------------ */

static const struct seen *
find_seen(const struct producer *producer, const struct producer_batch *batch)
{
    for (int i = 0; i < producer->count; i++) {
        const struct seen *seen = &producer->window[i];
        if (producer->epoch == batch->epoch && seen->first_sequence == batch->first_sequence &&
            seen->last_delta == batch->last_delta)
            return seen;
    }
    return NULL;
}

/** The sequence that the producer's next batch has. */
static int32_t
next_sequence(const struct producer *producer)
{
    const struct seen *last = &producer->window[producer->count - 1];
    return producers_sequence(producers_sequence(last->first_sequence, last->last_delta), 1);
}

int
producers_check(const struct producers *producers, const struct producer_batch *batch,
    struct producer_batch *known)
{
    const struct producer *producer = find(producers, batch->producer_id);
    if (!producer || producer->count == 0)
        return PRODUCERS_NEW;
    const struct seen *seen = find_seen(producer, batch);
    if (seen) {
        *known = *batch;
        known->base_offset = seen->base_offset;
        known->append_time_ms = seen->append_time_ms;
        return PRODUCERS_DUPLICATE;
    }
    if (batch->epoch < producer->epoch)
        return err_set(BUS_ERR_INVALID_PRODUCER_EPOCH,
            "producer %" PRId64 " has epoch %d here, the batch has %d", batch->producer_id,
            producer->epoch, batch->epoch);
    int32_t wanted = batch->epoch > producer->epoch ? 0 : next_sequence(producer);
    if (batch->first_sequence != wanted)
        return err_set(BUS_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
            "the batch of producer %" PRId64 " in epoch %d begins with sequence %" PRId32
            ", %" PRId32 " would follow",
            batch->producer_id, batch->epoch, batch->first_sequence, wanted);
    return PRODUCERS_NEW;
}

static void
push(struct producer *producer, const struct seen *seen)
{
    if (producer->count == PRODUCERS_WINDOW) {
        for (int i = 1; i < PRODUCERS_WINDOW; i++)
            producer->window[i - 1] = producer->window[i];
        producer->count--;
    }
    producer->window[producer->count++] = *seen;
}

int
producers_note(struct producers *producers, const struct producer_batch *batch, int64_t now_ms)
{
    struct producer *producer = get(producers, batch->producer_id, batch->epoch);
    if (!producer)
        return -BUS_ERR_NO_MEMORY;
    /* What is in the log of an older epoch has nothing to say any more; the log is read in its
     * order, so what lies before the newest was taken in already. */
    bool old = producer->count > 0 &&
               batch->base_offset <= producer->window[producer->count - 1].base_offset;
    if (batch->epoch < producer->epoch || old)
        return 0;
    if (batch->epoch > producer->epoch)
        producer->count = 0;
    producer->epoch = batch->epoch;
    producer->wrote_ms = now_ms;
    struct seen seen = {
        batch->first_sequence, batch->last_delta, batch->base_offset, batch->append_time_ms};
    push(producer, &seen);
    return 0;
}

void
producers_each(const struct producers *producers, int64_t now_ms,
    void (*each)(void *context, const struct producers_row *row), void *context)
{
    for (size_t i = 0; i < producers->bucket_count; i++)
        for (const struct producer *at = producers->buckets[i]; at; at = at->chain) {
            const struct seen *last = &at->window[at->count - 1];
            const struct producers_row row = {
                .producer_id = at->id,
                .silent_ms = now_ms - at->wrote_ms,
                .last_sequence = producers_sequence(last->first_sequence, last->last_delta),
                .epoch = at->epoch,
            };
            each(context, &row);
        }
}

size_t
producers_expire(struct producers *producers, int64_t now_ms, int64_t silent_ms)
{
    size_t before = producers->count;
    for (size_t i = 0; i < producers->bucket_count; i++)
        for (struct producer *at = producers->buckets[i], *next; at; at = next) {
            next = at->chain;
            if (now_ms - at->wrote_ms >= silent_ms)
                drop(producers, at);
        }
    return before - producers->count;
}

/* ---- whose log it is ------------------------------------------------------------------------ */

bool
producers_newest(const struct producers *producers, struct producer_batch *newest)
{
    const struct producer *of = NULL;
    const struct seen *last = NULL;
    for (size_t i = 0; i < producers->bucket_count; i++)
        for (const struct producer *at = producers->buckets[i]; at; at = at->chain) {
            const struct seen *seen = at->count > 0 ? &at->window[at->count - 1] : NULL;
            if (seen && (!last || seen->base_offset > last->base_offset)) {
                of = at;
                last = seen;
            }
        }
    if (last)
        *newest = (struct producer_batch){of->id, of->epoch, last->first_sequence, last->last_delta,
            last->base_offset, last->append_time_ms};
    return last != NULL;
}

bool
producers_same(const struct producer_batch *a, const struct producer_batch *b)
{
    return a->producer_id == b->producer_id && a->epoch == b->epoch &&
           a->first_sequence == b->first_sequence && a->last_delta == b->last_delta &&
           a->base_offset == b->base_offset;
}

/* ---- as bytes ------------------------------------------------------------------------------- */

static void
pack_one(const struct producer *producer, int64_t now_ms, struct buf *out)
{
    uint8_t *at = buf_extend(out, PRODUCER_BYTES + (size_t)producer->count * BATCH_BYTES);
    if (!at)
        return;
    bytes_put_i64(at, producer->id);
    bytes_put_i16(at + 8, producer->epoch);
    bytes_put_i64(at + 10, now_ms - producer->wrote_ms);
    at[18] = (uint8_t)producer->count;
    at += PRODUCER_BYTES;
    for (int i = 0; i < producer->count; i++, at += BATCH_BYTES) {
        bytes_put_i32(at, producer->window[i].first_sequence);
        bytes_put_i32(at + 4, producer->window[i].last_delta);
        bytes_put_i64(at + 8, producer->window[i].base_offset);
        bytes_put_i64(at + 16, producer->window[i].append_time_ms);
    }
}

int
producers_pack(const struct producers *producers, int64_t now_ms, struct buf *out)
{
    uint8_t *head = buf_extend(out, HEAD_BYTES);
    if (head) {
        head[0] = FORM;
        bytes_put_u32(head + 1, (uint32_t)producers->count);
    }
    for (size_t i = 0; i < producers->bucket_count; i++)
        for (const struct producer *at = producers->buckets[i]; at; at = at->chain)
            pack_one(at, now_ms, out);
    return buf_failed(out) ? err_no_memory() : 0;
}

static bool
is_sequence(int32_t n)
{
    return n >= 0;
}

/** Reads one producer. False: damaged. */
static bool
unpack_one(struct producers *p, const uint8_t **at, const uint8_t *end, int64_t now_ms, int *rc)
{
    const uint8_t *head = *at;
    if (end - head < PRODUCER_BYTES)
        return false;
    int count = head[18];
    int64_t id = bytes_get_i64(head);
    int64_t silence_ms = bytes_get_i64(head + 10);
    *at += PRODUCER_BYTES;
    if (id < 0 || count > PRODUCERS_WINDOW || end - *at < count * BATCH_BYTES || silence_ms < 0 ||
        find(p, id) || p->count >= PRODUCERS_MAX)
        return false;
    struct producer *producer = get(p, id, bytes_get_i16(head + 8));
    if (!producer) {
        *rc = -BUS_ERR_NO_MEMORY;
        return true;
    }
    producer->wrote_ms = now_ms - silence_ms;
    for (int i = 0; i < count; i++, *at += BATCH_BYTES) {
        struct seen seen = {bytes_get_i32(*at), bytes_get_i32(*at + 4), bytes_get_i64(*at + 8),
            bytes_get_i64(*at + 16)};
        if (!is_sequence(seen.first_sequence) || !is_sequence(seen.last_delta))
            return false;
        push(producer, &seen);
    }
    return true;
}

int
producers_unpack(struct producers *producers, const uint8_t *bytes, size_t n, int64_t now_ms)
{
    const uint8_t *at = bytes + HEAD_BYTES;
    const uint8_t *end = bytes + n;
    bool good = n >= HEAD_BYTES && bytes[0] == FORM;
    uint32_t count = good ? bytes_get_u32(bytes + 1) : 0;
    int rc = 0;
    for (uint32_t i = 0; i < count && good && rc == 0; i++)
        good = unpack_one(producers, &at, end, now_ms, &rc);
    if (good && rc == 0 && at == end)
        return 0;
    clear(producers);
    return rc < 0 ? rc : err_set(BUS_ERR_CORRUPT_MESSAGE, "a state of producers is damaged");
}
