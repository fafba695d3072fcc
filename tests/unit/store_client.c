/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/store_client.h"

#include "base/clock.h"
#include "base/err.h"
#include "unit/unit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

static int
no_source(
    void *context, int64_t seq, int64_t offset, struct shm_segment **segment, uint32_t *position)
{
    (void)context;
    (void)offset;
    (void)segment;
    (void)position;
    return err_set(BUS_ERR_DAEMON_UNAVAILABLE, "segment %" PRId64 ": busd is away", seq);
}

void
store_client_open(struct store_fixture *fixture, struct shm_partition *view, int *writers)
{
    struct log_attachment attachment;
    CU_ASSERT_EQUAL_FATAL(log_attach(fixture->log, LOG_ACCESS_WRITE, &attachment), 0);
    struct shm_partition_fds fds = {.control = attachment.control, .bell = attachment.bell};
    CU_ASSERT_EQUAL_FATAL(shm_partition_init(view, fds, true, fixture->options.topic_id,
                              fixture->options.partition, (struct shm_source){.open = no_source}),
        0);
    for (int i = 0; i < attachment.segment_count; i++) {
        struct shm_segment *segment;
        CU_ASSERT_EQUAL_FATAL(shm_segment_open(attachment.segments[i].fd,
                                  (size_t)attachment.segments[i].capacity, true, &segment),
            0);
        segment->seq = attachment.segments[i].seq;
        shm_partition_add(view, segment);
    }
    if (writers)
        *writers = attachment.writers;
    else
        close(attachment.writers);
}

void
store_client_start(struct store_fixture *fixture, struct shm_partition *view, int *writers)
{
    fixture_init(fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(fixture), 0);
    store_client_open(fixture, view, NULL);
    shm_partition_fini(view);
    fixture_serve(fixture);
    store_client_open(fixture, view, writers);
}

int
store_client_append_until(struct shm_partition *view, size_t value_bytes, int64_t deadline_ns)
{
    size_t bytes;
    void *batch = fixture_batch(1, value_bytes, 77, &bytes);
    struct append_batch append = {.bytes = batch, .size_bytes = bytes, .offsets = 1};
    struct append_result result;
    int rc = shm_append(view, &append, deadline_ns, &result);
    free(batch);
    return rc;
}

int
store_client_append(struct shm_partition *view, size_t value_bytes)
{
    return store_client_append_until(view, value_bytes, clock_mono_ns() + INT64_C(10000000000));
}
