/* SPDX-License-Identifier: Apache-2.0 */
#include "api/producing.h"

#include "base/bytes.h"
#include "base/err.h"
#include "base/trace.h"
#include "record/batch_header.h"
#include "run/loop.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS = 1024,
    KEY_BYTES = STORE_ID_BYTES + 4,
    HEAD_BYTES = 8 + 8,       /* of a value: saved_offset, durable_offset */
    SAVE_MS = 5000,           /* what a crash may leave to be read again */
    IDLE_MS = 600000,         /* a partition without traffic is left to LMDB then */
    CATCH_UP_BYTES = 4 << 20, /* read in one turn of the loop */
    PASS_OVER_AT_ONCE = 1000, /* damaged offsets */
    SAVING = 1,
};

/** One partition. */
struct producing {
    struct producing *chain; /* of the bucket */
    uint8_t key[KEY_BYTES];  /* topic id, partition: also of the row in LMDB */
    struct producers state;
    int64_t next_offset;    /* all below was taken in */
    int64_t durable_offset; /* at the last look at the log */
    int64_t used_ms;
    bool changed;         /* since the last save */
    bool loaded;          /* from LMDB, and not compared with the log yet */
    int64_t saved_offset; /* then: all below had been taken in when it was saved */
};

struct producings {
    struct api *api; /* borrowed */
    struct producing *buckets[BUCKETS];
    int64_t due_ms; /* of the next save; -1 nothing has changed */
    int64_t check_ms;

    /* A save: the worker's while `running`. */
    struct buf bytes; /* values, one behind the other */
    struct meta_row *rows;
    size_t row_count;
    bool running;
    _Atomic int rc; /* SAVING until it is done; release and acquire: `rows` come back with it */
};

static int64_t
now_ms(const struct producings *p)
{
    return p->api->wiring.ops->mono_ms(p->api->wiring.context);
}

static struct meta *
meta_of(const struct producings *p)
{
    return p->api->wiring.controller->meta;
}

static int64_t
setting(const struct producings *p, enum broker_setting row)
{
    return settings_int(&p->api->wiring.controller->cluster.settings, row);
}

/* ---- the table ------------------------------------------------------------------------------ */

static void
make_key(const struct open_log *log, uint8_t key[KEY_BYTES])
{
    memcpy(key, log->topic_id, STORE_ID_BYTES);
    bytes_put_i32(key + STORE_ID_BYTES, log->partition);
}

static struct producing **
bucket_of(struct producings *p, const uint8_t key[KEY_BYTES])
{
    /* Topic ids are random. */
    return &p->buckets[(bytes_get_u32(key) ^ bytes_get_u32(key + STORE_ID_BYTES)) % BUCKETS];
}

static struct producing *
find(struct producings *p, const struct open_log *log)
{
    uint8_t key[KEY_BYTES];
    make_key(log, key);
    struct producing *one = *bucket_of(p, key);
    while (one && memcmp(one->key, key, KEY_BYTES) != 0)
        one = one->chain;
    return one;
}

static void
drop(struct producings *p, struct producing *one)
{
    struct producing **at = bucket_of(p, one->key);
    while (*at != one)
        at = &(*at)->chain;
    *at = one->chain;
    producers_fini(&one->state);
    free(one);
}

/** Fills a new one from LMDB; without a snapshot the log is read from its start. */
static int
load(struct producings *p, struct producing *one)
{
    struct buf value;
    struct meta_row row = {.key = one->key, .key_bytes = KEY_BYTES};
    buf_init(&value);
    int rc = meta_table_load(meta_of(p), META_PRODUCERS, &row, &value);
    if (rc == 0 && value.length > HEAD_BYTES) {
        rc = producers_unpack(
            &one->state, value.data + HEAD_BYTES, value.length - HEAD_BYTES, now_ms(p));
        one->loaded = rc == 0;
    }
    if (one->loaded) {
        one->saved_offset = bytes_get_i64(value.data);
        /* Behind the durable end the log may have been lost and written anew: read it again. */
        one->next_offset = one->durable_offset = bytes_get_i64(value.data + 8);
    }
    buf_fini(&value);
    return rc == META_TABLE_NONE || rc == -BUS_ERR_CORRUPT_MESSAGE ? 0 : rc;
}

static int
get(struct producings *p, const struct open_log *log, struct producing **found)
{
    *found = find(p, log);
    if (*found)
        return 0;
    struct producing *one = calloc(1, sizeof *one);
    if (!one)
        return err_no_memory();
    make_key(log, one->key);
    producers_init(&one->state);
    int rc = load(p, one);
    if (rc < 0) {
        producers_fini(&one->state);
        free(one);
        return rc;
    }
    struct producing **bucket = bucket_of(p, one->key);
    one->chain = *bucket;
    *bucket = one;
    *found = one;
    return 0;
}

/* ---- following the log ---------------------------------------------------------------------- */

static void
forget(struct producing *one, int64_t next_offset)
{
    producers_fini(&one->state);
    one->next_offset = next_offset;
}

static void
changed(struct producings *p, struct producing *one)
{
    one->changed = true;
    if (p->due_ms < 0)
        p->due_ms = now_ms(p) + SAVE_MS;
}

static struct producer_batch
batch_of(const struct batch_header *header)
{
    return (struct producer_batch){
        .producer_id = header->producer_id,
        .epoch = header->producer_epoch,
        .first_sequence = header->base_sequence,
        .last_delta = header->last_offset_delta,
        .base_offset = header->base_offset,
        .append_time_ms = header->attributes & BATCH_ATTR_LOG_APPEND ? header->max_timestamp : -1,
    };
}

static int
take_batch(struct producings *p, struct producing *one, const struct batch_header *header)
{
    bool produced = header->producer_id >= 0 && header->base_sequence >= 0 &&
                    !(header->attributes & BATCH_ATTR_CONTROL);
    one->next_offset = batch_next_offset(header);
    if (!produced)
        return 0;
    struct producer_batch batch = batch_of(header);
    changed(p, one);
    return producers_note(&one->state, &batch, now_ms(p));
}

static int
take_bytes(struct producings *p, struct producing *one, const struct buf *bytes)
{
    struct batch_header header;
    int rc = 0;
    for (size_t at = 0; at < bytes->length && rc == 0; at += batch_bytes(&header)) {
        rc = batch_header_read(bytes->data + at, bytes->length - at, &header);
        if (rc == BATCH_OK)
            rc = take_batch(p, one, &header);
        else if (rc > 0)
            rc = err_set(BUS_ERR_CORRUPT_MESSAGE, "a batch is cut short");
    }
    return rc;
}

/** Reads on. 0 or a failure. */
static int
read_some(struct producings *p, struct producing *one, struct log *log)
{
    struct log_read_options options = {.offset = one->next_offset,
        .max_bytes = CATCH_UP_BYTES,
        .isolation = LOG_READ_END,
        .at_least_one = true};
    struct log_slice slice;
    struct buf bytes;
    int rc = log_read(log, &options, &slice);
    if (rc < 0)
        return rc;
    buf_init(&bytes);
    rc = log_slice_copy(&slice, &bytes);
    if (rc == 0)
        rc = take_bytes(p, one, &bytes);
    if (rc == 0 && slice.bytes == 0)
        rc = err_set(BUS_ERR_CORRUPT_MESSAGE, "nothing can be read");
    buf_fini(&bytes);
    log_slice_release(&slice);
    return rc;
}

/** Whether this batch is in the log: 1, 0, or a failure. */
static int
has_batch(struct log *log, const struct producer_batch *batch)
{
    struct log_read_options options = {.offset = batch->base_offset,
        .max_bytes = 1,
        .isolation = LOG_READ_END,
        .at_least_one = true};
    struct log_slice slice;
    struct batch_header header;
    struct buf bytes;
    int rc = log_read(log, &options, &slice);
    if (rc < 0)
        return rc == -BUS_ERR_CORRUPT_MESSAGE ? 0 : rc;
    buf_init(&bytes);
    rc = log_slice_copy(&slice, &bytes);
    if (rc == 0 && batch_header_read(bytes.data, bytes.length, &header) == BATCH_OK) {
        struct producer_batch is = batch_of(&header);
        rc = producers_same(batch, &is);
    }
    buf_fini(&bytes);
    log_slice_release(&slice);
    return rc;
}

/**
 * A power loss may have taken the end of the log, and something else may have been written there
 * since. Then what was saved is of another history: the newest batch that it knows tells. Without
 * this a batch that is gone would be taken for a repetition, and acknowledged.
 */
static int
prove(struct producing *one, struct log *log, const struct log_bounds *bounds)
{
    struct producer_batch newest;
    int64_t known_offset = one->loaded ? one->saved_offset : one->next_offset;
    int rc = known_offset <= bounds->end_offset;
    if (rc == 1 && one->loaded && producers_newest(&one->state, &newest) &&
        newest.base_offset >= bounds->start_offset)
        rc = has_batch(log, &newest);
    if (rc < 0)
        return rc;
    one->loaded = false;
    if (rc == 0)
        forget(one, known_offset = 0);
    /* What was written and removed before it was seen may be of any producer. */
    if (known_offset < bounds->start_offset)
        forget(one, bounds->start_offset);
    if (one->next_offset < bounds->start_offset)
        one->next_offset = bounds->start_offset;
    return 0;
}

/** Takes in what is new. 0 when all of it was, PRODUCING_LATER, or a failure. */
static int
catch_up(struct producings *p, struct producing *one, struct log *log)
{
    struct log_bounds bounds;
    int rc = log_bounds(log, &bounds);
    if (rc == 0)
        rc = prove(one, log, &bounds);
    if (rc < 0)
        return rc;
    one->durable_offset = bounds.durable_offset;
    if (one->next_offset >= bounds.end_offset)
        return 0;
    rc = read_some(p, one, log);
    for (int i = 0; rc == -BUS_ERR_CORRUPT_MESSAGE && i < PASS_OVER_AT_ONCE &&
                    one->next_offset < bounds.end_offset;
         i++) {
        one->next_offset++;
        rc = one->next_offset < bounds.end_offset ? read_some(p, one, log) : 0;
    }
    if (rc < 0 && rc != -BUS_ERR_CORRUPT_MESSAGE)
        return rc;
    return one->next_offset < bounds.end_offset ? PRODUCING_LATER : 0;
}

/** The state of a log, with all that is new in it. As producing_look(). */
static int
follow(struct producings *p, struct open_log *log, struct producing **one)
{
    int rc = get(p, log, one);
    if (rc < 0)
        return rc;
    (*one)->used_ms = now_ms(p);
    if (p->check_ms < 0)
        p->check_ms = (*one)->used_ms + setting(p, BROKER_PRODUCER_ID_EXPIRATION_CHECK_INTERVAL_MS);
    return catch_up(p, *one, log->log);
}

int
producing_judge(struct producings *p, struct open_log *log, const struct producer_batch *batch,
    struct producer_batch *known)
{
    struct producing *one;
    int rc = follow(p, log, &one);
    return rc == 0 ? producers_check(&one->state, batch, known) : rc;
}

int
producing_look(struct producings *p, struct open_log *log, const struct producers **state)
{
    struct producing *one;
    int rc = follow(p, log, &one);
    if (rc == 0)
        *state = &one->state;
    return rc;
}

void
producing_note(struct producings *p, const struct open_log *log, const struct producer_batch *batch)
{
    struct producing *one = find(p, log);
    /* Where a direct producer was faster the log is read, and what is not noted here comes then. */
    if (!one || one->next_offset != batch->base_offset)
        return;
    if (producers_note(&one->state, batch, now_ms(p)) < 0)
        return;
    one->next_offset = batch->base_offset + batch->last_delta + 1;
    changed(p, one);
}

/* ---- saving --------------------------------------------------------------------------------- */

/** On the worker's thread. */
static void
save(void *context)
{
    struct producings *p = context;
    int rc = meta_table_save(meta_of(p), META_PRODUCERS, p->rows, p->row_count);
    if (rc < 0)
        trace(TRACE_WARNING, "saving the states of producers: %s", err_text());
    /* Release: pairs with the load in end_save(). */
    atomic_store_explicit(&p->rc, rc, memory_order_release);
    if (p->api->wiring.flusher && p->api->news)
        loop_post_send(p->api->news);
}

static int
put_value(struct producings *p, const struct producing *one, struct meta_row *row)
{
    size_t from = p->bytes.length;
    int64_t durable_offset =
        one->durable_offset < one->next_offset ? one->durable_offset : one->next_offset;
    uint8_t *head = buf_extend(&p->bytes, KEY_BYTES + HEAD_BYTES);
    if (!head)
        return err_no_memory();
    memcpy(head, one->key, KEY_BYTES);
    bytes_put_i64(head + KEY_BYTES, one->next_offset);
    bytes_put_i64(head + KEY_BYTES + 8, durable_offset);
    int rc = producers_pack(&one->state, now_ms(p), &p->bytes);
    *row = (struct meta_row){
        .key_bytes = KEY_BYTES, .value_bytes = p->bytes.length - from - KEY_BYTES};
    return rc;
}

static void
release_rows(struct producings *p)
{
    free(p->rows);
    p->rows = NULL;
    p->row_count = 0;
    buf_clear(&p->bytes);
}

/** Makes rows of all that has changed; they point into `bytes` when that grows no more. */
static int
collect(struct producings *p)
{
    size_t count = 0;
    int rc = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        for (const struct producing *one = p->buckets[i]; one; one = one->chain)
            count += one->changed;
    p->rows = calloc(count + 1, sizeof *p->rows);
    if (!p->rows)
        return err_no_memory();
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct producing *one = p->buckets[i]; one && rc == 0; one = one->chain)
            if (one->changed)
                rc = put_value(p, one, &p->rows[p->row_count++]);
    const uint8_t *at = p->bytes.data;
    for (size_t i = 0; i < p->row_count && rc == 0; i++) {
        p->rows[i].key = at;
        p->rows[i].value = at + KEY_BYTES;
        at += KEY_BYTES + p->rows[i].value_bytes;
    }
    for (size_t i = 0; i < BUCKETS && rc == 0; i++)
        for (struct producing *one = p->buckets[i]; one; one = one->chain)
            one->changed = false;
    if (rc < 0)
        release_rows(p);
    return rc;
}

static void
end_save(struct producings *p)
{
    /* Acquire: pairs with the store in save(). */
    int rc = atomic_load_explicit(&p->rc, memory_order_acquire);
    if (!p->running || rc == SAVING)
        return;
    p->running = false;
    release_rows(p);
    /* A snapshot that is older serves as well: more of the log is read after a restart. */
    if (rc < 0)
        p->due_ms = now_ms(p) + SAVE_MS;
}

static void
start_save(struct producings *p)
{
    p->due_ms = -1;
    if (collect(p) < 0 || p->row_count == 0) {
        release_rows(p);
        return;
    }
    atomic_store_explicit(&p->rc, SAVING, memory_order_relaxed);
    p->running = true;
    if (!p->api->wiring.flusher)
        save(p);
    else if (worker_post(p->api->wiring.flusher, save, p) < 0)
        atomic_store_explicit(&p->rc, -BUS_ERR_QUEUE_FULL, memory_order_relaxed);
    end_save(p);
}

/** Forgets producers and partitions that have been silent. */
static void
expire(struct producings *p)
{
    int64_t now = now_ms(p);
    bool any = false;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct producing *one = p->buckets[i], *next; one; one = next) {
            next = one->chain;
            if (producers_expire(&one->state, now, setting(p, BROKER_PRODUCER_ID_EXPIRATION_MS)))
                changed(p, one);
            if (!one->changed && now - one->used_ms >= IDLE_MS)
                drop(p, one);
            else
                any = true;
        }
    p->check_ms =
        any ? now + setting(p, BROKER_PRODUCER_ID_EXPIRATION_CHECK_INTERVAL_MS) : INT64_C(-1);
}

void
producings_run(struct producings *p)
{
    int64_t now = now_ms(p);
    end_save(p);
    if (p->check_ms >= 0 && now >= p->check_ms)
        expire(p);
    if (!p->running && p->due_ms >= 0 && now >= p->due_ms)
        start_save(p);
}

int64_t
producings_deadline_ms(const struct producings *p)
{
    int64_t save_ms = p->running ? -1 : p->due_ms;
    if (save_ms < 0 || (p->check_ms >= 0 && p->check_ms < save_ms))
        return p->check_ms;
    return save_ms;
}

void
producings_delete(struct producings *p, const struct cluster_topic *topic)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct producing *one = p->buckets[i], *next; one; one = next) {
            next = one->chain;
            if (memcmp(one->key, topic->id.b, STORE_ID_BYTES) == 0)
                drop(p, one);
        }
    uint8_t(*keys)[KEY_BYTES] = calloc((size_t)topic->partition_count, KEY_BYTES);
    struct meta_row *rows = calloc((size_t)topic->partition_count, sizeof *rows);
    for (int32_t i = 0; keys && rows && i < topic->partition_count; i++) {
        memcpy(keys[i], topic->id.b, STORE_ID_BYTES);
        bytes_put_i32(keys[i] + STORE_ID_BYTES, i);
        rows[i] = (struct meta_row){.key = keys[i], .key_bytes = KEY_BYTES};
    }
    int rc = keys && rows
                 ? meta_table_save(meta_of(p), META_PRODUCERS, rows, (size_t)topic->partition_count)
                 : err_no_memory();
    if (rc < 0)
        trace(TRACE_WARNING, "the states of producers of topic %s stay in LMDB: %s", topic->name,
            err_text());
    free(keys);
    free(rows);
}

/* ---- the whole ------------------------------------------------------------------------------ */

int
producings_new(struct api *api, struct producings **producings)
{
    struct producings *p = calloc(1, sizeof *p);
    if (!p)
        return err_no_memory();
    p->api = api;
    p->due_ms = p->check_ms = -1;
    buf_init(&p->bytes);
    *producings = p;
    return 0;
}

void
producings_free(struct producings **producings)
{
    struct producings *p = *producings;
    if (!p)
        return;
    if (p->running)
        worker_drain(p->api->wiring.flusher);
    end_save(p);
    if (collect(p) == 0 && p->row_count > 0)
        save(p);
    release_rows(p);
    for (size_t i = 0; i < BUCKETS; i++)
        while (p->buckets[i])
            drop(p, p->buckets[i]);
    buf_fini(&p->bytes);
    free(p);
    *producings = NULL;
}
