/* SPDX-License-Identifier: Apache-2.0
 * Torture: a scenario is run again and again, failing its first allocation, its second, and so on
 * until a run meets no fault; then the same with system calls. After every run, memory, files,
 * mappings and shared-memory objects must be where they were.
 *
 * The faults come from wrappers that the linker puts before the calls of our own objects (see
 * TORTURE_WRAPS in Makefile.am); calls that a library makes inside are not touched.
 */
#ifndef LIB_TORTURE_H
#define LIB_TORTURE_H

#include <stdbool.h>
#include <stddef.h>

enum { TORTURE_WHY_BYTES_MAX = 512 }; /* including the final NUL */

/**
 * One thing to try, from its start to its end: whatever it opens it closes again. Returns 0 when it
 * went well, a negative code when it failed cleanly, a positive number when something was wrong (a
 * wrong result, lost data). It must go well when no fault is injected.
 */
typedef int torture_scenario(void *with);

/**
 * Runs the scenario through all faults and writes "ok - name: …" or "not ok - name: …" to stdout.
 * Borrows `with` for the scenario. Thread: main; the scenario may start threads and must end them.
 * Blocks: as long as the scenario does, once per fault. Returns whether it held.
 */
bool torture_run(const char *name, torture_scenario *scenario, void *with);

/**
 * As torture_run(), writing nothing to stdout: false with the reason in `why` when it did not hold;
 * true with the number of faults in `why`.
 */
bool torture_holds(
    const char *name, torture_scenario *scenario, void *with, char why[TORTURE_WHY_BYTES_MAX]);

/** From here on this thread's calls are neither counted nor failed, until torture_resume(). */
void torture_pause(void);

/** Undoes one torture_pause() of this thread. */
void torture_resume(void);

/** Runs every row of scenarios.def whose name is in argv, or all; returns how many failed. */
int torture_run_all(int argc, char **argv);

#endif
