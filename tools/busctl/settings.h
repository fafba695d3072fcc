/* SPDX-License-Identifier: Apache-2.0
 * All settings that exist: of topics, of busd and of clients. The tables are compiled in, so that
 * they can be explained without busd.
 */
#ifndef BUSCTL_SETTINGS_H
#define BUSCTL_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

enum { SETTING_RANGE_BYTES = 64 };

struct setting {
    const char *name;
    const char *scope; /* "topic", "busd", "client", "producer", "consumer" */
    const char *type;  /* "int", "long", "bool", "enum", "list", "double", "string" */
    const char *standard;
    char range[SETTING_RANGE_BYTES]; /* "0..3600000" or words between bars, or "" */
    const char *unit;                /* "bytes", "ms", "" */
    const char *text;                /* a sentence */
    const char *remark;              /* of topics: busd's setting for all; of busd: when; or NULL */
    const char *topic_setting;       /* of busd: this is the default of that one, or NULL */
};

/** Setting number `index`; false behind the last. The strings are static. */
bool settings_at(size_t index, struct setting *setting);

#endif
