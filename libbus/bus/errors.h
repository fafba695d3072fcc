/* SPDX-License-Identifier: Apache-2.0
 * Error codes. Functions of libbus that can fail return 0 (or a count) on success and the negated
 * code on failure: `if (rc == -BUS_ERR_TOPIC_ALREADY_EXISTS)`.
 */
#ifndef BUS_ERRORS_H
#define BUS_ERRORS_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The codes of errors.def. Numbers below 1000 are Kafka's. */
enum bus_err {
#define X(number, name, retriable, text) BUS_ERR_##name = (number),
#include <bus/errors.def>
#undef X
};

/**
 * The name of a code, as in "TOPIC_ALREADY_EXISTS". Takes the code with either sign; the result
 * is static and never NULL ("UNKNOWN" for a number without a row). Thread: any. Blocks: no.
 */
const char *bus_err_name(int code);

/** One sentence for a code, static, never NULL. Takes either sign. Thread: any. Blocks: no. */
const char *bus_err_text(int code);

/** Whether the same call may succeed later, unchanged. Takes either sign. Thread: any. */
bool bus_err_retriable(int code);

/**
 * What went wrong in the last failed call of this thread, in words that name the thing and the
 * remedy. Valid until the next call into libbus from this thread; "" when nothing failed yet.
 * Thread: each has its own. Blocks: no.
 */
const char *bus_error(void);

#ifdef __cplusplus
}
#endif
#endif
