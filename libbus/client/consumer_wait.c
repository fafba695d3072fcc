/* SPDX-License-Identifier: Apache-2.0
 * Waiting for records: a spin whose length follows its success, then sleep.
 */
#include "base/clock.h"
#include "client/consumer.h"

enum {
    SPIN_MIN_NS = 1000,  /* so that success can still be noticed */
    SPIN_PROBE = 64,     /* every so many waits the whole of spin.us is tried again */
    TURNS_PER_LOOK = 16, /* of the spin, between two looks at the clock */
    SHORT_SLEEP_MS = 2,  /* where the wait set does not hold all partitions */
    FALSE_ALARM_MS = 5,  /* rest of a partition that seems ready but gives nothing */
};

static void
relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

/* Whether bus_wakeup() was called since the last look. */
static bool
woken(struct bus_consumer *consumer)
{
    /* Acquire: pairs with wait_word_wake(). */
    uint32_t now = atomic_load_explicit(&consumer->wake, memory_order_acquire);
    bool changed = now != consumer->wake_seen;
    consumer->wake_seen = now;
    return changed;
}

bool
consumer_ready(const struct bus_consumer *consumer, int64_t now_ns, int64_t *next_ns)
{
    if (consumer_is_called(consumer))
        return true;
    for (size_t i = 0; i < consumer->count; i++) {
        const struct part *part = consumer->parts[i];
        if (part_ready(part, now_ns))
            return true;
        if (!part->paused && part->retry_ns != 0 && part->retry_ns < *next_ns)
            *next_ns = part->retry_ns;
    }
    return false;
}

bool
consumer_wait_set(const struct bus_consumer *consumer, struct wait_set *set)
{
    bool whole = wait_add_word(set, &consumer->group_word);
    for (size_t i = 0; i < consumer->count && whole; i++) {
        const struct part *part = consumer->parts[i];
        const struct shm_partition *view = &part->attachment.view;
        if (part->paused)
            continue;
        whole = wait_add(set, view);
        if (whole && consumer->isolation == CURSOR_DURABLE)
            whole = wait_add_word(set, &view->control->durable_seq);
    }
    return whole;
}

/* Reads if anything is ready. What seems ready and gives nothing rests, or we would never sleep. */
static int
look(struct bus_consumer *consumer, struct bus_record *records, int max, int64_t *next_ns)
{
    int64_t now_ns = clock_mono_ns();
    if (!consumer_ready(consumer, now_ns, next_ns))
        return 0;
    int rc = consumer_round(consumer, records, max);
    for (size_t i = 0; rc == 0 && i < consumer->count; i++) {
        struct part *part = consumer->parts[i];
        if (part_ready(part, now_ns))
            part->retry_ns = now_ns + FALSE_ALARM_MS * 1000000;
        if (part->retry_ns != 0 && part->retry_ns < *next_ns)
            *next_ns = part->retry_ns;
    }
    return rc;
}

/* A cheap look without the clock. */
static bool
any_ready(const struct bus_consumer *consumer)
{
    for (size_t i = 0; i < consumer->count; i++) {
        const struct part *part = consumer->parts[i];
        if (part->retry_ns == 0 && part_ready(part, 0))
            return true;
    }
    return false;
}

/* Spins for a while. 1: something is ready; 0: not. */
static int
spin(struct bus_consumer *consumer, int64_t deadline_ns)
{
    int64_t most_ns = consumer->settings.spin_us * 1000;
    if (most_ns == 0)
        return 0;
    int64_t budget_ns = ++consumer->waits % SPIN_PROBE == 0 ? most_ns : consumer->spin_ns;
    int64_t until_ns = clock_mono_ns() + budget_ns;
    if (until_ns > deadline_ns)
        until_ns = deadline_ns;
    do {
        for (int i = 0; i < TURNS_PER_LOOK; i++) {
            if (any_ready(consumer)) {
                int64_t longer_ns = consumer->spin_ns * 2 + SPIN_MIN_NS;
                consumer->spin_ns = longer_ns < most_ns ? longer_ns : most_ns;
                return 1;
            }
            relax();
        }
        if (atomic_load_explicit(&consumer->wake, memory_order_relaxed) != consumer->wake_seen ||
            consumer_is_called(consumer))
            return 0;
    } while (clock_mono_ns() < until_ns);
    consumer->spin_ns = consumer->spin_ns / 2 > SPIN_MIN_NS ? consumer->spin_ns / 2 : SPIN_MIN_NS;
    return 0;
}

void
consumer_prepare(struct bus_consumer *consumer)
{
    for (size_t i = 0; i < consumer->count; i++)
        attach_prefetch(&consumer->parts[i]->attachment);
}

int
consumer_wait(
    struct bus_consumer *consumer, struct bus_record *records, int max, int64_t deadline_ns)
{
    struct wait_set set;
    if (spin(consumer, deadline_ns) == 1) {
        int rc = consumer_round(consumer, records, max);
        if (rc != 0)
            return rc;
    }
    for (;;) {
        int64_t until_ns = deadline_ns;
        consumer_prepare(consumer);
        wait_init(&set);
        wait_add_word(&set, &consumer->wake);
        bool whole = consumer_wait_set(consumer, &set);
        wait_begin(&set);
        int rc = look(consumer, records, max, &until_ns);
        if (rc != 0 || consumer_is_called(consumer) || woken(consumer))
            return rc;
        int64_t now_ns = clock_mono_ns();
        if (now_ns >= deadline_ns)
            return 0;
        if (!whole && until_ns > now_ns + SHORT_SLEEP_MS * 1000000)
            until_ns = now_ns + SHORT_SLEEP_MS * 1000000;
        wait_sleep(&set, until_ns);
    }
}
