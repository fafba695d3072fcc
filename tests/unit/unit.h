/* SPDX-License-Identifier: Apache-2.0
 * What a unit suite needs: CUnit's assertions and a way to register its cases.
 *
 *     static const struct unit_case cases[] = {{"grows", test_grows}, {NULL, NULL}};
 *
 *     void
 *     register_buf(void)
 *     {
 *         unit_register("buf", cases);
 *     }
 */
#ifndef UNIT_UNIT_H
#define UNIT_UNIT_H

#include <CUnit/CUnit.h>

struct unit_case {
    const char *name;  /* words separated by spaces: what holds */
    void (*run)(void); /* the assertions; NULL in the last row */
};

/**
 * Adds a suite. Borrows `suite` and the cases until the process ends; the row after the last has a
 * NULL name. Ends the process when CUnit refuses. Thread: main.
 */
void unit_register(const char *suite, const struct unit_case *cases);

/** One function per row of suites.def: registers the suite of that module. */
#define X(module) void register_##module(void);
#include "unit/suites.def"
#undef X

#endif
