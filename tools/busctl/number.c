/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/number.h"

#include "base/err.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static int
shift_of(char suffix)
{
    switch (tolower((unsigned char)suffix)) {
    case 'k':
        return 10;
    case 'm':
        return 20;
    case 'g':
        return 30;
    default:
        return 0;
    }
}

int
number_parse(const char *text, int64_t min, int64_t max, int64_t *number)
{
    bool digit = isdigit((unsigned char)text[text[0] == '-']);
    errno = 0;
    char *end;
    long long value = strtoll(text, &end, 10);
    int shift = shift_of(*end);
    if (shift)
        end++;
    long long scaled;
    if (!digit || *end != '\0' || errno || __builtin_mul_overflow(value, 1LL << shift, &scaled))
        return err_set(BUS_ERR_INVALID_FORMAT, "'%s' is not a whole number", text);
    if (scaled < min || scaled > max)
        return err_set(BUS_ERR_INVALID_FORMAT, "%s is not within %lld to %lld", text,
            (long long)min, (long long)max);
    *number = scaled;
    return 0;
}

/** "12", "0.5", ".5", "12."; strtod() alone would also take hexadecimal, infinity and blanks. */
static bool
is_decimal(const char *text)
{
    size_t digits = 0, points = 0;
    for (; isdigit((unsigned char)*text) || *text == '.'; text++)
        *(*text == '.' ? &points : &digits) += 1;
    return digits > 0 && points <= 1 && *text == '\0';
}

int
decimal_parse(const char *text, double min, double max, double *number)
{
    double value = is_decimal(text) ? strtod(text, NULL) : -1;
    if (value < 0)
        return err_set(BUS_ERR_INVALID_FORMAT, "'%s' is not a number", text);
    if (value < min || value > max)
        return err_set(BUS_ERR_INVALID_FORMAT, "%s is not within %g to %g", text, min, max);
    *number = value;
    return 0;
}
