/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/pace.h"

#include "base/err.h"
#include "busctl/number.h"

#include <string.h>

enum { SPEED_LETTERS = 32 }; /* of a number that makes sense */

/* Waits and moments end here, so that no timestamp, however strange, overflows. */
#define FAR_MS INT64_C(4000000000000)
#define NS_PER_MS INT64_C(1000000)

int
pace_parse(const char *text, double *speed)
{
    char number[SPEED_LETTERS + 1];
    size_t length = strlen(text);
    if (strcmp(text, "max") == 0) {
        *speed = 0;
        return 0;
    }
    length -= length > 0 && text[length - 1] == 'x';
    if (length <= SPEED_LETTERS) {
        memcpy(number, text, length);
        number[length] = '\0';
        if (decimal_parse(number, PACE_SPEED_MIN, PACE_SPEED_MAX, speed) == 0)
            return 0;
    }
    return err_set(BUS_ERR_INVALID_FORMAT,
        "'%s' is no speed: write 1 (as it was), 10 (ten times as fast), 0.5, up to 1000000, or max "
        "(without waiting)",
        text);
}

void
pace_init(struct pace *pace, double speed)
{
    *pace = (struct pace){.speed = speed};
}

void
pace_begin(struct pace *pace, int64_t timestamp_ms, int64_t now_ns, int64_t wall_ms)
{
    pace->begun = true;
    pace->first_ms = timestamp_ms;
    pace->at_ns = now_ns;
    pace->wall_ms = wall_ms;
}

/** How far behind the first record this one is due; negative: before it. */
static double
behind_ms(const struct pace *pace, int64_t timestamp_ms)
{
    double span = (double)timestamp_ms - (double)pace->first_ms;
    double behind = span / pace->speed;
    if (behind > (double)FAR_MS)
        return (double)FAR_MS;
    return behind < (double)-FAR_MS ? (double)-FAR_MS : behind;
}

static bool
waits(const struct pace *pace, int64_t timestamp_ms)
{
    return pace->begun && pace->speed > 0 && timestamp_ms >= 0;
}

int64_t
pace_wait_ns(const struct pace *pace, int64_t timestamp_ms, int64_t now_ns)
{
    if (!waits(pace, timestamp_ms))
        return 0;
    double behind = behind_ms(pace, timestamp_ms);
    int64_t wait_ns = (int64_t)(behind * NS_PER_MS) - (now_ns - pace->at_ns);
    return wait_ns > 0 ? wait_ns : 0;
}

int64_t
pace_stamp_ms(const struct pace *pace, int64_t timestamp_ms)
{
    if (!waits(pace, timestamp_ms))
        return -1;
    int64_t stamp_ms = pace->wall_ms + (int64_t)behind_ms(pace, timestamp_ms);
    return stamp_ms > 0 ? stamp_ms : 0;
}

int64_t
pace_length_ms(const struct pace *pace, int64_t last_ms)
{
    if (!waits(pace, last_ms))
        return 0;
    double behind = behind_ms(pace, last_ms);
    return behind > 0 ? (int64_t)behind : 0;
}
