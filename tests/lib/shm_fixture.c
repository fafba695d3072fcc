/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/shm_fixture.h"

#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
segment_path(const struct shm_fixture *fixture, int64_t seq, char *path, size_t bytes)
{
    snprintf(path, bytes, "%s/%lld.log", fixture->folder, (long long)seq);
}

static int
segment_create(struct shm_fixture *fixture, int64_t base_offset)
{
    char path[128];
    segment_path(fixture, fixture->segment_count, path, sizeof path);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(errno, "create %s", path);
    int rc = fallocate(fd, 0, 0, fixture->limit) < 0 ? err_sys(errno, "reserve %s", path) : 0;
    close(fd);
    if (rc < 0)
        unlink(path);
    else
        fixture->segments[fixture->segment_count++] =
            (struct shm_fixture_segment){.base_offset = base_offset, .next_offset = -1};
    return rc;
}

static int64_t
seq_of_offset(const struct shm_fixture *fixture, int64_t offset)
{
    int64_t seq = 0;
    for (int64_t i = 1; i < fixture->segment_count; i++)
        if (fixture->segments[i].base_offset >= 0 && fixture->segments[i].base_offset <= offset)
            seq = i;
    return seq;
}

static int
source_open(
    void *context, int64_t seq, int64_t offset, struct shm_segment **segment, uint32_t *position)
{
    struct shm_fixture *fixture = context;
    char path[128];
    if (seq < 0)
        seq = seq_of_offset(fixture, offset);
    segment_path(fixture, seq, path, sizeof path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return err_sys(errno, "open %s", path);
    int rc = shm_segment_open(fd, fixture->segment_bytes, true, segment);
    if (rc < 0)
        return rc;
    const struct shm_fixture_segment *known = &fixture->segments[seq];
    (*segment)->seq = seq;
    (*segment)->base_offset = known->base_offset;
    (*segment)->next_offset = known->next_offset;
    (*segment)->end = known->end;
    *position = 0;
    return 0;
}

static void
source_kick(void *context)
{
    struct shm_fixture *fixture = context;
    fixture->kicks++;
}

static int
objects_create(struct shm_fixture *fixture, const struct shm_fixture_options *options)
{
    struct shm_control_options control = {
        .partition = options->partition,
        .flags = options->flags,
        .max_message_bytes = options->max_message_bytes,
        .segment_bytes = options->segment_bytes,
    };
    memcpy(control.topic_id, options->topic_id, sizeof control.topic_id);
    /* Left over from a killed process that had our id. */
    shm_object_unlink(fixture->control_name);
    shm_object_unlink(fixture->bell_name);
    int control_fd = shm_control_create(fixture->control_name, &control);
    if (control_fd < 0)
        return control_fd;
    close(control_fd);
    int bell_fd = shm_bell_create(fixture->bell_name);
    if (bell_fd < 0)
        return bell_fd;
    close(bell_fd);
    return 0;
}

int
shm_fixture_init(struct shm_fixture *fixture, const struct shm_fixture_options *options)
{
    static int count;
    *fixture = (struct shm_fixture){.segment_bytes = options->segment_bytes,
        .limit = options->limit ? options->limit : options->segment_bytes};
    snprintf(fixture->folder, sizeof fixture->folder, "%s/shmbus-test-XXXXXX",
        options->folder ? options->folder : "/dev/shm");
    if (!mkdtemp(fixture->folder))
        return err_sys(errno, "make a folder like %s", fixture->folder);
    int number = ++count;
    snprintf(fixture->control_name, sizeof fixture->control_name, "/shmbus-test-%d-%d.ctl",
        (int)getpid(), number);
    snprintf(fixture->bell_name, sizeof fixture->bell_name, "/shmbus-test-%d-%d.bell",
        (int)getpid(), number);
    int rc = objects_create(fixture, options);
    if (rc == 0)
        rc = segment_create(fixture, 0);
    struct shm_partition view;
    if (rc == 0)
        rc = shm_fixture_view(fixture, true, &view);
    if (rc < 0) {
        shm_fixture_fini(fixture);
        return rc;
    }
    shm_slot_prepare(view.control, 0, 0, 0, 0, fixture->limit);
    shm_partition_fini(&view);
    return 0;
}

void
shm_fixture_fini(struct shm_fixture *fixture)
{
    char path[128];
    for (int64_t seq = 0; seq < fixture->segment_count; seq++) {
        segment_path(fixture, seq, path, sizeof path);
        unlink(path);
    }
    rmdir(fixture->folder);
    shm_object_unlink(fixture->control_name);
    shm_object_unlink(fixture->bell_name);
}

int
shm_fixture_spare(struct shm_fixture *fixture, struct shm_partition *view)
{
    int64_t seq = fixture->segment_count;
    int rc = segment_create(fixture, -1);
    if (rc == 0)
        shm_slot_prepare(view->control, seq, -1, 0, 0, fixture->limit);
    return rc;
}

void
shm_fixture_close(struct shm_fixture *fixture, int64_t seq, const struct shm_tail *tail)
{
    fixture->segments[seq].base_offset = tail->base_offset;
    fixture->segments[seq].next_offset = tail->end_offset;
    fixture->segments[seq].end = tail->position;
}

int
shm_fixture_view(struct shm_fixture *fixture, bool writable, struct shm_partition *view)
{
    struct shm_partition_fds fds = {.control = shm_object_open(fixture->control_name, writable),
        .bell = shm_object_open(fixture->bell_name, true)};
    if (fds.control < 0 || fds.bell < 0) {
        if (fds.control >= 0)
            close(fds.control);
        if (fds.bell >= 0)
            close(fds.bell);
        return err_set(BUS_ERR_SYSTEM, "the fixture's objects cannot be opened");
    }
    struct shm_source source = {source_open, source_kick, fixture};
    return shm_partition_init(view, fds, writable, NULL, -1, source);
}
