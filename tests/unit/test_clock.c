/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "unit/unit.h"

static void
test_mono_never_goes_back(void)
{
    int64_t last = clock_mono_ns();
    unsigned back = 0;
    for (unsigned i = 0; i < 10000; i++) {
        int64_t now = clock_mono_ns();
        back += now < last;
        last = now;
    }
    CU_ASSERT_EQUAL(back, 0);
}

static void
test_units_agree(void)
{
    int64_t before = clock_mono_ns() / 1000000;
    int64_t between = clock_mono_ms();
    int64_t after = clock_mono_ns() / 1000000;
    CU_ASSERT(before <= between && between <= after);
}

static void
test_wall_is_time(void)
{
    int64_t before = (int64_t)time(NULL) * 1000;
    int64_t between = clock_wall_ms();
    int64_t after = ((int64_t)time(NULL) + 1) * 1000;
    /* time() reads the coarse clock, so the second may lag behind by a tick. */
    CU_ASSERT(before <= between && between <= after + 1000);
    int64_t coarse = clock_wall_coarse_ms();
    CU_ASSERT(before <= coarse && coarse <= clock_wall_ms());
}

static const struct unit_case cases[] = {
    {"the monotonic clock never goes back", test_mono_never_goes_back},
    {"milliseconds are nanoseconds divided", test_units_agree},
    {"the wall clock agrees with time()", test_wall_is_time},
    {NULL, NULL},
};

void
register_clock(void)
{
    unit_register("clock", cases);
}
