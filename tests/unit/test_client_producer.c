/* SPDX-License-Identifier: Apache-2.0
 * The producer on a partition without busd, and through a socket to one that is a fake.
 */
#include "base/clock.h"
#include "lib/fake_busd.h"
#include "record/murmur2.h"
#include "shm/append.h"
#include "shm/lock.h"
#include "unit/unit.h"

#include <bus/bus.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct fake_busd fake;
static struct bus *bus;
static struct bus_producer *producer;
static struct bus_topic *topic;

static struct bus_config *
configure(const char *const *pairs)
{
    struct bus_config *config = bus_config_new();
    CU_ASSERT_EQUAL(bus_config_set(config, "socket.path", fake.path), 0);
    CU_ASSERT_EQUAL(bus_config_set(config, "reconnect.backoff.ms", "1"), 0);
    CU_ASSERT_EQUAL(bus_config_set(config, "reconnect.backoff.max.ms", "5"), 0);
    CU_ASSERT_EQUAL(bus_config_set(config, "retry.backoff.ms", "1"), 0);
    for (; pairs && *pairs; pairs += 2)
        CU_ASSERT_EQUAL(bus_config_set(config, pairs[0], pairs[1]), 0);
    return config;
}

static void
set_up_with(const struct shm_fixture_options *options, bool mediated, const char *const *pairs)
{
    CU_ASSERT_EQUAL_FATAL(fake_busd_init(&fake, options), 0);
    fake.mediated = mediated;
    struct bus_config *config = configure(pairs);
    CU_ASSERT_EQUAL_FATAL(bus_open(config, &bus), 0);
    CU_ASSERT_EQUAL_FATAL(bus_producer_open(bus, config, &producer), 0);
    bus_config_free(&config);
}

static void
set_up(bool mediated, const char *const *pairs)
{
    set_up_with(NULL, mediated, pairs);
    CU_ASSERT_EQUAL_FATAL(bus_producer_topic(producer, "t", &topic), 0);
}

static void
tear_down(void)
{
    CU_ASSERT_EQUAL(bus_producer_close(&producer, 10000), 0);
    bus_close(&bus);
    fake_busd_fini(&fake);
}

static struct bus_message
message_of(const char *value)
{
    return (struct bus_message){.partition = BUS_PARTITION_ANY,
        .timestamp_ms = 1234,
        .value = value,
        .value_size = strlen(value)};
}

static int64_t
end_offset(void)
{
    struct shm_tail tail;
    CU_ASSERT_EQUAL_FATAL(shm_partition_tail(&fake.view, &tail), 0);
    return tail.end_offset;
}

static void
send_one(const char *value, int64_t offset)
{
    struct bus_message message = message_of(value);
    struct bus_delivery delivery;
    CU_ASSERT_EQUAL_FATAL(bus_send(topic, &message, &delivery), 0);
    CU_ASSERT_EQUAL(delivery.error, 0);
    CU_ASSERT_EQUAL(delivery.partition, 0);
    CU_ASSERT_EQUAL(delivery.offset, offset);
    CU_ASSERT_EQUAL(delivery.timestamp_ms, 1234);
}

static void
send_three_ways(bool mediated)
{
    static const char *const acks[] = {"1", "all"};
    for (int i = 0; i < 2; i++) {
        set_up(mediated, (const char *const[]){"acks", acks[i], NULL});
        send_one("a", 0);
        send_one("b", 1);
        struct bus_message messages[3] = {message_of("c"), message_of("d"), message_of("e")};
        CU_ASSERT_EQUAL(bus_send_async(topic, &messages[0]), 0);
        CU_ASSERT_EQUAL(bus_send_many(topic, messages, 3), 3);
        CU_ASSERT_EQUAL(bus_flush(producer, 10000), 0);
        CU_ASSERT_EQUAL(end_offset(), 6);
        send_one("f", 6);
        tear_down();
    }
}

static void
test_direct(void)
{
    send_three_ways(false);
}

static void
test_mediated(void)
{
    send_three_ways(true);
}

static void
test_acks_none(void)
{
    set_up(true, (const char *const[]){"acks", "0", NULL});
    struct bus_message message = message_of("a");
    struct bus_delivery delivery;
    CU_ASSERT_EQUAL(bus_send(topic, &message, &delivery), 0);
    CU_ASSERT_EQUAL(delivery.offset, -1);
    /* A question behind the batch: when it is answered, the batch was handled. */
    struct bus_status status;
    CU_ASSERT_EQUAL(bus_status(bus, &status), 0);
    CU_ASSERT_EQUAL(end_offset(), 1);
    tear_down();
}

struct seen {
    int count;
    int failed;
    int64_t next_offset;
    bool in_order;
    struct bus_topic *again; /* sends once more from within the callback */
};

static void
note_delivery(void *context, void *opaque, const struct bus_delivery *delivery)
{
    struct seen *seen = context;
    seen->count++;
    seen->failed += delivery->error != 0;
    seen->in_order = seen->in_order && delivery->offset == seen->next_offset &&
                     (intptr_t)opaque == seen->next_offset && delivery->timestamp_ms == 1234;
    seen->next_offset++;
    if (seen->again) {
        struct bus_message message = message_of("again");
        message.opaque = (void *)(intptr_t)(seen->next_offset);
        struct bus_topic *to = seen->again;
        seen->again = NULL;
        CU_ASSERT_EQUAL(bus_send_async(to, &message), 0);
    }
}

static void
call_back(bool mediated, const char *acks, const char *linger_ms)
{
    struct seen seen = {.in_order = true};
    set_up(mediated,
        (const char *const[]){"acks", acks, "linger.ms", linger_ms, "batch.size", "512", NULL});
    bus_producer_on_delivery(producer, note_delivery, &seen);
    for (intptr_t i = 0; i < 1000; i++) {
        struct bus_message message = message_of("some value of a few bytes");
        message.opaque = (void *)i;
        CU_ASSERT_EQUAL_FATAL(bus_send_async(topic, &message), 0);
    }
    CU_ASSERT_EQUAL(bus_flush(producer, 10000), 0);
    CU_ASSERT_EQUAL(seen.count, 1000);
    CU_ASSERT_EQUAL(seen.failed, 0);
    CU_ASSERT(seen.in_order);
    seen.again = topic;
    struct bus_message message = message_of("one");
    message.opaque = (void *)(intptr_t)1000;
    CU_ASSERT_EQUAL(bus_send_async(topic, &message), 0);
    while (seen.count < 1002)
        CU_ASSERT_EQUAL_FATAL(bus_flush(producer, 10000), 0);
    CU_ASSERT(seen.in_order);
    CU_ASSERT_EQUAL(end_offset(), 1002);
    tear_down();
}

static void
test_callbacks(void)
{
    call_back(false, "1", "0");
    call_back(false, "all", "0");
    call_back(false, "1", "5");
    call_back(false, "all", "5");
    call_back(true, "1", "0");
    call_back(true, "all", "5");
}

static void
test_linger_alone(void)
{
    struct seen seen = {.in_order = true};
    set_up(false, (const char *const[]){"acks", "1", "linger.ms", "1", NULL});
    bus_producer_on_delivery(producer, note_delivery, &seen);
    struct bus_message message = message_of("a");
    message.opaque = (void *)0;
    CU_ASSERT_EQUAL(bus_send_async(topic, &message), 0);
    /* Nobody flushes: the sender does it in time. */
    int64_t deadline_ns = clock_mono_ns() + INT64_C(10000000000);
    while (end_offset() == 0 && clock_mono_ns() < deadline_ns) {
    }
    CU_ASSERT_EQUAL(end_offset(), 1);
    tear_down();
}

static void
test_partitions(void)
{
    set_up(false, NULL);
    struct bus_message message = message_of("a");
    CU_ASSERT_EQUAL(bus_topic_partitions(topic), 1);
    message.partition = 1;
    CU_ASSERT_EQUAL(bus_send(topic, &message, NULL), -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), "partition 1"));
    message.partition = -2;
    CU_ASSERT_EQUAL(bus_send_async(topic, &message), -BUS_ERR_INVALID_ARGUMENT);
    message.partition = 0;
    CU_ASSERT_EQUAL(bus_send(topic, &message, NULL), 0);
    message.key = "k";
    message.key_size = 1;
    message.partition = BUS_PARTITION_ANY;
    CU_ASSERT_EQUAL(bus_send(topic, &message, NULL), 0);
    struct bus_topic *other;
    CU_ASSERT_EQUAL(bus_producer_topic(producer, "t", &other), 0);
    CU_ASSERT_PTR_EQUAL(other, topic);
    CU_ASSERT_EQUAL(
        bus_producer_topic(producer, "nix", &other), -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), "busctl topic create nix"));
    tear_down();
}

static int32_t
outside(void *context, const char *name, int32_t partitions, const void *key, size_t key_size)
{
    (void)key;
    (void)key_size;
    CU_ASSERT_STRING_EQUAL(name, "t");
    return partitions + *(int32_t *)context;
}

static void
test_partitioner(void)
{
    int32_t add = -1;
    set_up(false, NULL);
    bus_producer_partition_by(producer, outside, &add);
    struct bus_message message = message_of("a");
    CU_ASSERT_EQUAL(bus_send(topic, &message, NULL), 0);
    add = 0;
    CU_ASSERT_EQUAL(bus_send(topic, &message, NULL), -BUS_ERR_INVALID_ARGUMENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), "partitioner"));
    tear_down();
}

static void
test_bad_records(void)
{
    static char large[1 << 19];
    set_up(false, NULL);
    struct bus_message message = message_of("a");
    message.timestamp_ms = -2;
    CU_ASSERT_EQUAL(bus_send(topic, &message, NULL), -BUS_ERR_INVALID_TIMESTAMP);
    message = message_of("");
    message.value = large;
    message.value_size = sizeof large;
    CU_ASSERT_EQUAL(bus_send(topic, &message, NULL), -BUS_ERR_MESSAGE_TOO_LARGE);
    CU_ASSERT_EQUAL(bus_send_async(topic, &message), -BUS_ERR_MESSAGE_TOO_LARGE);
    struct bus_message messages[2] = {message_of("fits"), message};
    CU_ASSERT_EQUAL(bus_send_many(topic, messages, 2), 1);
    message = message_of("a");
    struct bus_header header = {0};
    message.headers = &header;
    message.header_count = 1;
    CU_ASSERT_EQUAL(bus_send(topic, &message, NULL), -BUS_ERR_INVALID_ARGUMENT);
    CU_ASSERT_EQUAL(end_offset(), 1);
    tear_down();
}

static void
test_keys_of_compacted(void)
{
    struct shm_fixture_options options = {
        .flags = SHM_FLAG_COMPACTED, .segment_bytes = 1 << 20, .max_message_bytes = 1 << 18};
    set_up_with(&options, false, NULL);
    CU_ASSERT_EQUAL_FATAL(bus_producer_topic(producer, "t", &topic), 0);
    struct bus_message message = message_of("a");
    CU_ASSERT_EQUAL(bus_send(topic, &message, NULL), -BUS_ERR_INVALID_RECORD);
    message.key = "k";
    message.key_size = 1;
    CU_ASSERT_EQUAL(bus_send(topic, &message, NULL), 0);
    tear_down();
}

static void
lend(bool mediated)
{
    set_up(mediated, (const char *const[]){"acks", "1", NULL});
    struct bus_loan loan;
    struct bus_delivery delivery;
    CU_ASSERT_EQUAL_FATAL(bus_loan(topic, 0, "key", 3, 100, &loan), 0);
    CU_ASSERT_EQUAL(loan.value_size, 100);
    memset(loan.value, 'v', 100);
    CU_ASSERT_EQUAL(bus_commit(&loan, &delivery), 0);
    CU_ASSERT_EQUAL(delivery.offset, 0);
    CU_ASSERT_PTR_NULL(loan.value);
    CU_ASSERT_EQUAL(bus_commit(&loan, &delivery), -BUS_ERR_WRONG_STATE);
    CU_ASSERT_EQUAL_FATAL(bus_loan(topic, 0, NULL, 0, 10, &loan), 0);
    bus_abort(&loan);
    bus_abort(&loan);
    send_one("after", 1);
    tear_down();
}

static void
test_loans(void)
{
    lend(false);
    lend(true);
}

static void
test_busd_away(void)
{
    set_up(false, (const char *const[]){"acks", "all", NULL});
    send_one("a", 0);
    fake_busd_stop(&fake);
    for (int i = 1; i < 100; i++)
        send_one("b", i);
    CU_ASSERT_EQUAL(bus_flush(producer, 10000), 0);
    CU_ASSERT_EQUAL_FATAL(fake_busd_start(&fake), 0);
    for (int i = 100; i < 200; i++)
        send_one("c", i);
    tear_down();
}

static void
test_mediated_busd_away(void)
{
    set_up(true, (const char *const[]){"acks", "1", "linger.ms", "1", NULL});
    send_one("a", 0);
    fake_busd_stop(&fake);
    struct bus_message message = message_of("b");
    CU_ASSERT_EQUAL(bus_send_async(topic, &message), 0);
    CU_ASSERT_EQUAL(bus_flush(producer, 5), -BUS_ERR_TIMED_OUT);
    CU_ASSERT_EQUAL_FATAL(fake_busd_start(&fake), 0);
    CU_ASSERT_EQUAL(bus_flush(producer, 10000), 0);
    CU_ASSERT_EQUAL(end_offset(), 2);
    tear_down();
}

static void
test_no_room(void)
{
    struct shm_fixture_options options = {
        .segment_bytes = 1 << 20, .limit = 4096, .max_message_bytes = 4000};
    struct seen seen = {.in_order = true};
    set_up_with(&options, false,
        (const char *const[]){
            "acks", "1", "max.block.ms", "0", "buffer.memory", "64k", "batch.size", "1000", NULL});
    CU_ASSERT_EQUAL_FATAL(bus_producer_topic(producer, "t", &topic), 0);
    bus_producer_on_delivery(producer, note_delivery, &seen);
    static char value[900];
    struct bus_message message = message_of("");
    message.value = value;
    message.value_size = sizeof value;
    int rc = 0, taken = 0;
    for (; taken < 1000 && rc == 0; taken += rc == 0)
        rc = bus_send_async(topic, &message);
    /* Without patience each batch fails as soon as the sender looks, or the buffer is full. */
    CU_ASSERT(rc == 0 || rc == -BUS_ERR_QUEUE_FULL);
    int flushed = bus_flush(producer, 10000);
    CU_ASSERT_EQUAL(flushed, -BUS_ERR_DISK_FULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), "no room"));
    CU_ASSERT_EQUAL(seen.count, taken);
    CU_ASSERT_EQUAL(seen.count - seen.failed, (int)end_offset());
    tear_down();
}

/* busd has evicted somebody: the page is fenced, and an attachment gets the next generation. */
static bool
next_generation(struct fake_busd *busd, const struct fake_request *request)
{
    if (request->api->key != API_ATTACH_PARTITION || busd->context == NULL)
        return false;
    struct shm_fixture *next = busd->context;
    struct shm_tail tail;
    shm_partition_tail(&busd->view, &tail);
    shm_partition_fini(&busd->view);
    shm_fixture_fini(&busd->fixture);
    busd->fixture = *next;
    shm_fixture_view(&busd->fixture, true, &busd->view);
    shm_slot_prepare(busd->view.control, 0, tail.end_offset, 0, 0, next->limit);
    busd->fixture.segments[0].base_offset = tail.end_offset;
    busd->generation++;
    busd->context = NULL;
    return false;
}

static void
test_fenced(void)
{
    struct shm_fixture next;
    struct shm_fixture_options options = {.segment_bytes = 1 << 20, .max_message_bytes = 1 << 18};
    set_up(false, (const char *const[]){"acks", "all", NULL});
    send_one("a", 0);
    CU_ASSERT_EQUAL_FATAL(shm_fixture_init(&next, &options), 0);
    fake.context = &next;
    fake.hook = next_generation;
    shm_fence(&fake.view, SHM_STATE_FENCED);
    send_one("b", 1);
    send_one("c", 2);
    CU_ASSERT_EQUAL(fake.generation, 2);
    tear_down();
}

/* As busd does when it is told of a lock that does not move. */
static bool
evict_on_report(struct fake_busd *busd, const struct fake_request *request)
{
    if (request->api->key == API_REPORT_STALL)
        shm_fence(&busd->view, SHM_STATE_FENCED);
    return next_generation(busd, request);
}

static int zombie_pipe[2];

/* Holds the append lock until the test ends. */
static void *
hold_lock(void *arg)
{
    struct shm_partition *view = arg;
    char byte;
    shm_lock(&view->control->append_lock, INT64_MAX);
    ssize_t n = write(zombie_pipe[1], "", 1);
    n += read(zombie_pipe[0], &byte, 1);
    return (void *)n;
}

static void
test_evicts(void)
{
    struct shm_fixture next;
    struct shm_partition zombie_view;
    struct shm_fixture_options options = {.segment_bytes = 1 << 20, .max_message_bytes = 1 << 18};
    pthread_t zombie;
    int answer_pipe[2];
    char byte;
    set_up(false, (const char *const[]){"acks", "all", NULL});
    send_one("a", 0);
    CU_ASSERT_EQUAL_FATAL(shm_fixture_view(&fake.fixture, true, &zombie_view), 0);
    CU_ASSERT_EQUAL_FATAL(shm_fixture_init(&next, &options), 0);
    CU_ASSERT_EQUAL_FATAL(pipe(answer_pipe), 0);
    int release_pipe[2];
    CU_ASSERT_EQUAL_FATAL(pipe(release_pipe), 0);
    zombie_pipe[0] = release_pipe[0];
    zombie_pipe[1] = answer_pipe[1];
    CU_ASSERT_EQUAL_FATAL(pthread_create(&zombie, NULL, hold_lock, &zombie_view), 0);
    CU_ASSERT_EQUAL_FATAL(read(answer_pipe[0], &byte, 1), 1);
    fake.context = &next;
    fake.hook = evict_on_report;
    send_one("b", 1);
    send_one("c", 2);
    CU_ASSERT_EQUAL(fake.generation, 2);
    CU_ASSERT_EQUAL(write(release_pipe[1], "", 1), 1);
    pthread_join(zombie, NULL);
    for (int i = 0; i < 2; i++) {
        close(answer_pipe[i]);
        close(release_pipe[i]);
    }
    shm_partition_fini(&zombie_view);
    tear_down();
}

static void
test_deleted(void)
{
    set_up(false, (const char *const[]){"acks", "1", NULL});
    send_one("a", 0);
    shm_fence(&fake.view, SHM_STATE_DELETED);
    struct bus_message message = message_of("b");
    CU_ASSERT_EQUAL(bus_send(topic, &message, NULL), -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    tear_down();
}

static void
test_close_late(void)
{
    struct seen seen = {.in_order = true};
    set_up(true, (const char *const[]){"acks", "1", NULL});
    send_one("a", 0); /* so that the producer knows how the partition is written */
    bus_producer_on_delivery(producer, note_delivery, &seen);
    fake_busd_stop(&fake);
    struct bus_message message = message_of("b");
    CU_ASSERT_EQUAL(bus_send_async(topic, &message), 0);
    CU_ASSERT_EQUAL(bus_producer_close(&producer, 5), -BUS_ERR_TIMED_OUT);
    CU_ASSERT_EQUAL(seen.count, 1);
    CU_ASSERT_EQUAL(seen.failed, 1);
    bus_close(&bus);
    fake_busd_fini(&fake);
}

static const struct unit_case cases[] = {
    {"sends straight into the log", test_direct},
    {"sends through the socket", test_mediated},
    {"hands over without an answer for acks=0", test_acks_none},
    {"tells each record once and in order", test_callbacks},
    {"sends when linger.ms is over", test_linger_alone},
    {"chooses partitions", test_partitions},
    {"asks the application's partitioner", test_partitioner},
    {"refuses records that cannot be", test_bad_records},
    {"wants keys for a compacted topic", test_keys_of_compacted},
    {"lends room in the log", test_loans},
    {"goes on while busd is away", test_busd_away},
    {"waits for busd where it needs it", test_mediated_busd_away},
    {"reports a log without room", test_no_room},
    {"follows to the next generation", test_fenced},
    {"has a stopped writer evicted", test_evicts},
    {"reports a deleted topic", test_deleted},
    {"gives up at close", test_close_late},
    {NULL, NULL},
};

void
register_client_producer(void)
{
    unit_register("client_producer", cases);
}
