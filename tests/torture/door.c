/* SPDX-License-Identifier: Apache-2.0 */
#include "door/kafka.h"
#include "door/unix.h"

#include "api/api.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "cluster/controller.h"
#include "torture/scenarios.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    TURNS_MAX = 2000,
    TURN_MS = 5,
    ANSWERS = 3,
};

/** A door with all that it needs, in a folder of its own, and a client. */
struct scene {
    char folder[64];
    char path[96];
    struct meta *meta;
    struct controller controller;
    struct loop *loop;
    struct api *api;
    struct hall *hall;
    struct settings fixed;
    struct unix_door *door;
    struct kafka_door *kafka;
    bool tcp; /* the client comes by the Kafka door */
    int client;
};

static int64_t
mono_ms(void *context)
{
    (void)context;
    return clock_mono_ms();
}

static int64_t
wall_ms(void *context)
{
    (void)context;
    return clock_wall_ms();
}

static void
arm(void *context, int64_t deadline_ms)
{
    (void)context;
    (void)deadline_ms;
}

static int
connections(void *context)
{
    struct scene *scene = context;
    return hall_connections(scene->hall);
}

static const char *
listeners(void *context)
{
    (void)context;
    return "";
}

static const struct api_daemon_ops ops = {mono_ms, wall_ms, arm, connections, listeners};

/** What lies below the door; not the object of this torture. */
static bool
prepare(struct scene *scene, bool tcp)
{
    *scene = (struct scene){.folder = "/dev/shm/shmbus-torture-XXXXXX", .tcp = tcp, .client = -1};
    if (!mkdtemp(scene->folder))
        return false;
    snprintf(scene->path, sizeof scene->path, "%s/bus.sock", scene->folder);
    struct meta_options options = {scene->folder, 1 << 20, 1};
    settings_init(&scene->fixed, &setting_table_broker, SETTING_FROM_STATIC, NULL);
    if (settings_set(&scene->fixed, BROKER_LISTENERS, "127.0.0.1:0") < 0 ||
        meta_open(&options, &scene->meta) < 0 ||
        controller_open(&scene->controller, scene->meta, &scene->fixed) < 0 ||
        loop_new(&scene->loop) < 0)
        return false;
    scene->client = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return scene->client >= 0;
}

static void
clean_up(struct scene *scene)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "backup", "bus.sock"};
    close(scene->client);
    loop_free(&scene->loop);
    controller_close(&scene->controller);
    settings_fini(&scene->fixed);
    meta_close(&scene->meta);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[96];
        snprintf(path, sizeof path, "%s/%s", scene->folder, names[i]);
        unlink(path);
    }
    rmdir(scene->folder);
}

static int
open_door(struct scene *scene)
{
    struct api_wiring wiring = {
        .ops = &ops,
        .context = scene,
        .controller = &scene->controller,
        .loop = scene->loop,
        .version = "0",
        .data_folder = scene->folder,
    };
    struct hall_options options = {
        .loop = scene->loop, .settings = &scene->controller.cluster.settings};
    int rc = api_new(&wiring, &scene->api);
    options.api = scene->api;
    if (rc == 0)
        rc = hall_open(&options, &scene->hall);
    if (rc < 0)
        return rc;
    if (!scene->tcp)
        return unix_door_open(scene->hall, scene->path, &scene->door);
    rc = kafka_door_open(scene->hall, &scene->kafka);
    /* A listener that cannot be opened is left out; then there is nobody to ask. */
    if (rc == 0 && kafka_door_text(scene->kafka)[0] == '\0')
        rc = -BUS_ERR_SYSTEM;
    return rc;
}

/** As connect() to the door; a TCP connection may still be on its way. */
static bool
connect_to_door(struct scene *scene)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in remote = {.sin_family = AF_INET};
    snprintf(local.sun_path, sizeof local.sun_path, "%s", scene->path);
    if (!scene->tcp)
        return connect(scene->client, (const struct sockaddr *)&local, sizeof local) == 0;
    const char *port = strrchr(kafka_door_text(scene->kafka), ':') + 1;
    remote.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    remote.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    struct pollfd state = {.fd = scene->client, .events = POLLOUT};
    return (connect(scene->client, (const struct sockaddr *)&remote, sizeof remote) == 0 ||
               errno == EINPROGRESS) &&
           poll(&state, 1, TURNS_MAX * TURN_MS) == 1;
}

/** Connects and sends `ANSWERS` requests for ApiVersions at once. */
static bool
ask(struct scene *scene)
{
    static const uint8_t body[] = {0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff};
    uint8_t requests[ANSWERS * (4 + sizeof body)];
    for (size_t i = 0; i < ANSWERS; i++) {
        uint8_t *at = requests + i * (4 + sizeof body);
        bytes_put_u32(at, sizeof body);
        memcpy(at + 4, body, sizeof body);
    }
    return connect_to_door(scene) &&
           send(scene->client, requests, sizeof requests, MSG_NOSIGNAL) == (ssize_t)sizeof requests;
}

/** How many whole answers are in the bytes. */
static int
answers_in(const uint8_t *bytes, size_t n)
{
    int count = 0;
    for (size_t at = 0; n - at >= 8; count++) {
        size_t frame = 4 + (size_t)bytes_get_u32(bytes + at);
        if (bytes_get_u32(bytes + at + 4) != 7 || frame > n - at)
            break;
        at += frame;
    }
    return count;
}

/** Turns the loop until all answers are there (0) or the connection has ended (negative). */
static int
wait_for_answers(struct scene *scene)
{
    uint8_t bytes[4096];
    size_t n = 0;
    for (int turn = 0; turn < TURNS_MAX; turn++) {
        loop_turn(scene->loop);
        ssize_t got = recv(scene->client, bytes + n, sizeof bytes - n, MSG_DONTWAIT);
        if (got == 0)
            return -BUS_ERR_NETWORK_EXCEPTION;
        n += got > 0 ? (size_t)got : 0;
        if (answers_in(bytes, n) == ANSWERS)
            return 0;
        torture_pause();
        poll(&(struct pollfd){.fd = scene->client, .events = POLLIN}, 1, got > 0 ? 0 : TURN_MS);
        torture_resume();
    }
    return 1;
}

/** A client is answered or turned away, never left waiting; whatever fails, all is given back. */
static int
run_door(bool tcp)
{
    struct scene scene;
    torture_pause();
    bool ready = prepare(&scene, tcp);
    torture_resume();
    int rc = ready ? open_door(&scene) : 99;
    if (rc == 0) {
        torture_pause();
        bool asked = ask(&scene);
        torture_resume();
        rc = asked ? wait_for_answers(&scene) : 98;
    }
    if (rc == 0 && hall_connections(scene.hall) != 1)
        rc = 97;
    if (scene.door)
        unix_door_quiesce(scene.door);
    if (scene.kafka)
        kafka_door_quiesce(scene.kafka);
    if (scene.hall)
        hall_quiesce(scene.hall);
    unix_door_close(&scene.door);
    kafka_door_close(&scene.kafka);
    hall_close(&scene.hall);
    if (scene.api)
        api_free(&scene.api);
    torture_pause();
    clean_up(&scene);
    torture_resume();
    return rc;
}

int
scenario_door(void *unused)
{
    (void)unused;
    return run_door(false);
}

int
scenario_door_kafka(void *unused)
{
    (void)unused;
    return run_door(true);
}
