/* SPDX-License-Identifier: Apache-2.0
 * The world of idempotent producers: one partition, whose daemon follows the log with the rules of
 * core/producers.h, saves what it knows now and then, dies, and loses power together with what was
 * not flushed. Producers have up to five batches in flight over a network that loses, repeats and
 * reorders them, and send again what is not acknowledged. A writer that nobody asks appends beside
 * them.
 *
 * What must hold: of each producer the log has every batch once, in order, without a hole; and what
 * was acknowledged is where the acknowledgement said.
 */
#include "core/producers.h"
#include "sim/sim.h"

#include "base/err.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    PRODUCERS = 5,
    LOG_MAX = 16384,
    MESSAGES = 512,
    LIFE_MS = 20000,    /* nothing stays longer in the network */
    GIVE_UP_MS = 60000, /* a producer that has no answer for so long takes a new id */
    EXPIRY_MS = 120000, /* longer than all that may still arrive */
};

/** A batch in the log; its number in the log is its offset. */
struct entry {
    int64_t id; /* -1: of the writer that nobody asks */
    int16_t epoch;
    int32_t first, records;
    int64_t at_ms;
};

struct message {
    int64_t at_ms;
    uint64_t order; /* of those at the same time */
    bool is_answer;
    int producer;
    int64_t connection;
    int64_t id;
    int16_t epoch;
    int32_t first, records;
    int64_t offset; /* of an answer */
    enum bus_err error;
    bool waits; /* an answer, for the flush */
};

struct producer_sim {
    int64_t id;
    int16_t epoch;
    int32_t next; /* sequence */
    struct sent {
        int32_t first, records;
        int64_t made_ms, sent_ms;
    } window[PRODUCERS_WINDOW];
    int in_flight;
    int64_t connection;
    bool broken;                     /* what is sent on it from now on gets lost */
    int64_t arrives_ms, answered_ms; /* the last one on it, each way */
};

struct world {
    struct sim *sim;
    bool faulty;
    struct entry *log; /* LOG_MAX batches; a record each in `records`, offsets count batches */
    int64_t log_start, log_end, flushed;
    struct producers state;
    int64_t followed; /* the daemon has taken in what is below */
    struct buf saved; /* the snapshot */
    int64_t saved_followed, saved_flushed;
    bool loaded; /* from a snapshot, and not compared with the log yet */
    struct producer_sim producers[PRODUCERS];
    int64_t last_id;
    struct message messages[MESSAGES];
    int message_count;
    uint64_t order;
    int64_t last_connection;
    int64_t acked;
};

/* ---- the log -------------------------------------------------------------------------------- */

static int64_t
append(struct world *w, const struct entry *entry)
{
    sim_must(w->sim, w->log_end < LOG_MAX, "the simulator has too short a log");
    if (w->log_end == LOG_MAX)
        return 0;
    w->log[w->log_end] = *entry;
    w->log[w->log_end].at_ms = w->sim->now_ms;
    return w->log_end++;
}

static struct producer_batch
header_at(const struct world *w, int64_t offset)
{
    const struct entry *entry = &w->log[offset];
    return (struct producer_batch){
        entry->id, entry->epoch, entry->first, entry->records - 1, offset, -1};
}

/* ---- the daemon ----------------------------------------------------------------------------- */

/** Whether the newest batch that the state knows is where it says: else the log has lost its end
 * since, and others have written there. */
static bool
is_of_this_log(const struct world *w)
{
    struct producer_batch newest, is;
    if (w->saved_followed > w->log_end)
        return false;
    if (!producers_newest(&w->state, &newest) || newest.base_offset < w->log_start)
        return true;
    is = header_at(w, newest.base_offset);
    return producers_same(&newest, &is);
}

/** As busd/api/producing.c does it. */
static void
prove(struct world *w)
{
    int64_t known = w->loaded ? w->saved_followed : w->followed;
    if (w->loaded && !is_of_this_log(w)) {
        sim_tell(w->sim, "the snapshot is of another end of the log");
        producers_fini(&w->state);
        known = w->followed = 0;
    }
    if (known < w->log_start) {
        sim_tell(w->sim, "what was written before %" PRId64 " was never seen", w->log_start);
        producers_fini(&w->state);
    }
    w->loaded = false;
    if (w->followed < w->log_start)
        w->followed = w->log_start;
}

static void
follow(struct world *w)
{
    prove(w);
    for (; w->followed < w->log_end; w->followed++) {
        struct producer_batch batch = header_at(w, w->followed);
        if (batch.producer_id < 0)
            continue;
        sim_must(w->sim, producers_note(&w->state, &batch, w->sim->now_ms) == 0, "no memory");
    }
}

static void
save(struct world *w)
{
    buf_clear(&w->saved);
    sim_must(w->sim, producers_pack(&w->state, w->sim->now_ms, &w->saved) == 0, "no memory");
    w->saved_followed = w->followed;
    /* What lies behind the last flush may be lost, and something else be written there. */
    w->saved_flushed = w->followed < w->flushed ? w->followed : w->flushed;
    sim_tell(w->sim, "saved up to %" PRId64 ", durable %" PRId64, w->followed, w->saved_flushed);
}

static void
start(struct world *w)
{
    w->followed = 0;
    w->loaded = false;
    producers_init(&w->state);
    if (w->saved.length == 0)
        return;
    int rc = producers_unpack(&w->state, w->saved.data, w->saved.length, w->sim->now_ms);
    sim_must(w->sim, rc == 0, "the snapshot cannot be read");
    w->followed = w->saved_flushed;
    w->loaded = true;
}

/** Power goes together with the daemon: of what was not flushed some is gone, from a point on. */
static void
die(struct world *w, bool power)
{
    if (power)
        w->log_end = sim_between(w->sim, w->flushed, w->log_end);
    sim_tell(w->sim, "%s; the log ends at %" PRId64, power ? "power loss" : "the daemon dies",
        w->log_end);
    producers_fini(&w->state);
    start(w);
    /* Its connections go with it, and what was on them. */
    w->message_count = 0;
    for (int i = 0; i < PRODUCERS; i++)
        w->producers[i].broken = true;
}

/* ---- the network ---------------------------------------------------------------------------- */

static void
post(struct world *w, const struct message *message)
{
    struct sim *sim = w->sim;
    struct producer_sim *p = &w->producers[message->producer];
    int64_t at_ms = sim->now_ms + sim_between(sim, 0, 3);
    bool current = p->connection == message->connection;
    if (w->faulty && sim_chance(sim, 5))
        at_ms += sim_between(sim, 0, LIFE_MS);
    if (w->faulty && current && sim_chance(sim, 3))
        p->broken = true;
    if ((current && p->broken) || w->message_count == MESSAGES)
        return;
    if (current) {
        int64_t *last_ms = message->is_answer ? &p->answered_ms : &p->arrives_ms;
        at_ms = *last_ms = at_ms > *last_ms ? at_ms : *last_ms;
    }
    struct message *m = &w->messages[w->message_count++];
    *m = *message;
    m->at_ms = at_ms;
    m->order = ++w->order;
}

static void
answer(struct world *w, const struct message *request, enum bus_err error, int64_t offset)
{
    struct message m = *request;
    m.is_answer = true;
    m.error = error;
    m.offset = offset;
    m.order = ++w->order;
    m.waits = error == BUS_ERR_NONE && offset >= w->flushed;
    m.at_ms = w->sim->now_ms;
    if (!m.waits)
        post(w, &m);
    else if (w->message_count < MESSAGES)
        w->messages[w->message_count++] = m;
}

/** The oldest answer that waits for the flush; -1 none does. */
static int
first_waiting(const struct world *w)
{
    int first = -1;
    for (int i = 0; i < w->message_count; i++)
        if (w->messages[i].waits && (first < 0 || w->messages[i].order < w->messages[first].order))
            first = i;
    return first;
}

/** What waited for it is answered; what waited in a dead daemon is gone. */
static void
flush(struct world *w)
{
    int first;
    w->flushed = w->log_end;
    while ((first = first_waiting(w)) >= 0) {
        struct message m = w->messages[first];
        w->messages[first] = w->messages[--w->message_count];
        m.waits = false;
        post(w, &m);
    }
}

/** A request at the daemon. */
static void
produce(struct world *w, const struct message *m)
{
    struct producer_batch batch = {m->id, m->epoch, m->first, m->records - 1, 0, -1};
    struct producer_batch known;
    follow(w);
    int rc = producers_check(&w->state, &batch, &known);
    sim_tell(w->sim, "%" PRId64 "/%d sends %" PRId32 "+%" PRId32 ": %d", m->id, m->epoch, m->first,
        m->records, rc);
    if (rc == PRODUCERS_DUPLICATE) {
        answer(w, m, BUS_ERR_NONE, known.base_offset);
        return;
    }
    /* A batch that cannot be appended now must not let those behind it pass; but of a producer
     * that is not known, or forgotten by then, any batch may be the first. */
    struct producer_batch older = batch;
    older.epoch = -1;
    if (rc == PRODUCERS_NEW && w->faulty && m->first > 0 && sim_chance(w->sim, 2) &&
        producers_check(&w->state, &older, &known) < 0)
        rc = -BUS_ERR_DISK_FULL;
    if (rc < 0) {
        answer(w, m, (enum bus_err) - rc, -1);
        return;
    }
    struct entry entry = {m->id, m->epoch, m->first, m->records, 0};
    answer(w, m, BUS_ERR_NONE, append(w, &entry));
    if (sim_chance(w->sim, 50))
        follow(w);
}

/* ---- the producers -------------------------------------------------------------------------- */

static void
connect_again(struct world *w, struct producer_sim *p)
{
    p->connection = ++w->last_connection;
    p->broken = false;
    p->arrives_ms = p->answered_ms = 0;
}

static void
begin(struct world *w, struct producer_sim *p, bool fresh)
{
    connect_again(w, p);
    if (fresh || p->epoch == INT16_MAX) {
        p->id = ++w->last_id;
        p->epoch = 0;
    } else {
        p->epoch++;
    }
    p->next = 0;
    p->in_flight = 0;
}

static void
transmit(struct world *w, int number, struct sent *sent)
{
    const struct producer_sim *p = &w->producers[number];
    struct message m = {.producer = number,
        .connection = p->connection,
        .id = p->id,
        .epoch = p->epoch,
        .first = sent->first,
        .records = sent->records};
    sent->sent_ms = w->sim->now_ms;
    post(w, &m);
}

static void
resend(struct world *w, int number)
{
    struct producer_sim *p = &w->producers[number];
    connect_again(w, p);
    for (int i = 0; i < p->in_flight; i++)
        transmit(w, number, &p->window[i]);
}

static void
produce_more(struct world *w, int number)
{
    struct producer_sim *p = &w->producers[number];
    if (p->in_flight > 0 && w->sim->now_ms - p->window[0].made_ms > GIVE_UP_MS) {
        begin(w, p, sim_chance(w->sim, 50));
        return;
    }
    if (p->in_flight > 0 && w->sim->now_ms - p->window[0].sent_ms > 500) {
        resend(w, number);
        return;
    }
    if (p->in_flight == PRODUCERS_WINDOW || w->log_end > LOG_MAX - 64)
        return;
    struct sent *sent = &p->window[p->in_flight++];
    *sent = (struct sent){.first = p->next, .records = (int32_t)sim_between(w->sim, 1, 3)};
    p->next = producers_sequence(p->next, sent->records);
    sent->made_ms = w->sim->now_ms;
    transmit(w, number, sent);
}

static void
check_acked(struct world *w, const struct message *m)
{
    const struct entry *is = &w->log[m->offset];
    w->acked++;
    sim_must(w->sim,
        m->offset < w->flushed && is->id == m->id && is->epoch == m->epoch &&
            is->first == m->first && is->records == m->records,
        "%" PRId64 "/%d: %" PRId32 "+%" PRId32 " was acknowledged at %" PRId64
        ", where there is %" PRId64 "/%d: %" PRId32 "+%" PRId32,
        m->id, m->epoch, m->first, m->records, m->offset, is->id, is->epoch, is->first,
        is->records);
}

static void
take_answer(struct world *w, const struct message *m)
{
    struct producer_sim *p = &w->producers[m->producer];
    if (p->connection != m->connection || p->id != m->id || p->epoch != m->epoch)
        return;
    if (m->error)
        return; /* out of order: what is before it has to come first; sent again in time */
    check_acked(w, m);
    for (int i = 0; i < p->in_flight; i++)
        if (p->window[i].first == m->first) {
            p->in_flight--;
            memmove(
                &p->window[i], &p->window[i + 1], (size_t)(p->in_flight - i) * sizeof p->window[0]);
        }
}

/* ---- what must hold ------------------------------------------------------------------------- */

/** Of each producer, every batch once and in order, from the log's start. */
static void
check_log(struct world *w)
{
    int32_t *next = malloc((size_t)(w->last_id + 1) * 2 * sizeof *next);
    sim_must(w->sim, next, "no memory");
    if (!next)
        return;
    int32_t *epochs = next + w->last_id + 1;
    for (int64_t i = 0; i <= w->last_id; i++)
        epochs[i] = -1;
    for (int64_t i = 0; i < w->log_end; i++) {
        const struct entry *at = &w->log[i];
        if (at->id < 0)
            continue;
        int32_t wanted = at->epoch > epochs[at->id] ? 0 : next[at->id];
        sim_must(w->sim, at->epoch >= epochs[at->id] && at->first == wanted,
            "offset %" PRId64 ": %" PRId64 "/%d has %" PRId32 "+%" PRId32 ", and %" PRId32
            " would follow in epoch %" PRId32,
            i, at->id, at->epoch, at->first, at->records, wanted, epochs[at->id]);
        epochs[at->id] = at->epoch;
        next[at->id] = producers_sequence(at->first, at->records);
    }
    free(next);
}

/* ---- time ----------------------------------------------------------------------------------- */

static bool
is_before(const struct message *a, const struct message *b)
{
    return a->at_ms < b->at_ms || (a->at_ms == b->at_ms && a->order < b->order);
}

static bool
deliver(struct world *w)
{
    int first = -1;
    for (int i = 0; i < w->message_count; i++)
        if (!w->messages[i].waits && w->messages[i].at_ms <= w->sim->now_ms &&
            (first < 0 || is_before(&w->messages[i], &w->messages[first])))
            first = i;
    if (first < 0)
        return false;
    struct message m = w->messages[first];
    w->messages[first] = w->messages[--w->message_count];
    if (m.is_answer)
        take_answer(w, &m);
    else
        produce(w, &m);
    return true;
}

static void
befall(struct world *w)
{
    struct sim *sim = w->sim;
    struct entry foreign = {.id = -1, .records = 1};
    switch (sim_pick(sim, 40)) {
    case 0:
        die(w, false);
        return;
    case 1:
        die(w, true);
        return;
    case 2:
    case 3:
        follow(w);
        save(w);
        return;
    case 4:
        while (w->log_start < w->flushed && sim->now_ms - w->log[w->log_start].at_ms > EXPIRY_MS)
            w->log_start++;
        return;
    case 5:
        follow(w);
        producers_expire(&w->state, sim->now_ms, EXPIRY_MS);
        return;
    case 6:
        sim->now_ms += sim_between(sim, 0, EXPIRY_MS);
        return;
    case 7: /* an old process: its number says nothing about batches in flight */
        begin(w, &w->producers[sim_pick(sim, PRODUCERS)], sim_chance(sim, 50));
        return;
    default:
        append(w, &foreign);
        return;
    }
}

static void
step(struct world *w)
{
    struct sim *sim = w->sim;
    sim->now_ms += sim_between(sim, 0, 3);
    while (!sim->failed && deliver(w))
        ;
    produce_more(w, (int)sim_pick(sim, PRODUCERS));
    if (sim_chance(sim, 30))
        flush(w);
    if (w->faulty && sim_chance(sim, 20))
        befall(w);
}

/** Without faults all that is in flight is acknowledged soon. */
static void
settle(struct world *w)
{
    int in_flight = 0;
    w->faulty = false;
    for (int i = 0; i < 4 * LIFE_MS && !w->sim->failed; i++) {
        w->sim->now_ms++;
        while (!w->sim->failed && deliver(w))
            ;
        for (int j = 0; j < PRODUCERS; j++)
            if (w->producers[j].in_flight &&
                w->sim->now_ms - w->producers[j].window[0].sent_ms > 500)
                resend(w, j);
        flush(w);
    }
    for (int i = 0; i < PRODUCERS; i++)
        in_flight += w->producers[i].in_flight;
    sim_must(w->sim, in_flight == 0, "%d batches are never acknowledged", in_flight);
    sim_must(w->sim, w->sim->steps < 500 || w->acked > w->sim->steps / 100,
        "only %" PRId64 " batches were acknowledged in %" PRId64 " steps", w->acked, w->sim->steps);
}

static void
run(struct sim *sim)
{
    struct world *w = calloc(1, sizeof *w);
    struct entry *log = calloc(LOG_MAX, sizeof *log);
    if (!w || !log) {
        sim_must(sim, false, "no memory");
    } else {
        w->sim = sim;
        w->log = log;
        w->faulty = true;
        buf_init(&w->saved);
        start(w);
        for (int i = 0; i < PRODUCERS; i++)
            begin(w, &w->producers[i], true);
        for (; !sim->failed && sim->step < sim->steps; sim->step++)
            step(w);
        settle(w);
        check_log(w);
        producers_fini(&w->state);
        buf_fini(&w->saved);
    }
    free(log);
    free(w);
}

const struct sim_world sim_producers = {
    "producers", "every batch once and in order, and where it was acknowledged", 3000, 200, run};
