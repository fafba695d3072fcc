/* SPDX-License-Identifier: Apache-2.0
 * Failures: a negative code for the program, one line of text for the person.
 *
 * A function returns 0 or a positive outcome that its caller must handle, or a negative code after
 * having set this thread's text. Each level on the way up may put its own words in front:
 *
 *     return err_prefix(rc, "topic %s", name);      ->  "topic a: open x.log: No such file …"
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <bus/errors.h>
#include <stdint.h>

enum { ERR_TEXT_BYTES_MAX = 512 }; /* including the final NUL; longer texts are cut */

/** Sets the text and returns -code. `code` is not BUS_ERR_NONE. */
int err_set(enum bus_err code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** As err_set() with the code that fits `errnum`, and with ": strerror" and, for a full disk or
 * used-up descriptors, what helps appended. */
int err_sys(int errnum, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Puts "words: " in front of the text when rc < 0, unless it begins with these words already;
 * returns rc. */
int err_prefix(int rc, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** As err_set(BUS_ERR_NO_MEMORY, …), for a failed allocation. */
int err_no_memory(void);

/** This thread's text; never NULL. */
const char *err_text(void);

/** The code that err_sys() would return for `errnum`, positive. */
enum bus_err err_of_errno(int errnum);

/** The error code of a message for a code of either sign: Kafka's -1 for the unknown error. */
int16_t err_to_wire(int rc);

/** The negative code for an error code that came in a message; 0 for 0. */
int err_of_wire(int16_t wire);

#endif
