/* SPDX-License-Identifier: Apache-2.0
 * libbus: configuration and the connection to busd.
 */
#ifndef BUS_CLIENT_H
#define BUS_CLIENT_H

#include <bus/errors.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BUS_PARTITION_ANY (-1)           /* let the partitioner choose */
#define BUS_TIME_NOW INT64_C(-1)         /* the timestamp of the call */
#define BUS_OFFSET_BEGINNING INT64_C(-2) /* the oldest record kept */
#define BUS_OFFSET_END INT64_C(-1)       /* behind the newest record */
#define BUS_OFFSET_MAX_TIME                                                                        \
    INT64_C(-3) /* the record with the largest timestamp; first of several */

/** The version of the library as "0.1.0"; static. Thread: any. */
const char *bus_version(void);

/** Names and values, all optional; the names are Kafka's where Kafka has the thing. */
struct bus_config;

/** An empty configuration, or NULL when memory is out. The caller frees it. Thread: any. */
struct bus_config *bus_config_new(void);

/** Frees it; handles opened with it keep their own copy. */
void bus_config_free(struct bus_config **config);

/**
 * Sets a value, as text: "65536", "64k", "true", "zstd". See libbus(3) or bus_config_row() for
 * names. Fails with INVALID_CONFIG, naming the range, and changes nothing. Thread: owner.
 */
int bus_config_set(struct bus_config *config, const char *name, const char *value);

/** The value in force (set or default) as text, borrowed until the next set; NULL: no such name. */
const char *bus_config_get(const struct bus_config *config, const char *name);

/**
 * One row of the table of client settings; all strings static. In C++ say `struct bus_config_row`,
 * since a function has the same name.
 */
struct bus_config_row {
    const char *name;
    const char *type; /* "int", "bool", "enum", "string" */
    const char *default_value;
    const char *range; /* "0..900000", "none|zstd|…", or "" */
    const char *unit;  /* "bytes", "ms", or "" */
    const char *scope; /* "client", "producer", "consumer" */
    const char *text;  /* one sentence */
};

/** Row number `index` from 0; returns 0, or -BUS_ERR_INVALID_ARGUMENT behind the last. Thread: any.
 */
int bus_config_row(size_t index, struct bus_config_row *row);

/**
 * A connection to busd; producers and consumers share it. It has a thread of its own, which waits
 * for busd's answers and takes no signals. After fork() the child may use no handle of the parent:
 * it opens its own (the parent's may be left open until exec or exit).
 */
struct bus;

/**
 * Opens the bus at `socket.path` (default: the first that exists of
 * $XDG_RUNTIME_DIR/shmbus/bus.sock, /tmp/shmbus-UID/bus.sock, /run/shmbus/bus.sock; as root
 * /run/shmbus/bus.sock first). `config` may be NULL and is copied. Fails with DAEMON_UNAVAILABLE
 * when nobody listens, PERMISSION, TIMED_OUT when busd does not answer, or UNSUPPORTED_VERSION.
 * When busd goes away later, the handle reconnects by itself with backoff between
 * `reconnect.backoff.ms` and `reconnect.backoff.max.ms`. Thread: any. Blocks: for the
 * connection, at most `socket.connection.setup.timeout.ms`.
 */
int bus_open(const struct bus_config *config, struct bus **bus);

/**
 * Closes the connection. Producers and consumers of it must be closed before. Thread: owner.
 * Blocks: until the thread of the connection has ended, which nothing holds up.
 */
void bus_close(struct bus **bus);

/** Whether busd can be reached at this moment. Thread: any. Blocks: no. */
bool bus_connected(const struct bus *bus);

#ifdef __cplusplus
}
#endif
#endif
