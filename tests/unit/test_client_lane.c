/* SPDX-License-Identifier: Apache-2.0
 * What becomes of a producer's partitions: when the topic is made anew or grows, when busd is away,
 * when one of several fails, when the producer closes.
 */
#include "base/clock.h"
#include "base/err.h"
#include "lib/fake_busd.h"
#include "shm/append.h"
#include "shm/flush.h"
#include "shm/lock.h"
#include "unit/unit.h"

#include <bus/bus.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct fake_busd fake;
static struct bus *bus;
static struct bus_producer *producer;
static struct bus_topic *topic;

static const struct shm_fixture_options flushed = {
    .flags = SHM_FLAG_FLUSH_ON_ACK, .segment_bytes = 1 << 20, .max_message_bytes = 1 << 18};

static void
open_bus(const char *const *pairs)
{
    struct bus_config *config = bus_config_new();
    CU_ASSERT_EQUAL_FATAL(bus_config_set(config, "socket.path", fake.path), 0);
    CU_ASSERT_EQUAL_FATAL(bus_config_set(config, "reconnect.backoff.ms", "1"), 0);
    CU_ASSERT_EQUAL_FATAL(bus_config_set(config, "reconnect.backoff.max.ms", "5"), 0);
    CU_ASSERT_EQUAL_FATAL(bus_config_set(config, "retry.backoff.ms", "1"), 0);
    for (; pairs && *pairs; pairs += 2)
        CU_ASSERT_EQUAL_FATAL(bus_config_set(config, pairs[0], pairs[1]), 0);
    CU_ASSERT_EQUAL_FATAL(bus_open(config, &bus), 0);
    CU_ASSERT_EQUAL_FATAL(bus_producer_open(bus, config, &producer), 0);
    bus_config_free(&config);
}

static void
set_up(const char *const *pairs)
{
    CU_ASSERT_EQUAL_FATAL(fake_busd_init(&fake, &flushed), 0);
    open_bus(pairs);
    CU_ASSERT_EQUAL_FATAL(bus_producer_topic(producer, "t", &topic), 0);
}

static void
tear_down(void)
{
    bus_producer_close(&producer, 0);
    bus_close(&bus);
    fake_busd_fini(&fake);
}

static int64_t
soon(void)
{
    return clock_mono_ns() + INT64_C(10000000000);
}

static struct bus_message
message_to(int32_t partition)
{
    return (struct bus_message){
        .partition = partition, .timestamp_ms = 1234, .value = "value", .value_size = 5};
}

static int
send_to(int32_t partition, int64_t *offset)
{
    struct bus_message message = message_to(partition);
    struct bus_delivery delivery;
    int rc = bus_send(topic, &message, &delivery);
    if (offset)
        *offset = delivery.offset;
    return rc;
}

/* ---- the topic is another ------------------------------------------------------------------- */

/* The topic is deleted and made anew: the old page says so, and names, ids and pages are new. Its
 * first generation has the number that the old one had. */
static void
make_anew(void)
{
    struct shm_fixture_options options = flushed;
    options.topic_id[0] = 7;
    fake_busd_stop(&fake);
    shm_fence(&fake.view, SHM_STATE_DELETED);
    shm_partition_fini(&fake.view);
    shm_fixture_fini(&fake.fixture);
    memcpy(fake.topic_id, options.topic_id, sizeof fake.topic_id);
    CU_ASSERT_EQUAL_FATAL(shm_fixture_init(&fake.fixture, &options), 0);
    CU_ASSERT_EQUAL_FATAL(shm_fixture_view(&fake.fixture, true, &fake.view), 0);
    CU_ASSERT_EQUAL_FATAL(fake_busd_start(&fake), 0);
}

static void
test_made_anew(void)
{
    int64_t offset;
    set_up((const char *const[]){"acks", "all", NULL});
    for (int i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(send_to(0, NULL), 0);
    make_anew();
    int rc = send_to(0, &offset);
    CU_ASSERT(rc == 0 || rc == -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    int64_t next = rc == 0 ? 1 : 0;
    CU_ASSERT_EQUAL_FATAL(send_to(0, &offset), 0);
    CU_ASSERT_EQUAL(offset, next);
    /* What was durable in the old log says nothing about the new one. */
    CU_ASSERT_EQUAL(shm_durable_offset(&fake.view), next + 1);
    CU_ASSERT_EQUAL(bus_flush(producer, 10000), 0);
    CU_ASSERT_EQUAL(bus_producer_close(&producer, 10000), 0);
    tear_down();
}

static void
test_made_anew_for_loans(void)
{
    struct bus_loan loan;
    struct bus_delivery delivery;
    set_up((const char *const[]){"acks", "1", NULL});
    CU_ASSERT_EQUAL_FATAL(bus_loan(topic, 0, NULL, 0, 10, &loan), 0);
    CU_ASSERT_EQUAL(bus_commit(&loan, NULL), 0);
    make_anew();
    int rc = bus_loan(topic, 0, NULL, 0, 10, &loan);
    CU_ASSERT(rc == 0 || rc == -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    if (rc == 0)
        bus_abort(&loan);
    CU_ASSERT_EQUAL_FATAL(bus_loan(topic, 0, NULL, 0, 10, &loan), 0);
    memset(loan.value, 'x', 10);
    CU_ASSERT_EQUAL(bus_commit(&loan, &delivery), 0);
    CU_ASSERT_EQUAL(delivery.offset, 0);
    tear_down();
}

static void
test_grows(void)
{
    set_up((const char *const[]){"acks", "1", "metadata.max.age.ms", "1", NULL});
    CU_ASSERT_EQUAL(bus_topic_partitions(topic), 1);
    CU_ASSERT_EQUAL_FATAL(fake_busd_grow(&fake), 0);
    struct bus_status status;
    int64_t deadline_ns = soon();
    while (bus_topic_partitions(topic) == 1 && clock_mono_ns() < deadline_ns) {
        CU_ASSERT_EQUAL_FATAL(send_to(0, NULL), 0);
        CU_ASSERT_EQUAL(bus_status(bus, &status), 0); /* time for an answer */
    }
    CU_ASSERT_EQUAL(bus_topic_partitions(topic), 2);
    CU_ASSERT_EQUAL(send_to(1, NULL), 0);
    tear_down();
}

/* ---- busd is away --------------------------------------------------------------------------- */

static void
test_attached_early(void)
{
    CU_ASSERT_EQUAL_FATAL(fake_busd_init(&fake, &flushed), 0);
    CU_ASSERT_EQUAL_FATAL(fake_busd_grow(&fake), 0);
    CU_ASSERT_EQUAL_FATAL(fake_busd_grow(&fake), 0);
    open_bus((const char *const[]){"acks", "all", "max.block.ms", "0", NULL});
    CU_ASSERT_EQUAL_FATAL(bus_producer_topic(producer, "t", &topic), 0);
    fake_busd_stop(&fake);
    for (int32_t partition = 0; partition < 3; partition++)
        CU_ASSERT_EQUAL(send_to(partition, NULL), 0);
    CU_ASSERT_EQUAL(bus_flush(producer, 10000), 0);
    tear_down();
}

static bool
refuse_attach(struct fake_busd *busd, const struct fake_request *request)
{
    (void)busd;
    struct attach_partition_response answer = {.error_code = BUS_ERR_LIMIT_REACHED};
    if (request->api->key != API_ATTACH_PARTITION)
        return false;
    fake_answer(request, &answer, NULL, 0);
    return true;
}

/* Who wants no waiting does not wait for a busd that is away either. */
static void
test_does_not_block(void)
{
    CU_ASSERT_EQUAL_FATAL(fake_busd_init(&fake, &flushed), 0);
    fake.hook = refuse_attach;
    open_bus((const char *const[]){"max.block.ms", "0", "request.timeout.ms", "900000", NULL});
    CU_ASSERT_EQUAL_FATAL(bus_producer_topic(producer, "t", &topic), 0);
    CU_ASSERT_EQUAL(send_to(0, NULL), -BUS_ERR_LIMIT_REACHED);
    fake_busd_stop(&fake);
    struct bus_message message = message_to(0);
    int rc = bus_send_async(topic, &message);
    CU_ASSERT(rc == -BUS_ERR_DAEMON_UNAVAILABLE || rc == -BUS_ERR_NETWORK_EXCEPTION);
    tear_down();
}

/* ---- several partitions, one in trouble ----------------------------------------------------- */

struct seen {
    int told;
    int failed;
    int last_error;
    int resent_rc; /* of the send from within the callback */
    bool resend;
    char text[ERR_TEXT_BYTES_MAX];
};

static void
note(void *context, void *opaque, const struct bus_delivery *delivery)
{
    struct seen *seen = context;
    (void)opaque;
    seen->told++;
    if (delivery->error) {
        seen->failed++;
        seen->last_error = delivery->error;
        memcpy(seen->text, bus_error(), strlen(bus_error()) + 1);
    }
    if (seen->resend) {
        struct bus_message message = message_to(0);
        seen->resend = false;
        seen->resent_rc = bus_send_async(topic, &message);
    }
}

/* Partition 1 goes through the socket, and the first batch of it is lost with the connection. */
static bool
lose_first(struct fake_busd *busd, const struct fake_request *request)
{
    if (request->api->key == API_ATTACH_PARTITION) {
        const struct attach_partition_request *wanted = request->message;
        struct attach_partition_response answer = {.mediated = true};
        if (wanted->partition != 1)
            return false;
        fake_answer(request, &answer, NULL, 0);
        return true;
    }
    if (request->api->key != API_PRODUCE || busd->context)
        return false;
    busd->context = busd;
    shutdown(request->fd, SHUT_RDWR);
    return true;
}

static void
test_flush_goes_on(void)
{
    struct seen seen = {0};
    CU_ASSERT_EQUAL_FATAL(fake_busd_init(&fake, &flushed), 0);
    CU_ASSERT_EQUAL_FATAL(fake_busd_grow(&fake), 0);
    fake.hook = lose_first;
    open_bus((const char *const[]){"acks", "all", "linger.ms", "900000", NULL});
    bus_producer_on_delivery(producer, note, &seen);
    CU_ASSERT_EQUAL_FATAL(bus_producer_topic(producer, "t", &topic), 0);
    struct bus_message message = message_to(0);
    CU_ASSERT_EQUAL(bus_send_async(topic, &message), 0);
    message.partition = 1;
    CU_ASSERT_EQUAL(bus_send_async(topic, &message), 0);
    shm_fence(&fake.view, SHM_STATE_OFFLINE);
    CU_ASSERT_EQUAL(bus_producer_close(&producer, 10000), -BUS_ERR_PARTITION_OFFLINE);
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), "t-0"));
    CU_ASSERT_EQUAL(seen.told, 2);
    CU_ASSERT_EQUAL(seen.failed, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(seen.text, "offline"));
    tear_down();
}

/* A partition whose flush fails at once must not cost the other its time. */
static void
test_flush_of_one_fails(void)
{
    CU_ASSERT_EQUAL_FATAL(fake_busd_init(&fake, &flushed), 0);
    CU_ASSERT_EQUAL_FATAL(fake_busd_grow(&fake), 0);
    fake.hook = lose_first;
    open_bus((const char *const[]){"acks", "all", NULL});
    CU_ASSERT_EQUAL_FATAL(bus_producer_topic(producer, "t", &topic), 0);
    struct bus_message message = message_to(0);
    CU_ASSERT_EQUAL(bus_send_async(topic, &message), 0); /* in the log, not flushed */
    shm_fence(&fake.view, SHM_STATE_OFFLINE);
    message.partition = 1;
    CU_ASSERT_EQUAL(bus_send_async(topic, &message), 0);
    CU_ASSERT_EQUAL(bus_producer_close(&producer, 10000), -BUS_ERR_KAFKA_STORAGE_ERROR);
    struct shm_tail tail;
    CU_ASSERT_EQUAL_FATAL(shm_partition_tail(&fake.others[0].view, &tail), 0);
    CU_ASSERT_EQUAL(tail.end_offset, 1);
    tear_down();
}

/* ---- memory --------------------------------------------------------------------------------- */

static int stall_pipe[2];

/* busd hangs: its thread reads nothing more until the test lets it. */
static bool
hang(struct fake_busd *busd, const struct fake_request *request)
{
    (void)busd;
    char byte;
    if (request->api->key == API_PRODUCE && read(stall_pipe[0], &byte, 1) < 0)
        return true;
    return false;
}

/* Without answers, what busd has not read yet is the only measure of what is in flight. */
static void
test_unanswered_is_bounded(void)
{
    static char value[60000];
    CU_ASSERT_EQUAL_FATAL(pipe(stall_pipe), 0);
    CU_ASSERT_EQUAL_FATAL(fake_busd_init(&fake, &flushed), 0);
    fake.mediated = true;
    fake.hook = hang;
    open_bus((const char *const[]){
        "acks", "0", "max.block.ms", "0", "buffer.memory", "256k", "batch.size", "1k", NULL});
    CU_ASSERT_EQUAL_FATAL(bus_producer_topic(producer, "t", &topic), 0);
    struct bus_message message = message_to(0);
    message.value = value;
    message.value_size = sizeof value;
    int rc = 0;
    int64_t deadline_ns = soon();
    for (int sent = 0; rc == 0 && sent < 2000 && clock_mono_ns() < deadline_ns; sent++)
        while ((rc = bus_send_async(topic, &message)) == 0 && bus_flush(producer, 1) == 0)
            if (++sent == 2000)
                break;
    CU_ASSERT_EQUAL(rc, -BUS_ERR_QUEUE_FULL);
    close(stall_pipe[1]);
    CU_ASSERT_EQUAL(bus_flush(producer, 10000), 0);
    tear_down();
    close(stall_pipe[0]);
}

static int held_pipe[2], release_pipe[2];

/* Holds the flush lock until the test closes its pipe. */
static void *
hold_flush_lock(void *arg)
{
    struct shm_partition *view = arg;
    char byte;
    shm_lock(&view->control->flush_lock, soon());
    ssize_t n = write(held_pipe[1], "", 1);
    n += read(release_pipe[0], &byte, 1);
    shm_unlock(&view->control->flush_lock);
    return n < 0 ? arg : NULL;
}

/* What waits for its flush takes memory for its callback. */
static void
test_unflushed_is_bounded(void)
{
    struct seen seen = {0};
    CU_ASSERT_EQUAL_FATAL(fake_busd_init(&fake, &flushed), 0);
    open_bus(
        (const char *const[]){"acks", "all", "max.block.ms", "0", "buffer.memory", "64k", NULL});
    bus_producer_on_delivery(producer, note, &seen);
    CU_ASSERT_EQUAL_FATAL(bus_producer_topic(producer, "t", &topic), 0);
    pthread_t holder;
    char byte;
    CU_ASSERT_EQUAL_FATAL(pipe(held_pipe) | pipe(release_pipe), 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&holder, NULL, hold_flush_lock, &fake.view), 0);
    CU_ASSERT_EQUAL(read(held_pipe[0], &byte, 1), 1);
    struct bus_message message = message_to(0);
    int rc = 0, taken = 0;
    while (rc == 0 && taken < 5000)
        taken += (rc = bus_send_async(topic, &message)) == 0;
    CU_ASSERT_EQUAL(rc, -BUS_ERR_QUEUE_FULL);
    close(release_pipe[1]);
    pthread_join(holder, NULL);
    CU_ASSERT_EQUAL(bus_flush(producer, 10000), 0);
    CU_ASSERT_EQUAL(seen.told, taken);
    CU_ASSERT_EQUAL(seen.failed, 0);
    tear_down();
    close(release_pipe[0]);
    close(held_pipe[0]);
    close(held_pipe[1]);
}

/* busd has made room when it is asked to append. */
static bool
make_room(struct fake_busd *busd, const struct fake_request *request)
{
    char path[128];
    if (request->api->key != API_PRODUCE)
        return false;
    snprintf(path, sizeof path, "%s/0.log", busd->fixture.folder);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && fallocate(fd, 0, 0, busd->fixture.segment_bytes) == 0)
        atomic_store(&busd->view.control->slots[0].limit, busd->fixture.segment_bytes);
    close(fd);
    return false;
}

static void
test_no_room_without_acks(void)
{
    struct shm_fixture_options options = {
        .segment_bytes = 1 << 20, .limit = 4096, .max_message_bytes = 4000};
    static char value[900];
    CU_ASSERT_EQUAL_FATAL(fake_busd_init(&fake, &options), 0);
    fake.hook = make_room;
    open_bus((const char *const[]){"acks", "0", "batch.size", "1000", NULL});
    CU_ASSERT_EQUAL_FATAL(bus_producer_topic(producer, "t", &topic), 0);
    struct bus_message message = message_to(0);
    message.value = value;
    message.value_size = sizeof value;
    for (int i = 0; i < 20; i++)
        CU_ASSERT_EQUAL_FATAL(bus_send_async(topic, &message), 0);
    CU_ASSERT_EQUAL(bus_flush(producer, 10000), 0);
    struct shm_tail tail;
    CU_ASSERT_EQUAL_FATAL(shm_partition_tail(&fake.view, &tail), 0);
    CU_ASSERT_EQUAL(tail.end_offset, 20);
    tear_down();
}

/* ---- loans ---------------------------------------------------------------------------------- */

static void
test_loan_of_deleted(void)
{
    struct bus_loan loan;
    set_up((const char *const[]){"max.block.ms", "900000", NULL});
    shm_fence(&fake.view, SHM_STATE_DELETED);
    CU_ASSERT_EQUAL(bus_loan(topic, 0, NULL, 0, 10, &loan), -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), "t-0"));
    tear_down();
}

/* busd is slow with the next generation: it is asked again, but not without a pause. */
static void
test_loan_of_fenced(void)
{
    struct bus_loan loan;
    set_up((const char *const[]){"max.block.ms", "100", NULL});
    shm_fence(&fake.view, SHM_STATE_FENCED);
    int before = fake.requests;
    CU_ASSERT_EQUAL(bus_loan(topic, 0, NULL, 0, 10, &loan), -BUS_ERR_QUEUE_FULL);
    CU_ASSERT(fake.requests - before < 100);
    tear_down();
}

/* ---- the end -------------------------------------------------------------------------------- */

/* A callback that sends again what has failed: at the close there is an end to it. */
static void
test_resends_at_close(void)
{
    struct seen seen = {.resend = true};
    CU_ASSERT_EQUAL_FATAL(fake_busd_init(&fake, &flushed), 0);
    fake.mediated = true;
    open_bus((const char *const[]){"acks", "1", NULL});
    bus_producer_on_delivery(producer, note, &seen);
    CU_ASSERT_EQUAL_FATAL(bus_producer_topic(producer, "t", &topic), 0);
    struct bus_message message = message_to(0);
    fake_busd_stop(&fake);
    CU_ASSERT_EQUAL(bus_send_async(topic, &message), 0);
    CU_ASSERT_EQUAL(bus_producer_close(&producer, 5), -BUS_ERR_TIMED_OUT);
    CU_ASSERT_EQUAL(seen.told, 1);
    CU_ASSERT_EQUAL(seen.last_error, -BUS_ERR_TIMED_OUT);
    CU_ASSERT_EQUAL(seen.resent_rc, -BUS_ERR_WRONG_STATE);
    tear_down();
}

/* A callback sends while the close still flushes: that record is told of as well. */
static void
test_sends_during_close(void)
{
    struct seen seen = {.resend = true};
    CU_ASSERT_EQUAL_FATAL(fake_busd_init(&fake, &flushed), 0);
    open_bus((const char *const[]){"acks", "1", "linger.ms", "900000", NULL});
    bus_producer_on_delivery(producer, note, &seen);
    CU_ASSERT_EQUAL_FATAL(bus_producer_topic(producer, "t", &topic), 0);
    struct bus_message message = message_to(0);
    CU_ASSERT_EQUAL(bus_send_async(topic, &message), 0);
    CU_ASSERT_EQUAL(bus_producer_close(&producer, 10000), -BUS_ERR_TIMED_OUT);
    CU_ASSERT_EQUAL(seen.resent_rc, 0);
    CU_ASSERT_EQUAL(seen.told, 2);
    CU_ASSERT_EQUAL(seen.failed, 1);
    tear_down();
}

/* The text of the call that failed is not that of a callback which ran before it returned. */
static void
test_text_is_kept(void)
{
    static char large[1 << 19];
    struct seen seen = {0};
    set_up((const char *const[]){"acks", "1", NULL});
    bus_producer_on_delivery(producer, note, &seen);
    struct bus_message messages[2] = {message_to(0), message_to(0)};
    messages[0].partition = 5;
    CU_ASSERT_EQUAL(bus_send_many(topic, messages, 2), -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    messages[0] = message_to(0);
    messages[1].value = large;
    messages[1].value_size = sizeof large;
    CU_ASSERT_EQUAL(bus_send_many(topic, messages, 2), 1);
    CU_ASSERT_EQUAL(seen.told, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), "max.message.bytes"));
    tear_down();
}

static const struct unit_case cases[] = {
    {"finds a topic that was made anew", test_made_anew},
    {"lends room in a topic that was made anew", test_made_anew_for_loans},
    {"notices new partitions", test_grows},
    {"has all partitions before busd goes", test_attached_early},
    {"does not wait for busd without max.block.ms", test_does_not_block},
    {"flushes every partition beside one that fails to append", test_flush_goes_on},
    {"flushes every partition beside one that fails to flush", test_flush_of_one_fails},
    {"bounds what busd does not read", test_unanswered_is_bounded},
    {"bounds what waits for its flush", test_unflushed_is_bounded},
    {"goes on in order after a full log with acks=0", test_no_room_without_acks},
    {"lends nothing in a deleted topic", test_loan_of_deleted},
    {"asks for a new generation with pauses", test_loan_of_fenced},
    {"takes nothing more while it closes", test_resends_at_close},
    {"tells of what a callback sent during the close", test_sends_during_close},
    {"keeps the text of the call", test_text_is_kept},
    {NULL, NULL},
};

void
register_client_lane(void)
{
    unit_register("client_lane", cases);
}
