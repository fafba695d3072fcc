/* SPDX-License-Identifier: Apache-2.0
 * MUST(): an invariant of our own code, checked in every build.
 */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

/**
 * Stops the process with file and line when `x` is false. For what only a defect of ours can
 * make false; never for bytes that came from a peer, a file or shared memory.
 */
#define MUST(x) ((x) ? (void)0 : check_failed(#x, __FILE__, __LINE__))

/** Writes one line to stderr and aborts. Async-signal-safe. */
_Noreturn void check_failed(const char *what, const char *file, int line);

#endif
