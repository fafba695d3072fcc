/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/timeparse.h"

#include "base/err.h"
#include "busctl/number.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* From here on an epoch is in milliseconds: as seconds it would be the year 5138. */
#define EPOCH_MS_MIN INT64_C(100000000000)

#define DAY_MS INT64_C(86400000)

enum { YEAR_MAX = 9999, DIGITS_MAX = 15 };

static const struct unit {
    const char *name;
    int64_t ms;
} units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {"w", 604800000}};

/** Reads `min` to `max` digits; false when there are fewer. */
static bool
digits(const char **at, int min, int max, int64_t *value)
{
    int count = 0;
    for (*value = 0; isdigit((unsigned char)**at) && count < max; (*at)++, count++)
        *value = *value * 10 + (**at - '0');
    return count >= min;
}

/** Reads ".25" as 250 milliseconds; digits beyond the third are dropped. */
static bool
fraction(const char **at, int64_t *ms)
{
    *ms = 0;
    if (**at != '.' && **at != ',')
        return true;
    (*at)++;
    int64_t scale = 100;
    if (!isdigit((unsigned char)**at))
        return false;
    for (; isdigit((unsigned char)**at); (*at)++, scale /= 10)
        *ms += (**at - '0') * scale;
    return true;
}

/** Reads the unit of a span; the longest name that fits wins. */
static bool
unit(const char **at, int64_t *ms)
{
    size_t letters = 0;
    while (isalpha((unsigned char)(*at)[letters]))
        letters++;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strlen(units[i].name) == letters && memcmp(units[i].name, *at, letters) == 0) {
            *ms = units[i].ms;
            *at += letters;
            return true;
        }
    return false;
}

/** "1h30m" */
static bool
span(const char *at, int64_t *ms)
{
    *ms = 0;
    do {
        int64_t count, each, part;
        if (!digits(&at, 1, DIGITS_MAX, &count) || !unit(&at, &each) ||
            __builtin_mul_overflow(count, each, &part) || __builtin_add_overflow(*ms, part, ms))
            return false;
    } while (*at);
    return true;
}

/** "14:00", "14:00:05.250" */
static bool
clock_time(const char **at, struct tm *tm, int64_t *ms)
{
    int64_t hour, minute, second = 0;
    if (!digits(at, 1, 2, &hour) || *(*at)++ != ':' || !digits(at, 2, 2, &minute))
        return false;
    *ms = 0;
    if (**at == ':') {
        (*at)++;
        if (!digits(at, 2, 2, &second) || !fraction(at, ms))
            return false;
    }
    tm->tm_hour = (int)hour;
    tm->tm_min = (int)minute;
    tm->tm_sec = (int)second;
    return hour < 24 && minute < 60 && second <= 60;
}

/** "2026-08-01" */
static bool
date(const char **at, struct tm *tm)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year, month, day;
    if (!digits(at, 4, 4, &year) || *(*at)++ != '-' || !digits(at, 2, 2, &month) ||
        *(*at)++ != '-' || !digits(at, 2, 2, &day))
        return false;
    if (year > YEAR_MAX || month < 1 || month > 12 || day < 1)
        return false;
    bool leap = month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    tm->tm_year = (int)year - 1900;
    tm->tm_mon = (int)month - 1;
    tm->tm_mday = (int)day;
    return day <= days[month - 1] + leap;
}

/** "Z", "+02:00", "-0530": seconds east of Greenwich. */
static bool
zone(const char **at, int64_t *east)
{
    *east = 0;
    if (**at == 'Z' || **at == 'z') {
        (*at)++;
        return true;
    }
    bool west = **at == '-';
    int64_t hours, minutes;
    (*at)++;
    if (!digits(at, 2, 2, &hours))
        return false;
    *at += **at == ':';
    if (!digits(at, 2, 2, &minutes))
        return false;
    *east = (hours * 3600 + minutes * 60) * (west ? -1 : 1);
    return hours < 24 && minutes < 60;
}

static bool
date_time(const char *at, int64_t *time_ms)
{
    struct tm tm = {.tm_isdst = -1};
    int64_t ms = 0, east;
    if (!date(&at, &tm))
        return false;
    if (*at == 'T' || *at == 't' || *at == ' ') {
        at++;
        if (!clock_time(&at, &tm, &ms))
            return false;
    }
    if (*at == '\0') {
        *time_ms = (int64_t)mktime(&tm) * 1000 + ms;
        return true;
    }
    if (!strchr("Zz+-", *at) || !zone(&at, &east) || *at != '\0')
        return false;
    *time_ms = ((int64_t)timegm(&tm) - east) * 1000 + ms;
    return true;
}

/** Today's time of that clock, or yesterday's when it is still to come. */
static bool
latest_clock_time(const char *at, int64_t now_ms, int64_t *time_ms)
{
    time_t now = (time_t)(now_ms / 1000);
    struct tm tm;
    int64_t ms;
    if (!localtime_r(&now, &tm) || !clock_time(&at, &tm, &ms) || *at != '\0')
        return false;
    struct tm day_before = tm;
    tm.tm_isdst = day_before.tm_isdst = -1;
    day_before.tm_mday--;
    *time_ms = (int64_t)mktime(&tm) * 1000 + ms;
    if (*time_ms > now_ms)
        *time_ms = (int64_t)mktime(&day_before) * 1000 + ms;
    return true;
}

static bool
epoch(const char *at, int64_t *time_ms)
{
    int64_t value, ms;
    if (!digits(&at, 1, DIGITS_MAX, &value))
        return false;
    if (value >= EPOCH_MS_MIN) {
        *time_ms = value;
        return *at == '\0';
    }
    bool good = fraction(&at, &ms) && *at == '\0';
    *time_ms = value * 1000 + ms;
    return good;
}

static bool
any_form(const char *text, int64_t now_ms, int64_t *time_ms)
{
    int64_t before;
    if (strcmp(text, "now") == 0) {
        *time_ms = now_ms;
        return true;
    }
    if (text[0] == '-') {
        bool good = span(text + 1, &before);
        *time_ms = now_ms - before;
        return good;
    }
    return epoch(text, time_ms) || latest_clock_time(text, now_ms, time_ms) ||
           date_time(text, time_ms);
}

int
time_parse(const char *text, int64_t now_ms, int64_t *time_ms)
{
    int64_t found;
    if (!any_form(text, now_ms, &found))
        return err_set(BUS_ERR_INVALID_FORMAT,
            "'%s' is no time: write -1h30m, now, 14:00, 2026-08-01T14:00:00Z or seconds since 1970",
            text);
    *time_ms = found;
    return 0;
}

int
start_parse(const char *text, int64_t now_ms, struct start *start)
{
    int64_t number = 0;
    if (text[0] == '@') {
        start->kind = START_TIME;
        return time_parse(text + 1, now_ms, &start->value);
    }
    if (strcmp(text, "beginning") == 0)
        *start = (struct start){.kind = START_BEGINNING};
    else if (strcmp(text, "end") == 0)
        *start = (struct start){.kind = START_END};
    else if (number_parse(text, -INT64_MAX, INT64_MAX, &number) < 0)
        return err_set(BUS_ERR_INVALID_FORMAT,
            "'%s' is no start: write beginning, end, N, -N, @TIME or @-1h", text);
    else if (text[0] == '-')
        *start = (struct start){.kind = START_TAIL, .value = -number};
    else
        *start = (struct start){.kind = START_OFFSET, .value = number};
    return 0;
}

/** Where TO begins in FROM:TO, or NULL. The ':' in times of day are those without '@' behind. */
static const char *
end_of(const char *text)
{
    const char *colon = text[0] == '@' ? strstr(text, ":@") : strchr(text, ':');
    return colon ? colon + 1 : NULL;
}

/** Whether `to` is before `from` in every partition, whatever is in it. */
static bool
is_reversed(const struct start *from, const struct start *to)
{
    if (from->kind == START_END || to->kind == START_BEGINNING)
        return from->kind != to->kind;
    if (from->kind != to->kind)
        return false;
    return from->kind == START_TAIL ? from->value < to->value : from->value > to->value;
}

/** Reads a start that is a time of day, "@14:00" or "14:00", as milliseconds since midnight. */
static bool
time_of_day(const char *text, int64_t *ms)
{
    struct tm tm = {0};
    const char *at = text + (text[0] == '@');
    if (!clock_time(&at, &tm, ms) || *at != '\0')
        return false;
    *ms += ((tm.tm_hour * 60 + tm.tm_min) * INT64_C(60) + tm.tm_sec) * 1000;
    return true;
}

int
range_settle(struct range *range, const char *from, const char *to)
{
    int64_t from_ms, to_ms;
    if (!range->has_end || !is_reversed(&range->from, &range->to))
        return 0;
    if (time_of_day(from, &from_ms) && time_of_day(to, &to_ms) && from_ms < to_ms) {
        range->to.value += DAY_MS;
        return 0;
    }
    return err_set(BUS_ERR_INVALID_FORMAT,
        "the range ends at %s, before its start %s: write the earlier one first", to, from);
}

static int
parse_both(char *from, const char *to, int64_t now_ms, struct range *range)
{
    range->has_end = true;
    from[to - from - 1] = '\0';
    int rc = start_parse(from, now_ms, &range->from);
    if (rc == 0)
        rc = start_parse(to, now_ms, &range->to);
    return rc < 0 ? rc : range_settle(range, from, to);
}

int
range_parse(const char *text, int64_t now_ms, struct range *range)
{
    const char *to = end_of(text);
    *range = (struct range){0};
    if (!to)
        return start_parse(text, now_ms, &range->from);
    char *copy = strdup(text);
    if (!copy)
        return err_no_memory();
    int rc = parse_both(copy, copy + (to - text), now_ms, range);
    free(copy);
    return rc;
}
