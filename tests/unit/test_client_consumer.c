/* SPDX-License-Identifier: Apache-2.0
 * The consumer on a partition without busd.
 */
#include "base/clock.h"
#include "lib/fake_busd.h"
#include "record/builder.h"
#include "record/codec.h"
#include "shm/append.h"
#include "shm/flush.h"
#include "unit/unit.h"

#include <bus/bus.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static struct fake_busd fake;
static struct bus *bus;
static struct bus_consumer *consumer;
static struct bus_record records[1000];

static struct bus_config *
configure(const char *const *pairs)
{
    struct bus_config *config = bus_config_new();
    CU_ASSERT_EQUAL(bus_config_set(config, "socket.path", fake.path), 0);
    CU_ASSERT_EQUAL(bus_config_set(config, "reconnect.backoff.ms", "1"), 0);
    CU_ASSERT_EQUAL(bus_config_set(config, "reconnect.backoff.max.ms", "5"), 0);
    for (; pairs && *pairs; pairs += 2)
        CU_ASSERT_EQUAL(bus_config_set(config, pairs[0], pairs[1]), 0);
    return config;
}

static int
assign_at(int64_t offset)
{
    struct bus_assignment assignment = {"t", 0, offset};
    return bus_assign(consumer, &assignment, 1);
}

static void
set_up(const char *const *pairs)
{
    CU_ASSERT_EQUAL_FATAL(fake_busd_init(&fake, NULL), 0);
    struct bus_config *config = configure(pairs);
    CU_ASSERT_EQUAL_FATAL(bus_open(config, &bus), 0);
    CU_ASSERT_EQUAL_FATAL(bus_consumer_open(bus, config, &consumer), 0);
    bus_config_free(&config);
}

static void
tear_down(void)
{
    bus_consumer_close(&consumer);
    bus_close(&bus);
    fake_busd_fini(&fake);
}

/* Appends a batch of `count` records with the values "<number>", compressed or not. */
static void
append(int count, int number, int codec)
{
    struct batch_builder builder;
    struct builder_options options = BUILDER_OPTIONS_PLAIN;
    options.codec = codec;
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 1 << 16, 1 << 16), 0);
    builder_reset(&builder, &options);
    for (int i = 0; i < count; i++) {
        char value[32];
        int size = snprintf(value, sizeof value, "%d and some more", number + i);
        struct builder_header header = {"h", 1, value, size};
        struct builder_record record = {.ts = 1000 + number + i,
            .key = "key",
            .key_bytes = i % 2 ? 3 : -1,
            .value = value,
            .value_bytes = size,
            .headers = &header,
            .header_count = i % 3 == 0};
        CU_ASSERT_EQUAL_FATAL(builder_append(&builder, &record), BUILDER_OK);
    }
    struct append_batch batch = {.offsets = (uint32_t)count};
    struct append_result result;
    CU_ASSERT_EQUAL_FATAL(builder_finish(&builder, &batch.bytes, &batch.size_bytes), 0);
    CU_ASSERT_EQUAL_FATAL(
        shm_append(&fake.view, &batch, clock_mono_ns() + INT64_C(10000000000), &result),
        APPEND_DONE);
    builder_fini(&builder);
}

/* Polls until `count` records from offset `first` have come, and checks each. */
static void
expect(int64_t first, int count, int max)
{
    int64_t next = first;
    while (next < first + count) {
        int n = bus_poll(consumer, records, max, 10000);
        CU_ASSERT_FATAL(n > 0 && n <= max);
        for (int i = 0; i < n; i++, next++) {
            char text[32];
            int size = snprintf(text, sizeof text, "%d and", (int)next);
            CU_ASSERT_EQUAL(records[i].offset, next);
            CU_ASSERT_EQUAL(records[i].timestamp_ms, 1000 + next);
            CU_ASSERT_EQUAL(records[i].partition, 0);
            CU_ASSERT_STRING_EQUAL(records[i].topic, "t");
            CU_ASSERT_EQUAL(memcmp(records[i].value, text, (size_t)size), 0);
            CU_ASSERT_EQUAL(records[i].key == NULL, records[i].key_size == 0);
        }
    }
    int64_t position;
    CU_ASSERT_EQUAL(bus_position(consumer, "t", 0, &position), 0);
    CU_ASSERT_EQUAL(position, first + count);
}

static void
test_read(void)
{
    set_up(NULL);
    append(10, 0, CODEC_NONE);
    append(7, 10, CODEC_ZSTD);
    CU_ASSERT_EQUAL_FATAL(assign_at(BUS_OFFSET_BEGINNING), 0);
    expect(0, 17, 1000);
    CU_ASSERT_EQUAL(bus_poll(consumer, records, 10, 0), 0);
    append(3, 17, CODEC_NONE);
    expect(17, 3, 1);
    tear_down();
}

static void
test_middle_of_a_batch(void)
{
    set_up(NULL);
    append(10, 0, CODEC_NONE);
    append(10, 10, CODEC_ZSTD);
    CU_ASSERT_EQUAL_FATAL(assign_at(5), 0);
    expect(5, 11, 3);
    CU_ASSERT_EQUAL(bus_seek(consumer, "t", 0, 13), 0);
    expect(13, 7, 1000);
    CU_ASSERT_EQUAL(bus_seek(consumer, "t", 0, BUS_OFFSET_BEGINNING), 0);
    expect(0, 20, 7);
    CU_ASSERT_EQUAL(bus_seek(consumer, "t", 0, BUS_OFFSET_END), 0);
    CU_ASSERT_EQUAL(bus_poll(consumer, records, 10, 0), 0);
    CU_ASSERT_EQUAL(bus_seek_time(consumer, "t", 0, 1), 0);
    expect(0, 20, 7);
    int64_t end;
    CU_ASSERT_EQUAL(bus_end_offset(consumer, "t", 0, &end), 0);
    CU_ASSERT_EQUAL(end, 20);
    tear_down();
}

static void
test_headers(void)
{
    set_up(NULL);
    append(2, 0, CODEC_NONE);
    CU_ASSERT_EQUAL_FATAL(assign_at(0), 0);
    CU_ASSERT_EQUAL_FATAL(bus_poll(consumer, records, 10, 10000), 2);
    struct bus_record_header header;
    CU_ASSERT_EQUAL(records[0].header_count, 1);
    CU_ASSERT_EQUAL(bus_record_header(&records[0], 0, &header), 0);
    CU_ASSERT_EQUAL(header.key_size, 1);
    CU_ASSERT_EQUAL(memcmp(header.key, "h", 1), 0);
    CU_ASSERT_EQUAL(memcmp(header.value, "0 and", 5), 0);
    CU_ASSERT_EQUAL(bus_record_header(&records[0], 1, &header), -BUS_ERR_INVALID_ARGUMENT);
    CU_ASSERT_EQUAL(bus_record_header(&records[1], 0, &header), -BUS_ERR_INVALID_ARGUMENT);
    tear_down();
}

static void
test_bad_calls(void)
{
    int64_t offset;
    set_up(NULL);
    CU_ASSERT_EQUAL(bus_poll(consumer, records, 0, 0), -BUS_ERR_INVALID_ARGUMENT);
    CU_ASSERT_EQUAL(bus_poll(consumer, records, 100001, 0), -BUS_ERR_INVALID_ARGUMENT);
    CU_ASSERT_EQUAL(bus_poll(consumer, records, 1, 0), 0);
    struct bus_assignment twice[2] = {{"t", 0, 0}, {"t", 0, 1}};
    CU_ASSERT_EQUAL(bus_assign(consumer, twice, 2), -BUS_ERR_INVALID_ARGUMENT);
    struct bus_assignment unknown = {"nix", 0, 0};
    CU_ASSERT_EQUAL(bus_assign(consumer, &unknown, 1), -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    CU_ASSERT_EQUAL(assign_at(-3), -BUS_ERR_INVALID_ARGUMENT);
    CU_ASSERT_EQUAL(bus_position(consumer, "t", 0, &offset), -BUS_ERR_WRONG_STATE);
    CU_ASSERT_EQUAL_FATAL(assign_at(0), 0);
    CU_ASSERT_EQUAL(bus_seek(consumer, "t", 0, -3), -BUS_ERR_INVALID_ARGUMENT);
    CU_ASSERT_EQUAL(bus_seek_time(consumer, "t", 0, -1), -BUS_ERR_INVALID_ARGUMENT);
    CU_ASSERT_EQUAL(bus_assign(consumer, NULL, 0), 0);
    CU_ASSERT_EQUAL(bus_poll(consumer, records, 1, 0), 0);
    tear_down();
}

static void
test_out_of_range(void)
{
    set_up((const char *const[]){"auto.offset.reset", "earliest", NULL});
    append(5, 0, CODEC_NONE);
    CU_ASSERT_EQUAL_FATAL(assign_at(100), 0);
    expect(0, 5, 10);
    tear_down();
    set_up((const char *const[]){"auto.offset.reset", "latest", NULL});
    append(5, 0, CODEC_NONE);
    CU_ASSERT_EQUAL_FATAL(assign_at(100), 0);
    CU_ASSERT_EQUAL(bus_poll(consumer, records, 10, 0), 0);
    append(2, 5, CODEC_NONE);
    expect(5, 2, 10);
    tear_down();
    set_up((const char *const[]){"auto.offset.reset", "none", NULL});
    append(5, 0, CODEC_NONE);
    CU_ASSERT_EQUAL(assign_at(6), -BUS_ERR_OFFSET_OUT_OF_RANGE);
    CU_ASSERT_EQUAL_FATAL(assign_at(5), 0);
    CU_ASSERT_EQUAL(bus_seek(consumer, "t", 0, 6), 0);
    CU_ASSERT_EQUAL(bus_poll(consumer, records, 10, 0), -BUS_ERR_OFFSET_OUT_OF_RANGE);
    tear_down();
}

static void
test_pause(void)
{
    set_up(NULL);
    append(5, 0, CODEC_NONE);
    CU_ASSERT_EQUAL_FATAL(assign_at(0), 0);
    CU_ASSERT_EQUAL(bus_pause(consumer, "t", 0), 0);
    CU_ASSERT_EQUAL(bus_poll(consumer, records, 10, 5), 0);
    CU_ASSERT_EQUAL(bus_resume(consumer, "t", 0), 0);
    expect(0, 5, 10);
    tear_down();
}

static void
test_durable(void)
{
    set_up((const char *const[]){"isolation.level", "read_durable", NULL});
    append(5, 0, CODEC_NONE);
    CU_ASSERT_EQUAL_FATAL(assign_at(0), 0);
    CU_ASSERT_EQUAL(bus_poll(consumer, records, 10, 0), 0);
    int64_t end;
    CU_ASSERT_EQUAL(bus_end_offset(consumer, "t", 0, &end), 0);
    CU_ASSERT_EQUAL(end, 0);
    CU_ASSERT_EQUAL(shm_flush(&fake.view, 5, clock_mono_ns() + INT64_C(10000000000)), FLUSH_DONE);
    expect(0, 5, 10);
    tear_down();
}

static void
flip(uint32_t position)
{
    struct shm_segment *segment;
    CU_ASSERT_EQUAL_FATAL(shm_partition_segment(&fake.view, 0, &segment), 0);
    segment->bytes[position] ^= 1;
}

static void
test_damage(void)
{
    set_up(NULL);
    append(5, 0, CODEC_NONE);
    struct shm_tail tail;
    CU_ASSERT_EQUAL_FATAL(shm_partition_tail(&fake.view, &tail), 0);
    append(5, 5, CODEC_NONE);
    append(5, 10, CODEC_NONE);
    flip(tail.position + BATCH_HEADER_BYTES + 20);
    CU_ASSERT_EQUAL_FATAL(assign_at(0), 0);
    expect(0, 5, 10);
    int64_t position;
    for (int i = 0; i < 2; i++) {
        int rc = 0;
        int64_t deadline_ns = clock_mono_ns() + INT64_C(10000000000);
        while (rc == 0 && clock_mono_ns() < deadline_ns)
            rc = bus_poll(consumer, records, 10, 10);
        CU_ASSERT_EQUAL(rc, -BUS_ERR_CORRUPT_MESSAGE);
        CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), "t-0"));
        CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), "offset 5"));
        CU_ASSERT_EQUAL(bus_position(consumer, "t", 0, &position), 0);
        CU_ASSERT_EQUAL(position, 5);
    }
    CU_ASSERT_EQUAL(bus_seek(consumer, "t", 0, 10), 0);
    expect(10, 5, 10);
    tear_down();
}

static void *
wake_soon(void *arg)
{
    struct bus_consumer *sleeper = arg;
    bus_wakeup(sleeper);
    return NULL;
}

static void
test_wakeup(void)
{
    set_up(NULL);
    CU_ASSERT_EQUAL_FATAL(assign_at(0), 0);
    bus_wakeup(consumer);
    CU_ASSERT_EQUAL(bus_poll(consumer, records, 10, -1), 0);
    pthread_t thread;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, wake_soon, consumer), 0);
    CU_ASSERT_EQUAL(bus_poll(consumer, records, 10, -1), 0);
    pthread_join(thread, NULL);
    tear_down();
}

static bool
readable(int fd, int timeout_ms)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    return poll(&polled, 1, timeout_ms) == 1;
}

static void
test_event_fd(void)
{
    set_up(NULL);
    CU_ASSERT_EQUAL_FATAL(assign_at(0), 0);
    int fd = bus_consumer_fd(consumer);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(bus_consumer_fd(consumer), fd);
    for (int i = 0; i < 20; i++) {
        append(5, 5 * i, CODEC_NONE);
        CU_ASSERT_FATAL(readable(fd, 10000));
        expect(5 * i, 5, 2);
        CU_ASSERT_EQUAL(bus_poll(consumer, records, 10, 0), 0);
        CU_ASSERT_FALSE(readable(fd, 0));
    }
    tear_down();
}

static void
test_busd_away(void)
{
    set_up(NULL);
    append(5, 0, CODEC_NONE);
    CU_ASSERT_EQUAL_FATAL(assign_at(0), 0);
    expect(0, 5, 10);
    fake_busd_stop(&fake);
    append(5, 5, CODEC_NONE);
    expect(5, 5, 10);
    CU_ASSERT_EQUAL(bus_poll(consumer, records, 10, 5), 0);
    CU_ASSERT_EQUAL_FATAL(fake_busd_start(&fake), 0);
    append(5, 10, CODEC_NONE);
    expect(10, 5, 10);
    tear_down();
}

/* Without busd's index a seek goes through the mapped segment from its start. */
static void
test_seek_while_busd_is_away(void)
{
    set_up(NULL);
    for (int i = 0; i < 20; i++)
        append(5, 5 * i, i % 2 ? CODEC_ZSTD : CODEC_NONE);
    CU_ASSERT_EQUAL_FATAL(assign_at(BUS_OFFSET_END), 0);
    CU_ASSERT_EQUAL(bus_poll(consumer, records, 10, 0), 0);
    fake_busd_stop(&fake);
    CU_ASSERT_EQUAL(bus_seek(consumer, "t", 0, 42), 0);
    expect(42, 58, 10);
    CU_ASSERT_EQUAL(bus_seek(consumer, "t", 0, 99), 0);
    expect(99, 1, 10);
    CU_ASSERT_EQUAL(bus_seek(consumer, "t", 0, BUS_OFFSET_BEGINNING), 0);
    expect(0, 100, 1000);
    tear_down();
}

/* Who polls without waiting has the spare before busd goes, as one who waits has. */
static void
test_roll_while_busd_is_away(void)
{
    set_up(NULL);
    append(5, 0, CODEC_NONE);
    CU_ASSERT_EQUAL_FATAL(assign_at(0), 0);
    expect(0, 5, 10);
    int before = fake.requests;
    CU_ASSERT_EQUAL_FATAL(shm_fixture_spare(&fake.fixture, &fake.view), 0);
    CU_ASSERT_EQUAL(bus_poll(consumer, records, 10, 0), 0);
    /* An answer behind that of the spare: the next poll takes it in. */
    struct bus_status status;
    CU_ASSERT_EQUAL(bus_status(bus, &status), 0);
    CU_ASSERT_EQUAL(fake.requests - before, 2);
    CU_ASSERT_EQUAL(bus_poll(consumer, records, 10, 0), 0);
    fake_busd_stop(&fake);
    CU_ASSERT_EQUAL_FATAL(
        shm_roll(&fake.view, clock_mono_ns() + INT64_C(10000000000)), APPEND_DONE);
    append(5, 5, CODEC_NONE);
    int got = 0;
    int64_t deadline_ns = clock_mono_ns() + INT64_C(10000000000);
    while (got == 0 && clock_mono_ns() < deadline_ns)
        got = bus_poll(consumer, records, 10, 0);
    CU_ASSERT_EQUAL(got, 5);
    CU_ASSERT_EQUAL(records[0].offset, 5);
    tear_down();
}

/* The fd tells of what a seek, a resume or an assignment brings, not only of what is published. */
static void
test_event_fd_after_changes(void)
{
    set_up(NULL);
    append(5, 0, CODEC_NONE);
    CU_ASSERT_EQUAL_FATAL(assign_at(0), 0);
    int fd = bus_consumer_fd(consumer);
    CU_ASSERT_FATAL(readable(fd, 10000));
    CU_ASSERT(readable(fd, 10000)); /* it stays so until a poll gives nothing */
    expect(0, 5, 10);
    CU_ASSERT(readable(fd, 0));
    CU_ASSERT_EQUAL(bus_poll(consumer, records, 10, 0), 0);
    CU_ASSERT_FALSE(readable(fd, 0));
    CU_ASSERT_EQUAL(bus_seek(consumer, "t", 0, 2), 0);
    CU_ASSERT_FATAL(readable(fd, 10000));
    expect(2, 3, 10);
    CU_ASSERT_EQUAL(bus_pause(consumer, "t", 0), 0);
    append(5, 5, CODEC_NONE);
    CU_ASSERT_EQUAL(bus_poll(consumer, records, 10, 0), 0);
    CU_ASSERT_FALSE(readable(fd, 0));
    CU_ASSERT_EQUAL(bus_resume(consumer, "t", 0), 0);
    CU_ASSERT_FATAL(readable(fd, 10000));
    expect(5, 5, 10);
    CU_ASSERT_EQUAL(bus_poll(consumer, records, 10, 0), 0);
    CU_ASSERT_EQUAL(assign_at(0), 0);
    CU_ASSERT(readable(fd, 10000));
    expect(0, 10, 10);
    tear_down();
}

/* The log rolls: the next segment comes from busd, ahead if there is time. */
static void
test_roll(void)
{
    set_up(NULL);
    append(5, 0, CODEC_NONE);
    CU_ASSERT_EQUAL_FATAL(assign_at(0), 0);
    expect(0, 5, 10);
    CU_ASSERT_EQUAL_FATAL(shm_fixture_spare(&fake.fixture, &fake.view), 0);
    CU_ASSERT_EQUAL_FATAL(
        shm_roll(&fake.view, clock_mono_ns() + INT64_C(10000000000)), APPEND_DONE);
    append(5, 5, CODEC_NONE);
    expect(5, 5, 10);
    tear_down();
}

/* A writer scribbles on the number of the active segment, while the consumer waits. */
static void
test_mad_numbers(void)
{
    static const int64_t mad[] = {INT64_MAX, INT64_MAX - 1, 77, -1, INT64_MIN};
    set_up(NULL);
    append(5, 0, CODEC_NONE);
    CU_ASSERT_EQUAL_FATAL(assign_at(0), 0);
    expect(0, 5, 10);
    for (size_t i = 0; i < sizeof mad / sizeof mad[0]; i++) {
        atomic_store(&fake.view.control->active_seq, mad[i]);
        int rc = bus_poll(consumer, records, 10, 1);
        CU_ASSERT(rc == 0 || rc == -BUS_ERR_CORRUPT_MESSAGE);
        atomic_store(&fake.view.control->active_seq, 0);
        append(5, 5 * (int)i + 5, CODEC_NONE);
        expect(5 * (int64_t)i + 5, 5, 10);
    }
    tear_down();
}

static void
test_deleted(void)
{
    set_up(NULL);
    append(5, 0, CODEC_NONE);
    CU_ASSERT_EQUAL_FATAL(assign_at(0), 0);
    shm_fence(&fake.view, SHM_STATE_DELETED);
    expect(0, 5, 10);
    int rc = 0;
    int64_t deadline_ns = clock_mono_ns() + INT64_C(10000000000);
    while (rc == 0 && clock_mono_ns() < deadline_ns)
        rc = bus_poll(consumer, records, 10, 10);
    CU_ASSERT_EQUAL(rc, -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    tear_down();
}

static const struct unit_case cases[] = {
    {"reads what was appended", test_read},
    {"starts in the middle of a batch", test_middle_of_a_batch},
    {"gives headers", test_headers},
    {"refuses calls that cannot be", test_bad_calls},
    {"follows auto.offset.reset", test_out_of_range},
    {"leaves paused partitions out", test_pause},
    {"waits for the flush with read_durable", test_durable},
    {"stays at damage until a seek", test_damage},
    {"is woken", test_wakeup},
    {"has an fd for event loops", test_event_fd},
    {"tells by the fd what a change brings", test_event_fd_after_changes},
    {"reads on while busd is away", test_busd_away},
    {"seeks while busd is away", test_seek_while_busd_is_away},
    {"follows a roll while busd is away", test_roll_while_busd_is_away},
    {"follows a roll", test_roll},
    {"waits on while the number of the active segment is mad", test_mad_numbers},
    {"tells that the topic was deleted", test_deleted},
    {NULL, NULL},
};

void
register_client_consumer(void)
{
    unit_register("client_consumer", cases);
}
