/* SPDX-License-Identifier: Apache-2.0
 * The connection against a server that plays by the rules, and against one that does not.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "client/conn.h"
#include "lib/fake_busd.h"
#include "unit/unit.h"

#include <bus/bus.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct fake_busd fake;
static struct conn *conn;

static int64_t
soon(void)
{
    return clock_mono_ns() + INT64_C(10000000000);
}

static struct settings
settings_for(const char *path)
{
    struct settings settings;
    settings_of(NULL, &settings);
    memcpy(settings.socket_path, path, strlen(path) + 1);
    settings.reconnect_backoff_ms = 1;
    settings.reconnect_backoff_max_ms = 5;
    return settings;
}

static void
set_up(void)
{
    CU_ASSERT_EQUAL_FATAL(fake_busd_init(&fake, NULL), 0);
    struct settings settings = settings_for(fake.path);
    CU_ASSERT_EQUAL_FATAL(conn_open(&settings, &conn), 0);
}

static void
tear_down(void)
{
    conn_close(&conn);
    fake_busd_fini(&fake);
}

static int
ask(unsigned flags, struct conn_reply **reply)
{
    struct metadata_request_topic topic = {.name = "t"};
    struct metadata_request request = {.topics = &topic, .topics_count = 1};
    return conn_call(conn, API_METADATA, &request, flags, soon(), reply);
}

static int
open_fds(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void
test_call(void)
{
    set_up();
    struct conn_reply *reply;
    CU_ASSERT_EQUAL_FATAL(ask(0, &reply), 0);
    const struct metadata_response *answer = reply->message;
    CU_ASSERT_EQUAL(answer->topics_count, 1);
    CU_ASSERT_STRING_EQUAL(answer->topics[0].name, "t");
    conn_reply_free(&reply);
    CU_ASSERT_PTR_NULL(reply);
    CU_ASSERT(conn_up(conn));
    CU_ASSERT_EQUAL(conn_epoch(conn), 1);
    tear_down();
}

static void
test_nobody_listens(void)
{
    struct settings settings = settings_for("/tmp/shmbus-nobody/bus.sock");
    CU_ASSERT_EQUAL(conn_open(&settings, &conn), -BUS_ERR_DAEMON_UNAVAILABLE);
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), "/tmp/shmbus-nobody/bus.sock"));
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), "start it with busd"));
    settings = settings_for("/dev/null");
    CU_ASSERT_EQUAL(conn_open(&settings, &conn), -BUS_ERR_DAEMON_UNAVAILABLE);
}

static void
test_away_and_back(void)
{
    set_up();
    fake_busd_stop(&fake);
    struct conn_reply *reply = NULL;
    /* Until the thread notices, a call may still be sent: it is lost then. */
    int rc = ask(0, &reply);
    CU_ASSERT(rc == -BUS_ERR_DAEMON_UNAVAILABLE || rc == -BUS_ERR_NETWORK_EXCEPTION);
    CU_ASSERT_EQUAL(
        conn_await(conn, clock_mono_ns() + INT64_C(20000000)), -BUS_ERR_DAEMON_UNAVAILABLE);
    CU_ASSERT_FALSE(conn_up(conn));
    CU_ASSERT_EQUAL_FATAL(fake_busd_start(&fake), 0);
    CU_ASSERT_EQUAL_FATAL(ask(CONN_WAIT, &reply), 0);
    conn_reply_free(&reply);
    CU_ASSERT_EQUAL(conn_epoch(conn), 2);
    tear_down();
}

/* Goes away once in the middle of an answer. */
static bool
half_answer(struct fake_busd *busd, const struct fake_request *request)
{
    (void)busd;
    if (fake.connections > 1)
        return false;
    uint8_t half[8];
    bytes_put_i32(half, 1000);
    bytes_put_i32(half + 4, request->header.correlation_id);
    fake_send(request->fd, half, sizeof half);
    shutdown(request->fd, SHUT_RDWR);
    return true;
}

static void
test_closed_in_the_middle(void)
{
    set_up();
    fake.hook = half_answer;
    struct conn_reply *reply;
    CU_ASSERT_EQUAL(ask(0, &reply), -BUS_ERR_NETWORK_EXCEPTION);
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), "Metadata"));
    CU_ASSERT_EQUAL_FATAL(ask(CONN_WAIT | CONN_AGAIN, &reply), 0);
    conn_reply_free(&reply);
    tear_down();
}

static void
test_asks_again(void)
{
    set_up();
    fake.hook = half_answer;
    struct conn_reply *reply;
    CU_ASSERT_EQUAL_FATAL(ask(CONN_WAIT | CONN_AGAIN, &reply), 0);
    conn_reply_free(&reply);
    CU_ASSERT_EQUAL(fake.connections, 2);
    tear_down();
}

/* What must not be done twice is not asked twice, and who asked is told so. */
static void
test_outcome_unknown(void)
{
    set_up();
    fake.hook = half_answer;
    struct conn_reply *reply;
    CU_ASSERT_EQUAL(ask(CONN_RESTART | CONN_ACTS, &reply), -BUS_ERR_NETWORK_EXCEPTION);
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), "Metadata; whether it has acted is not known"));
    CU_ASSERT_EQUAL(fake.requests, 1);
    CU_ASSERT_EQUAL_FATAL(ask(CONN_RESTART | CONN_ACTS, &reply), 0);
    conn_reply_free(&reply);
    tear_down();
}

/* Dies as soon as it is asked, and stays away. */
static bool
die(struct fake_busd *busd, const struct fake_request *request)
{
    shutdown(busd->listen_fd, SHUT_RDWR);
    shutdown(request->fd, SHUT_RDWR);
    return true;
}

/* A busd that does not come back is not waited for until the deadline. */
static void
test_restart(void)
{
    set_up();
    struct metadata_request request = {.topics_count = -1};
    struct conn_reply *reply;
    fake.hook = die;
    CU_ASSERT_EQUAL(conn_call(conn, API_METADATA, &request, CONN_RESTART | CONN_AGAIN,
                        clock_mono_ns() + INT64_C(900000000000), &reply),
        -BUS_ERR_DAEMON_UNAVAILABLE);
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), "start it with busd"));
    fake_busd_stop(&fake);
    fake.hook = NULL;
    CU_ASSERT_EQUAL_FATAL(fake_busd_start(&fake), 0);
    CU_ASSERT_EQUAL_FATAL(ask(CONN_WAIT, &reply), 0);
    conn_reply_free(&reply);
    tear_down();
}

static bool
wrong_correlation(struct fake_busd *busd, const struct fake_request *request)
{
    (void)busd;
    struct fake_request other = *request;
    struct metadata_response answer = {.cluster_id = "x"};
    other.header.correlation_id += 7;
    if (fake.connections > 1)
        return false;
    fake_answer(&other, &answer, NULL, 0);
    return true;
}

static void
test_wrong_correlation(void)
{
    set_up();
    fake.hook = wrong_correlation;
    struct conn_reply *reply;
    CU_ASSERT_EQUAL(ask(0, &reply), -BUS_ERR_NETWORK_EXCEPTION);
    CU_ASSERT_EQUAL_FATAL(ask(CONN_WAIT, &reply), 0);
    conn_reply_free(&reply);
    tear_down();
}

static bool
garbage(struct fake_busd *busd, const struct fake_request *request)
{
    (void)busd;
    if (fake.connections > 1)
        return false;
    uint8_t frame[12] = {0};
    bytes_put_i32(frame, 8);
    bytes_put_i32(frame + 4, request->header.correlation_id);
    memset(frame + 8, 0xff, 4);
    fake_send(request->fd, frame, sizeof frame);
    return true;
}

static void
test_garbage(void)
{
    set_up();
    fake.hook = garbage;
    struct conn_reply *reply;
    CU_ASSERT_EQUAL(ask(0, &reply), -BUS_ERR_NETWORK_EXCEPTION);
    CU_ASSERT_EQUAL_FATAL(ask(CONN_WAIT, &reply), 0);
    conn_reply_free(&reply);
    tear_down();
}

/* File descriptors with an answer that has no use for them. */
static bool
unwanted_fds(struct fake_busd *busd, const struct fake_request *request)
{
    (void)busd;
    int fds[3];
    for (int i = 0; i < 3; i++)
        fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct metadata_response answer = {.cluster_id = "x"};
    fake_answer(request, &answer, fds, 3);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    return true;
}

static void
test_unwanted_fds(void)
{
    set_up();
    int before = open_fds();
    fake.hook = unwanted_fds;
    struct conn_reply *reply;
    for (int i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL_FATAL(ask(0, &reply), 0);
        CU_ASSERT_EQUAL(reply->fd_count, 0);
        conn_reply_free(&reply);
    }
    fake.hook = NULL;
    /* The thread closes what is left over before it reads the next answer. */
    CU_ASSERT_EQUAL_FATAL(ask(0, &reply), 0);
    conn_reply_free(&reply);
    CU_ASSERT_EQUAL(open_fds(), before);
    tear_down();
}

/* An attachment that promises fds and brings none. */
static bool
missing_fds(struct fake_busd *busd, const struct fake_request *request)
{
    (void)busd;
    if (request->api->key != API_ATTACH_PARTITION)
        return false;
    struct attach_partition_response answer = {.access = 1};
    fake_answer(request, &answer, NULL, 0);
    return true;
}

static int
ask_attach(struct conn_reply **reply)
{
    struct attach_partition_request request = {
        .topic_name = "t", .access = 1, .layout_version = SHM_LAYOUT_VERSION};
    return conn_call(conn, API_ATTACH_PARTITION, &request, 0, soon(), reply);
}

static void
test_fds(void)
{
    set_up();
    int before = open_fds();
    struct conn_reply *reply;
    CU_ASSERT_EQUAL_FATAL(ask_attach(&reply), 0);
    CU_ASSERT_EQUAL(reply->fd_count, 3);
    int fd = conn_reply_take_fd(reply, 0);
    CU_ASSERT(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC));
    CU_ASSERT_EQUAL(conn_reply_take_fd(reply, 0), -1);
    CU_ASSERT_EQUAL(conn_reply_take_fd(reply, 3), -1);
    conn_reply_free(&reply);
    close(fd);
    fake.hook = missing_fds;
    CU_ASSERT_EQUAL(ask_attach(&reply), -BUS_ERR_NETWORK_EXCEPTION);
    /* That ends the connection, so that who asks again does so with the pauses between two. */
    int connections = fake.connections;
    struct attach_partition_request request = {
        .topic_name = "t", .access = 1, .layout_version = SHM_LAYOUT_VERSION};
    CU_ASSERT(conn_call(conn, API_ATTACH_PARTITION, &request, CONN_WAIT | CONN_AGAIN,
                  clock_mono_ns() + INT64_C(50000000), &reply) < 0);
    CU_ASSERT(fake.connections > connections);
    fake.hook = NULL;
    CU_ASSERT_EQUAL_FATAL(ask(CONN_WAIT | CONN_AGAIN, &reply), 0);
    conn_reply_free(&reply);
    CU_ASSERT_EQUAL(open_fds(), before);
    tear_down();
}

static bool
silent(struct fake_busd *busd, const struct fake_request *request)
{
    (void)busd;
    return request->api->key == API_DAEMON_STATUS;
}

static void
test_no_answer(void)
{
    set_up();
    fake.hook = silent;
    struct daemon_status_request request = {0};
    struct conn_reply *reply;
    CU_ASSERT_EQUAL(conn_call(conn, API_DAEMON_STATUS, &request, 0,
                        clock_mono_ns() + INT64_C(10000000), &reply),
        -BUS_ERR_REQUEST_TIMED_OUT);
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), "DaemonStatus"));
    tear_down();
}

struct told {
    int count;
    int order[32];
};

struct told_call {
    struct told *told;
    int number;
};

static void
note_told(void *context, int rc, struct conn_reply *reply)
{
    struct told_call *call = context;
    if (rc == 0)
        call->told->order[call->told->count++] = call->number;
    conn_reply_free(&reply);
}

static void
test_pipelined(void)
{
    set_up();
    struct told told = {0};
    struct told_call calls[32];
    uint64_t ids[32];
    struct metadata_request_topic topic = {.name = "t"};
    struct metadata_request request = {.topics = &topic, .topics_count = 1};
    for (int i = 0; i < 32; i++) {
        calls[i] = (struct told_call){&told, i};
        CU_ASSERT_EQUAL_FATAL(
            conn_start(conn, API_METADATA, &request, note_told, &calls[i], &ids[i]), 0);
    }
    struct conn_reply *reply;
    CU_ASSERT_EQUAL_FATAL(ask(0, &reply), 0); /* behind all of them */
    conn_reply_free(&reply);
    CU_ASSERT_EQUAL_FATAL(told.count, 32);
    for (int i = 0; i < 32; i++)
        CU_ASSERT_EQUAL(told.order[i], i);
    tear_down();
}

static void
test_close_with_calls(void)
{
    set_up();
    fake.hook = silent;
    struct told told = {0};
    struct told_call call = {&told, 0};
    struct daemon_status_request request = {0};
    CU_ASSERT_EQUAL(conn_start(conn, API_DAEMON_STATUS, &request, note_told, &call, NULL), 0);
    tear_down();
    CU_ASSERT_EQUAL(told.count, 0);
}

static const struct unit_case cases[] = {
    {"calls and gets the answer", test_call},
    {"says what to do when nobody listens", test_nobody_listens},
    {"reconnects when busd is back", test_away_and_back},
    {"survives a close in the middle of an answer", test_closed_in_the_middle},
    {"asks again what may be asked again", test_asks_again},
    {"tells when the outcome is not known", test_outcome_unknown},
    {"waits for a restart, not for ever", test_restart},
    {"drops a connection that answers something else", test_wrong_correlation},
    {"drops a connection that sends garbage", test_garbage},
    {"closes fds that nobody wants", test_unwanted_fds},
    {"hands out the fds of an answer", test_fds},
    {"gives up at the deadline", test_no_answer},
    {"tells pipelined calls in order", test_pipelined},
    {"ends the calls under way when it closes", test_close_with_calls},
    {NULL, NULL},
};

void
register_client_conn(void)
{
    unit_register("client_conn", cases);
}
