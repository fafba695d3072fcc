/* SPDX-License-Identifier: Apache-2.0
 * A producer whose batches go to a busd that judges them by the rules, and that loses some.
 */
#include "core/producers.h"
#include "lib/fake_busd.h"
#include "record/batch_header.h"
#include "unit/unit.h"

#include <bus/bus.h>
#include <pthread.h>
#include <string.h>

enum { RECORDS = 40 };

enum trouble {
    TROUBLE_NONE,
    TROUBLE_ANSWER, /* the third batch is in the log, and the answer is that it took too long */
    TROUBLE_REFUSE, /* the third batch is refused for good */
    TROUBLE_FORGET, /* busd does not know the third batch's predecessors as they are */
};

static struct fake_busd fake;
static enum trouble trouble;
static struct producers state;
static int64_t end_offset, producer_id;
static int batches, appended, refused, repeated, last_epoch;
static int delivered, failed;
static int64_t last_delivered;

static void
answer(const struct fake_request *request, int code, int64_t offset)
{
    struct produce_response_topic_partition partition = {
        .error_code = (int16_t)code, .base_offset = offset, .log_append_time_ms = -1};
    struct produce_response_topic topic = {
        .name = "t", .partition_responses = &partition, .partition_responses_count = 1};
    struct produce_response response = {.responses = &topic, .responses_count = 1};
    fake_answer(request, &response, NULL, 0);
}

static void
judge(const struct fake_request *request, struct producer_batch *batch)
{
    struct producer_batch known;
    int rc = producers_check(&state, batch, &known);
    if (rc == PRODUCERS_DUPLICATE) {
        repeated++;
        answer(request, 0, known.base_offset);
        return;
    }
    if (rc < 0) {
        refused++;
        answer(request, -rc, -1);
        return;
    }
    batch->base_offset = end_offset;
    end_offset += batch->last_delta + 1;
    last_epoch = batch->epoch;
    appended++;
    CU_ASSERT_EQUAL(producers_note(&state, batch, 0), 0);
    bool late = trouble == TROUBLE_ANSWER && appended == 3;
    answer(request, late ? BUS_ERR_REQUEST_TIMED_OUT : 0, batch->base_offset);
}

static bool
on_produce(struct fake_busd *busd, const struct fake_request *request)
{
    (void)busd;
    if (request->api->key != API_PRODUCE)
        return false;
    const struct produce_request *message = request->message;
    const struct bytes *records = &message->topic_data[0].partition_data[0].records;
    struct batch_header header;
    CU_ASSERT_EQUAL(batch_header_read(records->data, (size_t)records->len, &header), BATCH_OK);
    CU_ASSERT_TRUE(batch_crc_ok(records->data, (size_t)records->len));
    producer_id = header.producer_id;
    struct producer_batch batch = {.producer_id = header.producer_id,
        .epoch = header.producer_epoch,
        .first_sequence = header.base_sequence,
        .last_delta = header.last_offset_delta};
    if (++batches == 3 && trouble == TROUBLE_REFUSE) {
        answer(request, BUS_ERR_MESSAGE_TOO_LARGE, -1);
        return true;
    }
    if (batches == 3 && trouble == TROUBLE_FORGET) {
        struct producer_batch strange = batch;
        strange.first_sequence = 1000;
        strange.base_offset = end_offset++;
        CU_ASSERT_EQUAL(producers_note(&state, &strange, 0), 0);
    }
    judge(request, &batch);
    return true;
}

static void
on_delivered(void *context, void *opaque, const struct bus_delivery *delivery)
{
    (void)context;
    (void)opaque;
    delivered++;
    if (delivery->error < 0) {
        failed++;
        return;
    }
    CU_ASSERT_TRUE(delivery->offset > last_delivered);
    last_delivered = delivery->offset;
}

static void
run(enum trouble wanted)
{
    struct bus *bus;
    struct bus_producer *producer;
    struct bus_topic *topic;
    trouble = wanted;
    batches = appended = refused = repeated = last_epoch = delivered = failed = 0;
    end_offset = 0;
    last_delivered = -1;
    producers_init(&state);
    CU_ASSERT_EQUAL_FATAL(fake_busd_init(&fake, NULL), 0);
    fake.mediated = true;
    fake.hook = on_produce;
    struct bus_config *config = bus_config_new();
    CU_ASSERT_EQUAL(bus_config_set(config, "socket.path", fake.path), 0);
    CU_ASSERT_EQUAL(bus_config_set(config, "retry.backoff.ms", "1"), 0);
    CU_ASSERT_EQUAL_FATAL(bus_open(config, &bus), 0);
    CU_ASSERT_EQUAL_FATAL(bus_producer_open(bus, config, &producer), 0);
    bus_producer_on_delivery(producer, on_delivered, NULL);
    CU_ASSERT_EQUAL_FATAL(bus_producer_topic(producer, "t", &topic), 0);
    for (int i = 0; i < RECORDS; i++) {
        struct bus_message message = {
            .partition = 0, .timestamp_ms = 1, .value = "v", .value_size = 1};
        CU_ASSERT_EQUAL(bus_send_async(topic, &message), 0);
    }
    bus_producer_close(&producer, 60000);
    bus_close(&bus);
    bus_config_free(&config);
    fake_busd_fini(&fake);
    producers_fini(&state);
    CU_ASSERT_EQUAL(delivered, RECORDS);
    CU_ASSERT_TRUE(producer_id >= 1000);
}

static void
test_numbers(void)
{
    run(TROUBLE_NONE);
    CU_ASSERT_EQUAL(failed, 0);
    CU_ASSERT_EQUAL(end_offset, RECORDS);
    CU_ASSERT_EQUAL(refused + repeated, 0);
}

static void
test_answer_lost(void)
{
    run(TROUBLE_ANSWER);
    CU_ASSERT_EQUAL(failed, 0);
    CU_ASSERT_EQUAL(end_offset, RECORDS);
    CU_ASSERT_EQUAL(repeated, 1);
    CU_ASSERT_EQUAL(last_epoch, 0);
}

static void
test_refused(void)
{
    run(TROUBLE_REFUSE);
    CU_ASSERT_EQUAL(failed, RECORDS - (int)end_offset);
    CU_ASSERT_TRUE(failed > 0);
    CU_ASSERT_TRUE(refused > 0);
    CU_ASSERT_EQUAL(repeated, 0);
    CU_ASSERT_EQUAL(last_epoch, 1);
}

static void
test_forgotten(void)
{
    run(TROUBLE_FORGET);
    CU_ASSERT_EQUAL(failed, 0);
    CU_ASSERT_EQUAL(end_offset, RECORDS + 1);
    CU_ASSERT_EQUAL(last_epoch, 1);
}

/* The disk is full for the first batch that busd is asked to append, which is closed up then. */
static bool
full_at_first(struct fake_busd *busd, const struct fake_request *request)
{
    (void)busd;
    if (request->api->key != API_PRODUCE)
        return false;
    const struct produce_request *message = request->message;
    const struct bytes *records = &message->topic_data[0].partition_data[0].records;
    struct batch_header header;
    CU_ASSERT_EQUAL(batch_header_read(records->data, (size_t)records->len, &header), BATCH_OK);
    if (++batches == 1)
        answer(request, BUS_ERR_DISK_FULL, -1);
    else if (header.producer_epoch == 0)
        answer(request, BUS_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    else
        answer(request, 0, header.base_sequence);
    return true;
}

/* A producer that appends in place finds no room: what follows a batch that failed goes through
 * busd with numbers of its own. */
static void
test_no_room(void)
{
    struct shm_fixture_options options = {
        .segment_bytes = 1 << 20, .limit = 4096, .max_message_bytes = 4000};
    static char value[900];
    struct bus *bus;
    struct bus_producer *producer;
    struct bus_topic *topic;
    struct bus_delivery delivery;
    CU_ASSERT_EQUAL_FATAL(fake_busd_init(&fake, &options), 0);
    fake.hook = full_at_first;
    batches = 0;
    struct bus_config *config = bus_config_new();
    CU_ASSERT_EQUAL(bus_config_set(config, "socket.path", fake.path), 0);
    CU_ASSERT_EQUAL(bus_config_set(config, "retry.backoff.ms", "1"), 0);
    CU_ASSERT_EQUAL_FATAL(bus_open(config, &bus), 0);
    CU_ASSERT_EQUAL_FATAL(bus_producer_open(bus, config, &producer), 0);
    CU_ASSERT_EQUAL_FATAL(bus_producer_topic(producer, "t", &topic), 0);
    struct bus_message message = {
        .partition = 0, .timestamp_ms = 1, .value = value, .value_size = sizeof value};
    int rc = 0;
    for (int i = 0; i < 10 && rc == 0; i++)
        rc = bus_send(topic, &message, &delivery);
    CU_ASSERT_EQUAL(rc, -BUS_ERR_DISK_FULL);
    CU_ASSERT_EQUAL(bus_send(topic, &message, &delivery), 0);
    CU_ASSERT_EQUAL(delivery.offset, 0);
    CU_ASSERT_EQUAL(batches, 3);
    bus_producer_close(&producer, 60000);
    bus_close(&bus);
    bus_config_free(&config);
    fake_busd_fini(&fake);
}

static void
test_settings(void)
{
    static const char *const bad[][2] = {
        {"acks", "1"}, {"max.in.flight.requests.per.connection", "6"}, {"retries", "0"}};
    struct bus *bus;
    struct bus_producer *producer;
    CU_ASSERT_EQUAL_FATAL(fake_busd_init(&fake, NULL), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct bus_config *config = bus_config_new();
        CU_ASSERT_EQUAL(bus_config_set(config, "socket.path", fake.path), 0);
        CU_ASSERT_EQUAL(bus_config_set(config, bad[i][0], bad[i][1]), 0);
        CU_ASSERT_EQUAL_FATAL(bus_open(config, &bus), 0);
        CU_ASSERT_EQUAL(bus_producer_open(bus, config, &producer), 0);
        CU_ASSERT_EQUAL(bus_producer_close(&producer, 1000), 0);
        CU_ASSERT_EQUAL(bus_config_set(config, "enable.idempotence", "true"), 0);
        CU_ASSERT_EQUAL(bus_producer_open(bus, config, &producer), -BUS_ERR_INVALID_CONFIG);
        CU_ASSERT_PTR_NULL(producer);
        bus_close(&bus);
        bus_config_free(&config);
    }
    fake_busd_fini(&fake);
}

static const struct unit_case cases[] = {
    {"batches are numbered", test_numbers},
    {"a lost answer doubles nothing", test_answer_lost},
    {"what follows a refused batch is numbered anew", test_refused},
    {"and when busd has lost its memory", test_forgotten},
    {"and when there is no room to append in place", test_no_room},
    {"settings that do not fit", test_settings},
    {NULL, NULL},
};

void
register_client_identity(void)
{
    unit_register("client_identity", cases);
}
