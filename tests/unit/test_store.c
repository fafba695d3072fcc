/* SPDX-License-Identifier: Apache-2.0
 * The data folder beside others: what other users left, what a crash left, and whose files these
 * are.
 */
#include "base/clock.h"
#include "base/err.h"
#include "shm/flush.h"
#include "store/private.h"
#include "unit/store_fixture.h"
#include "unit/unit.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void
touch(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CU_ASSERT_FATAL(fd >= 0);
    close(fd);
}

/* Everybody may create names in /dev/shm, and the name of our folder there is no secret: what
 * somebody else put there must not lead us to files that he could not remove himself. */
static void
test_memory_folder_of_others(void)
{
    struct store_fixture fixture;
    char victim[256], path[512];
    fixture_init(&fixture);
    struct log_options memory = fixture.options;
    memory.flags |= SHM_FLAG_MEMORY;
    snprintf(victim, sizeof victim, "%s/deleted/../victim", fixture.data);
    CU_ASSERT_EQUAL(mkdir(victim, 0700), 0);
    snprintf(path, sizeof path, "%s/t-3", victim);
    CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/t-3/precious", victim);
    touch(path);
    /* The folder itself is a link; then it is ours, and what is in it is a link. */
    for (int turn = 0; turn < 2; turn++) {
        char inner[256];
        if (turn == 0) {
            char target[300];
            snprintf(target, sizeof target, "%s/trap", fixture.data);
            CU_ASSERT_EQUAL(mkdir(target, 0700), 0);
            CU_ASSERT_EQUAL(symlink(target, fixture_memory(&fixture)), 0);
        } else {
            CU_ASSERT_EQUAL(unlink(fixture_memory(&fixture)), 0);
            CU_ASSERT_EQUAL(mkdir(fixture_memory(&fixture), 0700), 0);
        }
        snprintf(inner, sizeof inner, "%s/deleted", fixture_memory(&fixture));
        CU_ASSERT_EQUAL(symlink(victim, inner), 0);
        fixture_restart(&fixture);
        CU_ASSERT_EQUAL(access(path, F_OK), 0);
        struct log *log = NULL;
        CU_ASSERT_EQUAL(log_open(fixture.store, &memory, &log), -BUS_ERR_PERMISSION);
        CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), fixture_memory(&fixture)));
        CU_ASSERT_EQUAL(log_remove(fixture.store, &memory), -BUS_ERR_PERMISSION);
        CU_ASSERT_EQUAL(access(path, F_OK), 0);
        CU_ASSERT_EQUAL(fixture_open(&fixture), 0);
    }
    char inner[256];
    snprintf(inner, sizeof inner, "%s/deleted", fixture_memory(&fixture));
    CU_ASSERT_EQUAL(unlink(inner), 0);
    fixture_restart(&fixture);
    CU_ASSERT_EQUAL(log_open(fixture.store, &memory, &fixture.log), 0);
    CU_ASSERT_EQUAL(log_delete(&fixture.log), 0);
    fixture_fini(&fixture);
}

/* Somebody who is faster than busd to create an object of the next name would own its page. */
static void
test_objects_of_others(void)
{
    if (geteuid() != 0)
        return; /* only root can make what belongs to somebody else */
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    fixture_append(&fixture, 1, 10, 1);
    struct log_attachment attachment;
    CU_ASSERT_EQUAL_FATAL(log_attach(fixture.log, LOG_ACCESS_WRITE, &attachment), 0);
    CU_ASSERT_EQUAL(fchown(attachment.control, 65534, 65534), 0);
    struct log_attachment another;
    CU_ASSERT_EQUAL(log_attach(fixture.log, LOG_ACCESS_WRITE, &another), -BUS_ERR_PERMISSION);
    log_close(&fixture.log);
    CU_ASSERT_EQUAL(fixture_open(&fixture), -BUS_ERR_PERMISSION);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "/shmbus-"));
    CU_ASSERT_EQUAL(fchown(attachment.control, 0, 0), 0);
    log_attachment_close(&attachment);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 1);
    fixture_fini(&fixture);
}

/* busd dies between the decision to delete a topic and the removal of its files, and then a topic
 * of the same name is created. */
static void
test_name_used_again(void)
{
    struct store_fixture fixture;
    char stray[512];
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    for (int n = 0; n < 10; n++)
        fixture_append(&fixture, 1, 10, 1);
    fixture_serve(&fixture);
    fixture_reboot(&fixture);
    fixture.options.topic_id[0] = 8;
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, 0);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 0);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 1);
    /* What was found is not ours to destroy: its topic may have been lost, not deleted. */
    snprintf(stray, sizeof stray,
        "%s/stray/07070700000000000000000000000000-3/00000000000000000000.log", fixture.data);
    CU_ASSERT_EQUAL(access(stray, F_OK), 0);
    fixture_restart(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 1);
    /* To delete the one must not remove the files of the other. */
    log_close(&fixture.log);
    fixture.options.topic_id[0] = 9;
    CU_ASSERT_EQUAL(log_remove(fixture.store, &fixture.options), 0);
    fixture.options.topic_id[0] = 8;
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 1);
    fixture_fini(&fixture);
}

/* Kafka's tools read whose a folder is. One whose note is damaged is believed to be what its name
 * says. */
static void
test_note_of_the_topic(void)
{
    struct store_fixture fixture;
    char text[128] = {0};
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    fixture_append(&fixture, 1, 10, 1);
    int fd = open(fixture_path(&fixture, "partition.metadata"), O_RDWR);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT(read(fd, text, sizeof text - 1) > 0);
    CU_ASSERT_STRING_EQUAL(text, "version: 0\ntopic_id: BwcHAAAAAAAAAAAAAAAAAA");
    CU_ASSERT_EQUAL(ftruncate(fd, 0), 0);
    close(fd);
    fixture_restart(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 1);
    CU_ASSERT(fixture_size(&fixture, "partition.metadata") > 0);
    fixture_fini(&fixture);
}

/* ---- what recovery sets aside --------------------------------------------------------------- */

/* Makes `count` files that were set aside so many hours ago. */
static void
set_aside(const struct store_fixture *fixture, int first, int count, int hours)
{
    for (int n = first; n < first + count; n++) {
        char name[64];
        struct timespec times[2] = {{.tv_sec = clock_wall_ms() / 1000 - hours * 3600 + n}};
        times[1] = times[0];
        snprintf(name, sizeof name, "%020d.log.cut", n);
        touch(fixture_path(fixture, name));
        CU_ASSERT_EQUAL(utimensat(AT_FDCWD, fixture_path(fixture, name), times, 0), 0);
    }
}

static int
left_after(struct store_fixture *fixture)
{
    fixture_restart(fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(fixture), 0);
    fixture_serve(fixture);
    int left = fixture_count(fixture, ".cut");
    return left;
}

static void
test_set_aside_for_a_while(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    set_aside(&fixture, 0, 16, 167);
    CU_ASSERT_EQUAL(left_after(&fixture), 16);
    set_aside(&fixture, 0, 3, 169);
    CU_ASSERT_EQUAL(left_after(&fixture), 13);
    CU_ASSERT_EQUAL(fixture_size(&fixture, "00000000000000000002.log.cut"), -1);
    /* Too many: the oldest go, but none that is younger than a day. */
    set_aside(&fixture, 20, 4, 25);
    CU_ASSERT_EQUAL(left_after(&fixture), 16);
    CU_ASSERT_EQUAL(fixture_size(&fixture, "00000000000000000003.log.cut"), -1);
    set_aside(&fixture, 30, 20, 23);
    CU_ASSERT_EQUAL(left_after(&fixture), 20);
    set_aside(&fixture, 100, 50, 1);
    CU_ASSERT_EQUAL(left_after(&fixture), 64);
    /* Nobody else's. */
    touch(fixture_path(&fixture, "notes.txt"));
    CU_ASSERT_EQUAL(left_after(&fixture), 64);
    CU_ASSERT_EQUAL(fixture_size(&fixture, "notes.txt"), 0);
    fixture_fini(&fixture);
}

static void
test_set_aside_by_size(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    set_aside(&fixture, 0, 2, 48);
    for (int n = 0; n < 2; n++) {
        char name[64];
        snprintf(name, sizeof name, "%020d.log.cut", n);
        int fd = open(fixture_path(&fixture, name), O_WRONLY);
        CU_ASSERT_EQUAL(fallocate(fd, 0, 0, 550 << 20), 0);
        close(fd);
    }
    set_aside(&fixture, 0, 2, 48);
    CU_ASSERT_EQUAL(left_after(&fixture), 1);
    CU_ASSERT_EQUAL(fixture_size(&fixture, "00000000000000000001.log.cut"), 550 << 20);
    fixture_fini(&fixture);
}

/* The same segment is damaged again and again: one piece does not take the place of another. */
static void
test_set_aside_twice(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    for (int turn = 1; turn <= 3; turn++) {
        for (int n = 0; n < 5; n++)
            fixture_append(&fixture, 1, 500, 1);
        fixture_damage(&fixture, "00000000000000000000.log", 100, 1);
        fixture_reboot(&fixture);
        CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
        CU_ASSERT_EQUAL(fixture_count(&fixture, ".cut"), turn);
    }
    CU_ASSERT(fixture_size(&fixture, "00000000000000000000.log.3.cut") > 2000);
    fixture_fini(&fixture);
}

/* busd dies while it starts a generation: the segment that was to be next is no evidence. */
static void
test_nothing_to_set_aside(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    fixture_append(&fixture, 1, 500, 1);
    fixture_serve(&fixture);
    struct shm_control *control = fixture_control(&fixture);
    atomic_store(&control->state, SHM_STATE_FENCED);
    munmap(control, SHM_PAGE_BYTES);
    log_close(&fixture.log);
    const char *next = fixture_path(&fixture, "00000000000000000007.log");
    touch(next);
    int fd = open(next, O_WRONLY);
    CU_ASSERT_EQUAL(fallocate(fd, 0, 0, 1 << 20), 0);
    close(fd);
    fixture_restart(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_count(&fixture, ".cut"), 0);
    CU_ASSERT_EQUAL(fixture_size(&fixture, "00000000000000000007.log"), -1);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 1);
    fixture_fini(&fixture);
}

/* The keeper is at work on the log, for as long as its disk likes: the thread that serves everybody
 * does not wait for it. */
static void
test_keeper_at_work(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(pthread_mutex_lock(&fixture.log->service), 0);
    int64_t offset = 0;
    for (int n = 0; n < 20 && offset == n; n++)
        offset = fixture_append(&fixture, 1, 20000, 1) + 1;
    CU_ASSERT_EQUAL(offset, 0);
    CU_ASSERT_EQUAL(log_make_room(fixture.log), 0);
    struct shm_control *control = fixture_control(&fixture);
    uint32_t generation = fixture_bounds(&fixture).generation;
    atomic_store(&control->append_lock, 1);
    int64_t until_ms = clock_mono_ms() + 50;
    int rc = LOG_STALL_WAIT;
    while (rc == LOG_STALL_WAIT && clock_mono_ms() < until_ms)
        rc = log_stalled(fixture.log, generation);
    CU_ASSERT_EQUAL(rc, LOG_STALL_WAIT);
    CU_ASSERT_EQUAL(pthread_mutex_unlock(&fixture.log->service), 0);
    CU_ASSERT_EQUAL(log_stalled(fixture.log, generation), LOG_STALL_EVICTED);
    munmap(control, SHM_PAGE_BYTES);
    CU_ASSERT(fixture_append(&fixture, 1, 20000, 1) > 0);
    fixture_serve(&fixture);
    fixture_fini(&fixture);
}

/* Somebody finds the keeper at work, and does not come back: the keeper's next pass ended the wait.
 * What it put off for him is done all the same. */
static void
test_nobody_comes_back(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    for (int n = 0; n < 3; n++)
        CU_ASSERT(fixture_append(&fixture, 1, 20000, 1) >= 0);
    CU_ASSERT_EQUAL(pthread_mutex_lock(&fixture.log->service), 0);
    CU_ASSERT_EQUAL(log_try_room(fixture.log), LOG_ROOM_BUSY);
    CU_ASSERT_EQUAL(pthread_mutex_unlock(&fixture.log->service), 0);
    fixture_serve(&fixture);
    CU_ASSERT(fixture_size(&fixture, "00000000000000000000.index") > 0);
    fixture_fini(&fixture);
}

static const struct unit_case cases[] = {
    {"a memory folder of somebody else is not entered", test_memory_folder_of_others},
    {"an object of somebody else is not used", test_objects_of_others},
    {"a topic does not get the records of an older one", test_name_used_again},
    {"whose folder it is stands beside the segments", test_note_of_the_topic},
    {"what was set aside goes after a while", test_set_aside_for_a_while},
    {"what was set aside takes up bounded space", test_set_aside_by_size},
    {"what was set aside is not overwritten", test_set_aside_twice},
    {"a segment that was never used is not set aside", test_nothing_to_set_aside},
    {"nobody waits for the keeper", test_keeper_at_work},
    {"who does not come back stops nothing", test_nobody_comes_back},
    {NULL, NULL},
};

void
register_store(void)
{
    unit_register("store", cases);
}
