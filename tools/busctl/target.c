/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/target.h"

#include "base/err.h"
#include "busctl/number.h"
#include "busctl/timeparse.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *word;
    enum target_kind kind;
} words[] = {
    {"beginning", TARGET_BEGINNING},
    {"end", TARGET_END},
    {"offset", TARGET_OFFSET},
    {"time", TARGET_TIME},
    {"shift", TARGET_SHIFT},
};

enum { WORDS = sizeof words / sizeof words[0] };

static int
find(const char *word, size_t n)
{
    for (int i = 0; i < WORDS; i++)
        if (strlen(words[i].word) == n && memcmp(words[i].word, word, n) == 0)
            return i;
    return -1;
}

bool
target_wants_more(const char *word)
{
    int i = find(word, strlen(word));
    return i >= 0 && words[i].kind >= TARGET_OFFSET;
}

static int
no_target(const char *word)
{
    return err_set(BUS_ERR_INVALID_FORMAT,
        "'%s' is no place: write beginning, end, offset N, time T or shift ±N", word);
}

static int
parse_value(const char *word, const char *text, int64_t now_ms, struct target *target)
{
    if (target->kind == TARGET_TIME) {
        int rc = time_parse(text + (text[0] == '@'), now_ms, &target->value);
        /* Nothing is older than the epoch, and what is below zero are no times for busd. */
        target->value = target->value < 0 ? 0 : target->value;
        return rc;
    }
    bool shift = target->kind == TARGET_SHIFT;
    bool plus = shift && text[0] == '+' && text[1] != '-';
    if (number_parse(text + plus, shift ? -INT64_MAX : 0, INT64_MAX, &target->value) == 0)
        return 0;
    return err_set(BUS_ERR_INVALID_FORMAT, "%s %s: a number is wanted, as in %s", word, text,
        shift ? "shift -100" : "offset 100");
}

/** The short forms. */
static int
parse_short(const char *word, int64_t now_ms, struct target *target)
{
    *target = (struct target){.kind = word[0] == '@' ? TARGET_TIME : TARGET_OFFSET};
    if (word[0] == '@')
        return parse_value("time", word, now_ms, target);
    return number_parse(word, 0, INT64_MAX, &target->value) == 0 ? 0 : no_target(word);
}

int
target_parse(const char *word, const char *more, int64_t now_ms, struct target *target)
{
    size_t n = strcspn(word, " ");
    int i = find(word, n);
    if (i < 0)
        return parse_short(word, now_ms, target);
    if (word[n])
        more = word + n + strspn(word + n, " ");
    *target = (struct target){.kind = words[i].kind};
    bool wants_more = words[i].kind >= TARGET_OFFSET;
    if (!wants_more)
        return word[n] ? no_target(word) : 0;
    if (!more || !*more)
        return err_set(BUS_ERR_INVALID_FORMAT, "%s: a value must follow, as in %s", words[i].word,
            words[i].kind == TARGET_OFFSET ? "offset 100"
            : words[i].kind == TARGET_TIME ? "time -1h"
                                           : "shift -100");
    return parse_value(words[i].word, more, now_ms, target);
}

/** The nearest offset that the log has, or its end. */
static enum target_found
clamp(const struct target_place *place, int64_t wanted, int64_t *offset)
{
    *offset = wanted;
    if (wanted < place->log_start) {
        *offset = place->log_start;
        return TARGET_BELOW;
    }
    if (wanted > place->log_end) {
        *offset = place->log_end;
        return TARGET_ABOVE;
    }
    return TARGET_FOUND;
}

enum target_found
target_resolve(const struct target *target, const struct target_place *place, int64_t *offset)
{
    int64_t wanted;
    switch (target->kind) {
    case TARGET_BEGINNING:
        return clamp(place, place->log_start, offset);
    case TARGET_END:
        return clamp(place, place->log_end, offset);
    case TARGET_OFFSET:
        return clamp(place, target->value, offset);
    case TARGET_TIME:
        *offset = place->log_end;
        return place->at_time < 0 ? TARGET_YOUNGER : clamp(place, place->at_time, offset);
    case TARGET_SHIFT:
        break;
    }
    *offset = -1;
    if (place->committed < 0)
        return TARGET_NOTHING;
    if (__builtin_add_overflow(place->committed, target->value, &wanted))
        wanted = INT64_MAX;
    return clamp(place, wanted, offset);
}
