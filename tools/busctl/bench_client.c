/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/bench.h"

#include <stdio.h>

static int
producer_open(struct bench_client *client, const struct bench_producing *producing)
{
    char batch_bytes[24];
    struct bus_config *config = bus_config_new();
    if (!config)
        return -BUS_ERR_NO_MEMORY;
    int rc = bus_config_set(config, "acks", producing->acks);
    if (rc == 0 && producing->batch_bytes > 0) {
        snprintf(batch_bytes, sizeof batch_bytes, "%lld", (long long)producing->batch_bytes);
        rc = bus_config_set(config, "batch.size", batch_bytes);
    }
    if (rc == 0)
        rc = bus_producer_open(client->bus, config, &client->producer);
    if (rc == 0)
        rc = bus_producer_topic(client->producer, producing->topic, &client->topic);
    bus_config_free(&config);
    return rc;
}

static int
consumer_open(struct bench_client *client, const char *topic)
{
    struct bus_assignment assignment = {.topic = topic, .offset = BUS_OFFSET_END};
    int rc = bus_consumer_open(client->bus, NULL, &client->consumer);
    return rc == 0 ? bus_assign(client->consumer, &assignment, 1) : rc;
}

static int
connect_bus(struct bench_client *client, const char *socket)
{
    struct bus_config *config = bus_config_new();
    if (!config)
        return -BUS_ERR_NO_MEMORY;
    int rc = socket ? bus_config_set(config, "socket.path", socket) : 0;
    if (rc == 0)
        rc = bus_open(config, &client->bus);
    bus_config_free(&config);
    return rc;
}

int
bench_client_open(struct bench_client *client, struct member *member,
    const struct bench_producing *producing, const char *consuming)
{
    const struct bench *bench = member->context;
    *client = (struct bench_client){0};
    int rc = connect_bus(client, bench->ctl->socket);
    if (rc == 0 && producing)
        rc = producer_open(client, producing);
    if (rc == 0 && consuming)
        rc = consumer_open(client, consuming);
    return rc < 0 ? member_fail(member, producing ? producing->topic : consuming) : 0;
}

void
bench_client_close(struct bench_client *client)
{
    bus_consumer_close(&client->consumer);
    bus_producer_close(&client->producer, 0);
    bus_close(&client->bus);
}
