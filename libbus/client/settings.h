/* SPDX-License-Identifier: Apache-2.0
 * The settings of client.def as a struct: parsed, in range.
 */
#ifndef CLIENT_SETTINGS_H
#define CLIENT_SETTINGS_H

#include <bus/client.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SETTINGS_STRING_BYTES_MAX = 256 }; /* with the final NUL */

/* The numbers of the choices. */
enum { SETTING_ACKS_NONE = 0, SETTING_ACKS_LEADER = 1, SETTING_ACKS_ALL = 2 };
enum {
    SETTING_IDEMPOTENCE_AUTO = 0,
    SETTING_IDEMPOTENCE_TRUE = 1,
    SETTING_IDEMPOTENCE_FALSE = 2,
};
enum { SETTING_DIRECT_AUTO = 0, SETTING_DIRECT_NEVER = 1 };
enum { SETTING_RESET_LATEST = 0, SETTING_RESET_EARLIEST = 1, SETTING_RESET_NONE = 2 };
enum { SETTING_READ_UNCOMMITTED = 0, SETTING_READ_DURABLE = 1 };
enum { SETTING_CRCS_AUTO = 0, SETTING_CRCS_TRUE = 1, SETTING_CRCS_FALSE = 2 };

#define SETTING_FIELD_INT(field) int64_t field;
#define SETTING_FIELD_BOOL(field) bool field;
#define SETTING_FIELD_ENUM(field) int field;
#define SETTING_FIELD_STRING(field) char field[SETTINGS_STRING_BYTES_MAX];

/** One member for each row; copied freely. */
struct settings {
#define X(name, field, type, ...) SETTING_FIELD_##type(field)
#include "client/client.def"
#undef X
};

/** The settings of `config`, or the defaults when it is NULL. Thread: any. Blocks: no. */
void settings_of(const struct bus_config *config, struct settings *settings);

#endif
