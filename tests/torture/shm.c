/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/err.h"
#include "lib/shm_fixture.h"
#include "record/builder.h"
#include "shm/append.h"
#include "shm/cursor.h"
#include "shm/flush.h"
#include "torture/scenarios.h"

#include <string.h>

enum { SEGMENT_BYTES = 8192, VALUE_BYTES = 3000, BATCHES = 4, PATIENCE_NS = 1000000000 };

struct scene {
    struct shm_fixture fixture;
    struct shm_partition writer, reader;
    struct batch_builder builder;
    int appended;
};

/* One batch; rolls to the spare when the segment is full. */
static int
append(struct scene *scene)
{
    static const char value[VALUE_BYTES];
    struct builder_options options = BUILDER_OPTIONS_PLAIN;
    const struct builder_record record = {
        .ts = 1, .key_bytes = -1, .value = value, .value_bytes = VALUE_BYTES};
    struct append_batch batch = {.offsets = 1};
    struct append_result result;
    builder_reset(&scene->builder, &options);
    int rc = builder_append(&scene->builder, &record);
    if (rc == 0)
        rc = builder_finish(&scene->builder, &batch.bytes, &batch.size_bytes);
    if (rc == 0)
        rc = shm_append(&scene->writer, &batch, clock_mono_ns() + PATIENCE_NS, &result);
    if (rc != APPEND_DONE)
        return rc < 0 ? rc : err_set(BUS_ERR_SYSTEM, "append: outcome %d", rc);
    return result.base_offset == scene->appended++ ? 0 : 1;
}

/* Everything that was appended, whole and in order, and nothing else. */
static int
read_all(struct scene *scene)
{
    struct cursor cursor;
    struct batch_header header;
    const uint8_t *bytes;
    int rc, seen = 0;
    cursor_init(&cursor, &scene->reader, 0, CURSOR_UNCOMMITTED);
    while ((rc = cursor_next(&cursor, &bytes, &header)) == CURSOR_BATCH)
        if (header.base_offset != seen++ || !batch_crc_ok(bytes, batch_bytes(&header)))
            rc = 2;
    cursor_fini(&cursor);
    if (rc < 0)
        return rc;
    return rc == CURSOR_EMPTY && seen == scene->appended ? 0 : 3;
}

static int
write_and_read(struct scene *scene)
{
    int rc = shm_fixture_spare(&scene->fixture, &scene->writer);
    for (int i = 0; rc == 0 && i < BATCHES; i++)
        rc = append(scene);
    if (rc == 0)
        rc = shm_flush(&scene->writer, scene->appended, clock_mono_ns() + PATIENCE_NS);
    if (rc == 0)
        rc = shm_fixture_view(&scene->fixture, false, &scene->reader);
    if (rc != 0)
        return rc;
    rc = read_all(scene);
    shm_partition_fini(&scene->reader);
    return rc;
}

/* A partition from its making to its end: a writer that rolls and flushes, and a reader. */
int
scenario_shm(void *unused)
{
    (void)unused;
    struct scene scene = {.appended = 0};
    struct shm_fixture_options options = {
        .segment_bytes = SEGMENT_BYTES, .max_message_bytes = SEGMENT_BYTES};
    int rc = shm_fixture_init(&scene.fixture, &options);
    if (rc < 0)
        return rc;
    rc = builder_init(&scene.builder, VALUE_BYTES + 1000, SEGMENT_BYTES);
    if (rc == 0) {
        rc = shm_fixture_view(&scene.fixture, true, &scene.writer);
        if (rc == 0) {
            rc = write_and_read(&scene);
            shm_partition_fini(&scene.writer);
        }
        builder_fini(&scene.builder);
    }
    shm_fixture_fini(&scene.fixture);
    return rc;
}
