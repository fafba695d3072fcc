/* SPDX-License-Identifier: Apache-2.0
 * Whole numbers on the command line.
 */
#ifndef BUSCTL_NUMBER_H
#define BUSCTL_NUMBER_H

#include <stdint.h>

/**
 * Reads a whole number, with an optional suffix k, m or g (1024, 1024², 1024³, either case), that
 * lies between `min` and `max`. Returns 0 or -BUS_ERR_INVALID_FORMAT; *number is then unchanged.
 */
int number_parse(const char *text, int64_t min, int64_t max, int64_t *number);

/** Reads a number as "10", "0.5" or ".5" from `min` to `max`. Returns as number_parse(). */
int decimal_parse(const char *text, double min, double max, double *number);

#endif
