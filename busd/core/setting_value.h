/* SPDX-License-Identifier: Apache-2.0
 * One value of a setting: parsed from text and written as text. Inside core/ only.
 */
#ifndef CORE_SETTING_VALUE_H
#define CORE_SETTING_VALUE_H

#include "core/settings.h"

struct setting_value {
    union {
        int64_t number; /* BOOL, INT, LONG; ENUM: the position of the word */
        double real;    /* DOUBLE */
        char *string;   /* STRING, LIST; owned */
    };
    bool set;
};

/**
 * Parses and checks `text` for a row. Gives `*value`, to be released by setting_value_fini().
 * 0, INVALID_CONFIG with name, value and range in the text, or NO_MEMORY. Pure.
 */
int setting_value_parse(
    const struct setting_row *row, const char *text, struct setting_value *value);

/** Releases a value; it is unset then. */
void setting_value_fini(const struct setting_row *row, struct setting_value *value);

/** Canonical text: in `space`, or borrowed from the value or the row. Pure. */
const char *setting_value_format(const struct setting_row *row, const struct setting_value *value,
    char space[SETTING_FORMAT_BYTES]);

/** Whether a LIST, as canonical text, has the word of `n` bytes. Pure. */
bool setting_list_has(const char *list, const char *word, size_t n);

#endif
