/* SPDX-License-Identifier: Apache-2.0
 * libbus: topics in shared memory, for C and C++.
 *
 *     struct bus *bus;
 *     if (bus_open(NULL, &bus) < 0)
 *         errx(1, "%s", bus_error());
 *     struct bus_producer *producer;
 *     struct bus_topic *topic;
 *     bus_producer_open(bus, NULL, &producer);
 *     bus_producer_topic(producer, "greetings", &topic);
 *     bus_send(topic, &(struct bus_message) {
 *         .partition = BUS_PARTITION_ANY, .timestamp_ms = BUS_TIME_NOW,
 *         .value = "hello", .value_size = 5 }, NULL);
 *     bus_producer_close(&producer, 5000);
 *     bus_close(&bus);
 *
 * Conventions of every function here:
 *  - It returns 0 or a count on success and a negated `enum bus_err` on failure; bus_error() then
 *    says in words what happened to which thing.
 *  - Sizes are bytes, times are milliseconds; a timestamp is milliseconds since 1970 UTC. A timeout
 *    of -1 waits without end, 0 does not wait.
 *  - Strings passed in are NUL-terminated and borrowed for the call. `close` and `free` take the
 *    address of the handle and set it to NULL; they accept a handle that is NULL.
 *  - "Thread: any" calls may run at once on the same handle. "Thread: owner" calls on one handle
 *    must not overlap; two handles are independent.
 */
#ifndef BUS_BUS_H
#define BUS_BUS_H

#include <bus/admin.h>
#include <bus/client.h>
#include <bus/consumer.h>
#include <bus/errors.h>
#include <bus/groups.h>
#include <bus/producer.h>
#include <bus/security.h>

#endif
