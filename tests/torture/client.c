/* SPDX-License-Identifier: Apache-2.0
 * The client against a fake busd whose own calls are left alone.
 */
#include "base/clock.h"
#include "base/err.h"
#include "lib/fake_busd.h"
#include "shm/flush.h"
#include "torture/scenarios.h"

#include <bus/bus.h>
#include <string.h>

enum { RECORDS = 5, WAIT_MS = 20000 };

struct scene {
    struct fake_busd fake;
    struct bus_config *config;
    struct bus *bus;
    struct bus_producer *producer;
    struct bus_topic *topic;
    struct bus_consumer *consumer;
    int told, failed;
};

static void
count(void *context, void *opaque, const struct bus_delivery *delivery)
{
    struct scene *scene = context;
    (void)opaque;
    scene->told++;
    scene->failed += delivery->error != 0;
}

static int
open_all(struct scene *scene)
{
    scene->config = bus_config_new();
    if (!scene->config)
        return -BUS_ERR_NO_MEMORY;
    int rc = bus_config_set(scene->config, "socket.path", scene->fake.path);
    if (rc == 0)
        rc = bus_config_set(scene->config, "delivery.timeout.ms", "2000");
    if (rc == 0)
        rc = bus_config_set(scene->config, "request.timeout.ms", "2000");
    if (rc == 0)
        rc = bus_config_set(scene->config, "reconnect.backoff.ms", "1");
    if (rc == 0)
        rc = bus_open(scene->config, &scene->bus);
    if (rc == 0)
        rc = bus_producer_open(scene->bus, scene->config, &scene->producer);
    if (rc == 0)
        bus_producer_on_delivery(scene->producer, count, scene);
    if (rc == 0)
        rc = bus_producer_topic(scene->producer, "t", &scene->topic);
    if (rc == 0)
        rc = bus_consumer_open(scene->bus, scene->config, &scene->consumer);
    return rc;
}

static int
send_all(struct scene *scene, int *taken)
{
    struct bus_message message = {
        .timestamp_ms = 1, .key = "k", .key_size = 1, .value = "value", .value_size = 5};
    int rc = 0;
    for (int i = 0; i < RECORDS && rc == 0; i++) {
        rc = bus_send_async(scene->topic, &message);
        *taken += rc == 0;
    }
    return rc == 0 ? bus_send(scene->topic, &message, NULL) : rc;
}

/* Reads what is there: every record that was acknowledged, in order. */
static int
read_all(struct scene *scene, int expected)
{
    struct bus_assignment assignment = {"t", 0, BUS_OFFSET_BEGINNING};
    struct bus_record records[RECORDS + 1];
    int rc = bus_assign(scene->consumer, &assignment, 1);
    int64_t deadline_ms = clock_mono_ms() + WAIT_MS;
    for (int64_t next = 0; rc == 0 && next < expected;) {
        int n = bus_poll(scene->consumer, records, RECORDS + 1, 100);
        if (n < 0)
            return n;
        if (n == 0 && clock_mono_ms() > deadline_ms)
            return 1;
        for (int i = 0; i < n; i++, next++)
            if (records[i].offset != next || records[i].value_size != 5 ||
                memcmp(records[i].value, "value", 5) != 0)
                return 2;
    }
    return rc;
}

static int
play(struct scene *scene)
{
    int taken = 0;
    int rc = open_all(scene);
    if (rc == 0)
        rc = send_all(scene, &taken);
    int flushed = scene->producer ? bus_flush(scene->producer, WAIT_MS) : 0;
    if (rc == 0)
        rc = flushed;
    if (rc == 0)
        rc = read_all(scene, RECORDS + 1);
    bus_consumer_close(&scene->consumer);
    int closed = bus_producer_close(&scene->producer, WAIT_MS);
    if (rc == 0)
        rc = closed;
    if (rc == 0 && (scene->told != RECORDS || scene->failed != 0))
        rc = 3; /* each record is told of once */
    bus_close(&scene->bus);
    bus_config_free(&scene->config);
    return rc;
}

static int
run(bool mediated)
{
    static struct scene scene;
    torture_pause();
    memset(&scene, 0, sizeof scene);
    int rc = fake_busd_init_with(&scene.fake, NULL, torture_pause);
    scene.fake.mediated = mediated;
    torture_resume();
    if (rc == 0)
        rc = play(&scene);
    torture_pause();
    fake_busd_fini(&scene.fake);
    torture_resume();
    return rc;
}

int
scenario_client_direct(void *unused)
{
    (void)unused;
    return run(false);
}

int
scenario_client_mediated(void *unused)
{
    (void)unused;
    return run(true);
}
