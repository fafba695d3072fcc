/* SPDX-License-Identifier: Apache-2.0
 * Whether what a producer sent may enter a log.
 */
#ifndef API_PRODUCE_CHECK_H
#define API_PRODUCE_CHECK_H

#include "api/request.h"
#include "record/batch.h"

enum {
    PRODUCE_ERRORS_MAX = 100,                  /* records named in RecordErrors */
    PRODUCE_DECOMPRESSED_BYTES_MAX = 64 << 20, /* of one batch, unless max.message.bytes is large */
    PRODUCE_DECOMPRESSED_TIMES = 4,            /* as max.message.bytes, then */
};

/**
 * Checks that `records` are one batch that fits the topic; where its largest timestamp is wrong
 * they become a copy with the right one, in the arena. 0 and *header, or the failure that Kafka
 * gives: INVALID_RECORD (with the records concerned in out->record_errors), CORRUPT_MESSAGE,
 * INVALID_TIMESTAMP, MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, UNSUPPORTED_COMPRESSION_TYPE,
 * INVALID_TXN_STATE. Blocks: no, but takes the time to decompress.
 */
int produce_check(struct api_request *r, const struct cluster_topic *topic, struct bytes *records,
    struct batch_header *header, struct produce_response_topic_partition *out);

#endif
