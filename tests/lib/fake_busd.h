/* SPDX-License-Identifier: Apache-2.0
 * A small busd for tests of the client: one thread, a Unix socket in a folder of its own, one topic
 * "t" whose partition 0 is a shm_fixture. A test may answer any request itself.
 */
#ifndef LIB_FAKE_BUSD_H
#define LIB_FAKE_BUSD_H

#include "lib/shm_fixture.h"
#include "protocol/frame.h"

#include <pthread.h>

enum { FAKE_CLIENTS_MAX = 8, FAKE_FDS_MAX = 16, FAKE_OTHERS_MAX = 3 };

struct fake_busd;

/** A request as the hook sees it. */
struct fake_request {
    int fd; /* the connection */
    const struct api_info *api;
    struct request_header header;
    const void *message; /* the decoded request */
};

/** Sees every request but ApiVersions first. True: the hook has dealt with it. Thread: its own. */
typedef bool fake_hook(struct fake_busd *fake, const struct fake_request *request);

struct fake_busd {
    struct shm_fixture fixture;
    struct shm_partition view; /* its own, writable */
    uint8_t topic_id[16];
    uint32_t generation;
    struct {
        struct shm_fixture fixture;
        struct shm_partition view;
    } others[FAKE_OTHERS_MAX]; /* the partitions 1, 2, … */
    _Atomic int other_count;
    bool mediated;               /* nobody may map for writing */
    _Atomic(fake_hook *) hook;   /* may be NULL */
    void *context;               /* the hook's */
    void (*thread_starts)(void); /* called first by its thread; may be NULL */
    char folder[64];
    char path[96]; /* of the socket */
    int listen_fd;
    int stop_pipe[2];
    bool running;
    pthread_t thread;
    struct {
        int fd; /* -1: free */
        struct frame_reader reader;
    } clients[FAKE_CLIENTS_MAX];
    _Atomic int requests;    /* so far, ApiVersions left out */
    _Atomic int connections; /* so far */
};

/** Makes folder and partition, and starts. `options` NULL: 1 MiB segments. 0 or a failure. */
int fake_busd_init(struct fake_busd *fake, const struct shm_fixture_options *options);

/** The same, with something that its thread calls first. */
int fake_busd_init_with(
    struct fake_busd *fake, const struct shm_fixture_options *options, void (*thread_starts)(void));

/** Gives the topic another partition. Thread: the test's. 0 or a failure. */
int fake_busd_grow(struct fake_busd *fake);

/** Stops and removes everything. */
void fake_busd_fini(struct fake_busd *fake);

/** Closes the socket and all connections, as a killed busd does; the partition stays. */
void fake_busd_stop(struct fake_busd *fake);

/** Listens again. 0 or a failure. */
int fake_busd_start(struct fake_busd *fake);

/** For hooks: answers a request. The fds stay the caller's. */
void fake_answer(
    const struct fake_request *request, const void *message, const int *fds, int fd_count);

/** For hooks: sends bytes as they are. */
void fake_send(int fd, const void *bytes, size_t size);

#endif
