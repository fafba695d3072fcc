/* SPDX-License-Identifier: Apache-2.0
 * The hash by which Kafka's Java client spreads keys over partitions.
 */
#ifndef RECORD_MURMUR2_H
#define RECORD_MURMUR2_H

#include <stddef.h>
#include <stdint.h>

/** MurmurHash2, 32 bits, seed 0x9747b28c. Thread: any. Blocks: no. */
uint32_t murmur2(const void *bytes, size_t n);

/** The partition of a key: 0 to `partitions` - 1. `partitions` is at least 1. */
static inline int32_t
murmur2_partition(const void *key, size_t n, int32_t partitions)
{
    return (int32_t)(murmur2(key, n) & 0x7fffffff) % partitions;
}

#endif
