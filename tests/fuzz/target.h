/* SPDX-License-Identifier: Apache-2.0
 * What a fuzz target is. Each decoder has one, tests/fuzz/fuzz_<name>.c, and a folder of inputs
 * that are worth keeping, tests/fuzz/corpus/<name>/.
 */
#ifndef FUZZ_TARGET_H
#define FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>

/**
 * Decodes the bytes as hostile input, and aborts (MUST) when what comes out breaks a promise of
 * the decoder. Borrows `data`, which may be empty. Returns 0. The name is libFuzzer's.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
