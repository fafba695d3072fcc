/* SPDX-License-Identifier: Apache-2.0 */
#include "core/producers.h"

#include "base/err.h"
#include "unit/unit.h"

#include <string.h>

static struct producers state;
static struct producer_batch known;

static struct producer_batch
batch(int64_t id, int16_t epoch, int32_t first, int32_t count, int64_t offset)
{
    return (struct producer_batch){id, epoch, first, count - 1, offset, -1};
}

static int
check(int64_t id, int16_t epoch, int32_t first, int32_t count)
{
    struct producer_batch wanted = batch(id, epoch, first, count, 0);
    return producers_check(&state, &wanted, &known);
}

static void
note(int64_t id, int16_t epoch, int32_t first, int32_t count, int64_t offset)
{
    struct producer_batch noted = batch(id, epoch, first, count, offset);
    CU_ASSERT_EQUAL(producers_note(&state, &noted, 1000), 0);
}

static void
test_order(void)
{
    producers_init(&state);
    CU_ASSERT_EQUAL(check(7, 0, 0, 10), PRODUCERS_NEW);
    note(7, 0, 0, 10, 100);
    CU_ASSERT_EQUAL(check(7, 0, 10, 1), PRODUCERS_NEW);
    CU_ASSERT_EQUAL(check(7, 0, 9, 1), -BUS_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    CU_ASSERT_EQUAL(check(7, 0, 11, 1), -BUS_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    CU_ASSERT_EQUAL(check(7, 0, 0, 9), -BUS_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    CU_ASSERT_EQUAL(check(8, 0, 0, 1), PRODUCERS_NEW);
    producers_fini(&state);
}

static void
test_unknown(void)
{
    producers_init(&state);
    CU_ASSERT_EQUAL(check(7, 3, 1234, 10), PRODUCERS_NEW);
    note(7, 3, 1234, 10, 100);
    CU_ASSERT_EQUAL(check(7, 3, 1244, 1), PRODUCERS_NEW);
    producers_fini(&state);
}

static void
test_window(void)
{
    producers_init(&state);
    for (int i = 0; i < 6; i++)
        note(7, 0, i * 2, 2, 100 + i * 2);
    CU_ASSERT_EQUAL(check(7, 0, 0, 2), -BUS_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    for (int i = 1; i < 6; i++) {
        CU_ASSERT_EQUAL(check(7, 0, i * 2, 2), PRODUCERS_DUPLICATE);
        CU_ASSERT_EQUAL(known.base_offset, 100 + i * 2);
    }
    CU_ASSERT_EQUAL(check(7, 0, 10, 1), -BUS_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    CU_ASSERT_EQUAL(check(7, 0, 12, 2), PRODUCERS_NEW);
    producers_fini(&state);
}

static void
test_epochs(void)
{
    producers_init(&state);
    note(7, 2, 0, 5, 100);
    CU_ASSERT_EQUAL(check(7, 1, 5, 1), -BUS_ERR_INVALID_PRODUCER_EPOCH);
    CU_ASSERT_EQUAL(check(7, 1, 0, 5), -BUS_ERR_INVALID_PRODUCER_EPOCH);
    CU_ASSERT_EQUAL(check(7, 3, 5, 1), -BUS_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    CU_ASSERT_EQUAL(check(7, 3, 0, 5), PRODUCERS_NEW);
    note(7, 3, 0, 5, 105);
    CU_ASSERT_EQUAL(check(7, 3, 0, 5), PRODUCERS_DUPLICATE);
    CU_ASSERT_EQUAL(known.base_offset, 105);
    CU_ASSERT_EQUAL(check(7, 2, 0, 5), -BUS_ERR_INVALID_PRODUCER_EPOCH);
    note(7, 2, 5, 5, 110);
    CU_ASSERT_EQUAL(check(7, 3, 5, 5), PRODUCERS_NEW);
    producers_fini(&state);
}

static void
test_wraps(void)
{
    producers_init(&state);
    CU_ASSERT_EQUAL(producers_sequence(INT32_MAX, 1), 0);
    CU_ASSERT_EQUAL(producers_sequence(INT32_MAX - 1, 1), INT32_MAX);
    CU_ASSERT_EQUAL(producers_sequence(INT32_MAX, INT32_MAX), INT32_MAX - 1);
    note(7, 0, INT32_MAX - 1, 2, 100);
    CU_ASSERT_EQUAL(check(7, 0, 0, 1), PRODUCERS_NEW);
    CU_ASSERT_EQUAL(check(7, 0, INT32_MAX, 1), -BUS_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    note(8, 0, INT32_MAX - 1, 5, 110);
    CU_ASSERT_EQUAL(check(8, 0, 3, 1), PRODUCERS_NEW);
    CU_ASSERT_EQUAL(check(8, 0, INT32_MAX - 1, 5), PRODUCERS_DUPLICATE);
    producers_fini(&state);
}

static void
test_noted_twice(void)
{
    producers_init(&state);
    for (int i = 0; i < 8; i++)
        note(7, 0, i, 1, i);
    for (int i = 0; i < 8; i++)
        note(7, 0, i, 1, i);
    CU_ASSERT_EQUAL(check(7, 0, 8, 1), PRODUCERS_NEW);
    CU_ASSERT_EQUAL(check(7, 0, 7, 1), PRODUCERS_DUPLICATE);
    producers_fini(&state);
}

static void
test_expires(void)
{
    producers_init(&state);
    note(7, 0, 0, 5, 100);
    producers_expire(&state, 1999, 1000);
    CU_ASSERT_EQUAL(check(7, 0, 9, 1), -BUS_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    producers_expire(&state, 2000, 1000);
    CU_ASSERT_EQUAL(check(7, 0, 9, 1), PRODUCERS_NEW);
    CU_ASSERT_EQUAL(state.count, 0);
    producers_fini(&state);
}

static void
test_limit(void)
{
    producers_init(&state);
    struct producer_batch first = batch(1000000, 0, 0, 1, 0);
    CU_ASSERT_EQUAL(producers_note(&state, &first, 500), 0);
    for (int i = 0; i < PRODUCERS_MAX - 1; i++)
        note(i, 0, 0, 1, i);
    CU_ASSERT_EQUAL(state.count, PRODUCERS_MAX);
    CU_ASSERT_EQUAL(check(1000000, 0, 5, 1), -BUS_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    note(2000000, 0, 0, 1, 5);
    CU_ASSERT_EQUAL(state.count, PRODUCERS_MAX);
    CU_ASSERT_EQUAL(check(1000000, 0, 5, 1), PRODUCERS_NEW);
    CU_ASSERT_EQUAL(check(1, 0, 0, 1), PRODUCERS_DUPLICATE);
    producers_fini(&state);
}

static void
test_bytes(void)
{
    struct buf bytes, damaged;
    struct producers copy;
    producers_init(&state);
    for (int i = 0; i < 9; i++)
        note(i % 3, (int16_t)(i % 3), i / 3 * 4, 4, i * 4);
    buf_init(&bytes);
    buf_init(&damaged);
    CU_ASSERT_EQUAL(producers_pack(&state, 1500, &bytes), 0);
    for (size_t n = 0; n < bytes.length; n++) {
        producers_init(&copy);
        CU_ASSERT_EQUAL(producers_unpack(&copy, bytes.data, n, 0), -BUS_ERR_CORRUPT_MESSAGE);
        CU_ASSERT_EQUAL(copy.count, 0);
        producers_fini(&copy);
        buf_clear(&damaged);
        buf_put(&damaged, bytes.data, bytes.length);
        damaged.data[n] ^= 0x81;
        producers_init(&copy);
        (void)producers_unpack(&copy, damaged.data, damaged.length, 0);
        producers_fini(&copy);
    }
    producers_fini(&state);
    producers_init(&state);
    CU_ASSERT_EQUAL(producers_unpack(&state, bytes.data, bytes.length, 9000), 0);
    CU_ASSERT_EQUAL(check(2, 2, 12, 1), PRODUCERS_NEW);
    CU_ASSERT_EQUAL(check(2, 2, 4, 4), PRODUCERS_DUPLICATE);
    CU_ASSERT_EQUAL(known.base_offset, 20);
    producers_expire(&state, 9499, 1000);
    CU_ASSERT_EQUAL(state.count, 3);
    producers_expire(&state, 9500, 1000);
    CU_ASSERT_EQUAL(state.count, 0);
    buf_fini(&bytes);
    buf_fini(&damaged);
    producers_fini(&state);
}

/* ---- against a plain model ------------------------------------------------------------------ */

enum { IDS = 3, HISTORY = 4000 };

/** All that was appended, and no cleverness. */
static struct producer_batch history[HISTORY];
static int history_count;

static int
model_check(const struct producer_batch *wanted, int64_t *offset)
{
    int16_t epoch = -1;
    int64_t next = 0;
    int seen = 0;
    for (int i = 0; i < history_count; i++)
        if (history[i].producer_id == wanted->producer_id)
            epoch = history[i].epoch;
    for (int i = history_count - 1; i >= 0; i--) {
        const struct producer_batch *at = &history[i];
        if (at->producer_id != wanted->producer_id || at->epoch != epoch)
            continue;
        if (seen == 0)
            next = ((int64_t)at->first_sequence + at->last_delta + 1) % (INT64_C(1) << 31);
        if (seen++ < 5 && wanted->epoch == epoch && at->first_sequence == wanted->first_sequence &&
            at->last_delta == wanted->last_delta) {
            *offset = at->base_offset;
            return PRODUCERS_DUPLICATE;
        }
    }
    if (epoch < 0)
        return PRODUCERS_NEW;
    if (wanted->epoch < epoch)
        return -BUS_ERR_INVALID_PRODUCER_EPOCH;
    if (wanted->epoch > epoch)
        next = 0;
    return wanted->first_sequence == next ? PRODUCERS_NEW : -BUS_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
}

static uint64_t random_state;

static int
pick(int n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int)((random_state >> 33) % (uint64_t)n);
}

/** A batch that is new, repeated, or wrong, near to what the producer wrote last. */
static struct producer_batch
invent(void)
{
    struct producer_batch made =
        batch(pick(IDS), (int16_t)pick(2), pick(4) ? 0 : INT32_MAX - 3, 1 + pick(3), 0);
    for (int i = history_count - 1, back = pick(8); i >= 0; i--) {
        const struct producer_batch *at = &history[i];
        if (at->producer_id != made.producer_id || back-- > 0)
            continue;
        made = *at;
        if (pick(3) > 0)
            made.first_sequence = producers_sequence(at->first_sequence, at->last_delta + pick(3));
        made.epoch = (int16_t)(made.epoch + (pick(12) == 0) - (pick(12) == 0));
        if (pick(20) == 0)
            made.first_sequence = 0;
        break;
    }
    return made;
}

static void
pass_through_bytes(void)
{
    struct buf bytes;
    buf_init(&bytes);
    CU_ASSERT_EQUAL(producers_pack(&state, 1000, &bytes), 0);
    producers_fini(&state);
    producers_init(&state);
    CU_ASSERT_EQUAL(producers_unpack(&state, bytes.data, bytes.length, 1000), 0);
    buf_fini(&bytes);
}

static void
test_model(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        random_state = seed;
        history_count = 0;
        producers_init(&state);
        int64_t offset = 0;
        for (int step = 0; step < 2000; step++) {
            struct producer_batch wanted = invent();
            int64_t where = -1;
            int want = model_check(&wanted, &where);
            CU_ASSERT_EQUAL_FATAL(producers_check(&state, &wanted, &known), want);
            if (want == PRODUCERS_DUPLICATE)
                CU_ASSERT_EQUAL_FATAL(known.base_offset, where);
            if (want == PRODUCERS_NEW) {
                wanted.base_offset = offset;
                offset += wanted.last_delta + 1;
                CU_ASSERT_EQUAL_FATAL(producers_note(&state, &wanted, 1000), 0);
                history[history_count++] = wanted;
            }
            if (pick(50) == 0)
                pass_through_bytes();
            if (pick(50) == 0) /* the log is read once more */
                for (int i = history_count > 30 ? history_count - 30 : 0; i < history_count; i++)
                    CU_ASSERT_EQUAL_FATAL(producers_note(&state, &history[i], 1000), 0);
        }
        producers_fini(&state);
    }
}

static void
test_newest(void)
{
    struct producer_batch newest, other;
    producers_init(&state);
    CU_ASSERT_FALSE(producers_newest(&state, &newest));
    note(7, 0, 0, 2, 100);
    note(8, 3, 5, 4, 110);
    note(7, 0, 2, 1, 105);
    CU_ASSERT_TRUE_FATAL(producers_newest(&state, &newest));
    other = batch(8, 3, 5, 4, 110);
    CU_ASSERT_TRUE(producers_same(&newest, &other));
    other.append_time_ms = 77; /* what a broker writes into it makes no other batch */
    CU_ASSERT_TRUE(producers_same(&newest, &other));
    struct producer_batch wrong[] = {batch(7, 3, 5, 4, 110), batch(8, 2, 5, 4, 110),
        batch(8, 3, 6, 4, 110), batch(8, 3, 5, 3, 110), batch(8, 3, 5, 4, 111)};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        CU_ASSERT_FALSE(producers_same(&newest, &wrong[i]));
    producers_fini(&state);
}

static const struct unit_case cases[] = {
    {"batches follow each other", test_order},
    {"of an unknown producer any sequence is right", test_unknown},
    {"five batches are recognised", test_window},
    {"epochs", test_epochs},
    {"sequences wrap around", test_wraps},
    {"a batch noted twice counts once", test_noted_twice},
    {"silent producers are forgotten", test_expires},
    {"there are not more than so many", test_limit},
    {"a state survives as bytes", test_bytes},
    {"random histories against a plain model", test_model},
    {"the newest batch tells whose log it is", test_newest},
    {NULL, NULL},
};

void
register_producers(void)
{
    unit_register("producers", cases);
}
