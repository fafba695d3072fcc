/* SPDX-License-Identifier: Apache-2.0
 * Settings: two tables (busd's and a topic's), one parser, one formatter, and layers of values.
 *
 * The columns of topic.def and broker.def: the name; the name in C; the type; the default, as text;
 * min and max of a number, of the bytes of a STRING or of the count of a LIST; the unit: "bytes"
 * (64k, 1m, 1g are understood), "ms" (10ms, 5s, 2m, 1h, 7d), "octal", "access" (a list of who),
 * "listener" (see core/listener.h), or for ENUM and LIST the words allowed, between bars.
 *
 * A layer holds what was set in one place; what is not set comes from its parent, in the end from
 * the default:  topic -> busd, set at run time -> busd, set by file and flags -> default.
 *
 * Thread: the loop. Nothing here blocks.
 */
#ifndef CORE_SETTINGS_H
#define CORE_SETTINGS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The numbers are those of ConfigType in DescribeConfigs, but for ENUM, which is a STRING there.
 */
enum setting_type {
    SETTING_BOOL = 1,
    SETTING_STRING = 2,
    SETTING_INT = 3,
    SETTING_LONG = 5,
    SETTING_DOUBLE = 6,
    SETTING_LIST = 7,
    SETTING_ENUM = 102,
};

/** Where a value comes from; the numbers are those of ConfigSource in DescribeConfigs. */
enum setting_source {
    SETTING_FROM_TOPIC = 1,   /* the topic has its own */
    SETTING_FROM_DYNAMIC = 2, /* busd, set at run time */
    SETTING_FROM_STATIC = 4,  /* busd, set by file or flag */
    SETTING_FROM_DEFAULT = 5, /* the table */
};

/** When a changed value takes effect. */
enum setting_when {
    SETTING_DYNAMIC,
    SETTING_RESTART,
};

struct setting_row {
    const char *name;
    const char *standard; /* the default, canonical text */
    const char *unit;     /* or the words allowed */
    const char *text;     /* a sentence for people */
    double min_real, max_real;
    int64_t min, max;
    enum setting_type type;
    enum setting_when when;
};

struct setting_table {
    const char *what; /* "topic", "busd": for error texts */
    const struct setting_row *rows;
    unsigned count;
    unsigned parent_first; /* row 0 here is this row of the parent, when that has another table */
};

/** Rows of the table of topics: TOPIC_RETENTION_MS, … */
enum topic_setting {
#define X(name, row, type, standard, min, max, unit, broker_name, text) TOPIC_##row,
#include "core/topic.def"
#undef X
    TOPIC_SETTINGS
};

/** Rows of the table of busd: BROKER_NUM_PARTITIONS, …, then BROKER_TOPIC_RETENTION_MS, … */
enum broker_setting {
#define X(name, row, type, standard, min, max, unit, when, text) BROKER_##row,
#include "core/broker.def"
#undef X
#define X(name, row, type, standard, min, max, unit, broker_name, text) BROKER_TOPIC_##row,
#include "core/topic.def"
#undef X
    BROKER_SETTINGS
};

/** Values of ENUM rows: the position of the word in the unit column. */
enum topic_timestamp_type {
    TOPIC_CREATE_TIME = 0,
    TOPIC_LOG_APPEND_TIME = 1,
};

enum topic_storage_type {
    TOPIC_STORAGE_DISK = 0,
    TOPIC_STORAGE_MEMORY = 1,
};

extern const struct setting_table setting_table_topic;
extern const struct setting_table setting_table_broker;

enum { SETTING_TEXT_BYTES_MAX = 4096 }; /* the longest value, with its NUL */

/** One layer of values. */
struct settings {
    const struct setting_table *table; /* static */
    const struct settings *parent;     /* borrowed; NULL: the defaults */
    struct setting_value *values;      /* owned, one per row; NULL while nothing is set */
    enum setting_source source;        /* of what is set here */
};

/** An empty layer; allocates nothing. Borrows `parent`, which has to live longer. */
void settings_init(struct settings *settings, const struct setting_table *table,
    enum setting_source source, const struct settings *parent);

/** Releases the values; the layer is empty then. */
void settings_fini(struct settings *settings);

/** Makes `to`, an initialised layer of the same table, equal to `from`. 0 or NO_MEMORY. */
int settings_copy(struct settings *to, const struct settings *from);

/** Exchanges the values of two layers of one table. Cannot fail. */
void settings_swap(struct settings *a, struct settings *b);

/** The row of a name, or -BUS_ERR_INVALID_CONFIG with the nearest name in the text. */
int settings_find(const struct setting_table *table, const char *name);

/** Parses, checks and stores. 0, INVALID_CONFIG (setting, value and range in the text), NO_MEMORY;
 * on failure the old value stays. */
int settings_set(struct settings *settings, unsigned row, const char *text);

/** settings_find() and settings_set(). */
int settings_set_named(struct settings *settings, const char *name, const char *text);

/** What to do with a value; the numbers are those of IncrementalAlterConfigs. */
enum setting_op {
    SETTING_OP_SET = 0,
    SETTING_OP_DELETE = 1, /* back to the parent's */
    SETTING_OP_APPEND = 2, /* lists only */
    SETTING_OP_SUBTRACT = 3,
};

/** One change. Outcomes as settings_set(); `text` is not looked at for DELETE. */
int settings_alter(struct settings *settings, unsigned row, enum setting_op op, const char *text);

/** Back to the parent's value. */
void settings_unset(struct settings *settings, unsigned row);

/** Whether this layer itself has a value. */
bool settings_is_set(const struct settings *settings, unsigned row);

/** Which layer the value in force comes from. */
enum setting_source settings_source(const struct settings *settings, unsigned row);

/** The value in force of a BOOL, INT, LONG or ENUM (its position) row. */
int64_t settings_int(const struct settings *settings, unsigned row);

/** The value in force of a BOOL row. */
bool settings_bool(const struct settings *settings, unsigned row);

/** The value in force of a DOUBLE row. */
double settings_real(const struct settings *settings, unsigned row);

/** The value in force of a STRING or LIST (words and commas) row; borrowed until it changes. */
const char *settings_text(const struct settings *settings, unsigned row);

/** Whether the LIST in force has the word. */
bool settings_list_has(const struct settings *settings, unsigned row, const char *word);

enum { SETTING_FORMAT_BYTES = 48 }; /* room for any number */

/**
 * The value in force as canonical text, which settings_set() takes back: in `space`, or borrowed
 * from the layer until it changes.
 */
const char *settings_format(
    const struct settings *settings, unsigned row, char space[SETTING_FORMAT_BYTES]);

/** Whether the values of a topic's layer fit together. 0 or INVALID_CONFIG. */
int settings_check_topic(const struct settings *settings);

#endif
