/* SPDX-License-Identifier: Apache-2.0
 * CRC-32C (Castagnoli), the checksum of RecordBatch v2.
 */
#ifndef RECORD_CRC32C_H
#define RECORD_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/** The checksum of `n` bytes; 0 for none. Thread: any. Blocks: no. */
uint32_t crc32c(const void *p, size_t n);

/** The checksum of what `crc` covers followed by `n` more bytes. Thread: any. Blocks: no. */
uint32_t crc32c_extend(uint32_t crc, const void *p, size_t n);

/**
 * crc32c_extend() by table, on any machine: what stands in when ISA-L was not there at configure,
 * and what the tests compare with. Thread: any. Blocks: no.
 */
uint32_t crc32c_extend_by_table(uint32_t crc, const void *p, size_t n);

#endif
