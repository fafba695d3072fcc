/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "record/batch.h"
#include "record/builder.h"
#include "record/codec.h"
#include "torture/scenarios.h"

#include <string.h>

enum { CAPACITY_BYTES = 200, RECORD_BYTES_MAX = 3000, BATCH_BYTES_MAX = 4000 };

/* The values of the batch must be `bytes` x each. */
static int
read_back(const void *batch, size_t n, int32_t bytes, struct buf *scratch)
{
    struct batch_header h;
    struct batch_iter it;
    struct record record;
    if (batch_header_read(batch, n, &h) != BATCH_OK)
        return 1;
    int rc = batch_verify(batch, n, &h, scratch, BATCH_BYTES_MAX, BATCH_VERIFY_PRODUCE);
    if (rc == 0)
        rc = batch_iter_init(&it, batch, n, &h, scratch, BATCH_BYTES_MAX);
    if (rc < 0)
        return rc;
    while ((rc = batch_iter_next(&it, &record)) > 0)
        if (record.value_bytes != bytes || record.value[bytes - 1] != 'x')
            return 2;
    return rc;
}

/* A batch of one record; one larger than the capacity makes the builder grow. */
static int
one_batch(struct batch_builder *b, int codec, int32_t bytes, struct buf *scratch)
{
    static char value[RECORD_BYTES_MAX];
    memset(value, 'x', sizeof value);
    struct builder_options options = BUILDER_OPTIONS_PLAIN;
    options.codec = codec;
    builder_reset(b, &options);
    const struct builder_record r = {
        .ts = 1, .key_bytes = -1, .value = value, .value_bytes = bytes};
    int rc = builder_append(b, &r);
    const void *batch;
    size_t n;
    if (rc == 0)
        rc = builder_finish(b, &batch, &n);
    return rc == 0 ? read_back(batch, n, bytes, scratch) : rc;
}

/* Builds, compresses, verifies and reads; a builder that failed once is used again. */
int
scenario_record(void *unused)
{
    (void)unused;
    struct batch_builder b;
    struct buf scratch;
    buf_init(&scratch);
    int failed = 0;
    int rc = builder_init(&b, CAPACITY_BYTES, BATCH_BYTES_MAX);
    for (int codec = 0; rc == 0 && codec < CODEC_COUNT; codec++) {
        static const int32_t sizes[] = {100, RECORD_BYTES_MAX, 100};
        for (size_t i = 0; rc <= 0 && codec_available(codec) && i < 3; i++) {
            rc = one_batch(&b, codec, sizes[i], &scratch);
            failed = rc < 0 ? rc : failed;
        }
        rc = rc < 0 ? 0 : rc;
    }
    builder_fini(&b);
    buf_fini(&scratch);
    codec_thread_fini();
    return rc != 0 ? rc : failed;
}
