/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast the Kafka door is for clients with librdkafka, default batching, acks=1: records
 * produced and consumed, with what a bare TCP connection over loopback carries beside it, and how
 * much of a CPU busd took. Then the round trip of one record with acks=1, frame by frame, beside a
 * TCP ping-pong with the same bytes.
 *
 * bench_kafka PORT BUSD_PID [SECONDS]; the topics bench-kafka-100, -1024 and -trip must exist, with
 * one partition and nothing in them.
 */
#include "base/bytes.h"
#include "record/builder.h"

#include <arpa/inet.h>
#include <librdkafka/rdkafka.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    GIVEN_AT_ONCE = 1000,   /* records, to librdkafka */
    STREAM_BYTES = 1 << 20, /* of one write of the bare stream */
    TRIPS = 20000,
    ANSWER_BYTES = 64, /* an answer to Produce */
    FRAME_BYTES_MAX = 512,
};

static const char *port_text;
static uint16_t port;
static pid_t busd;
static double seconds = 3;

static double
now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void
fail(const char *what, const char *why)
{
    fprintf(stderr, "bench_kafka: %s: %s\n", what, why);
    exit(1);
}

/** Seconds of CPU time that busd has taken so far. */
static double
busd_s(void)
{
    char path[64], line[1024];
    unsigned long user, kernel;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)busd);
    FILE *file = fopen(path, "r");
    if (!file || !fgets(line, sizeof line, file))
        fail(path, "cannot be read; is this the process id of busd?");
    fclose(file);
    const char *at = strrchr(line, ')');
    if (!at ||
        sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel) != 2)
        fail(path, "has another layout than expected");
    return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

/* ---- the floor: bare TCP -------------------------------------------------------------------- */

static int
connect_to(uint16_t to)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(to)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connecting", "refused");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/** A connection to a child that does `serve`; it ends when the connection is closed. */
static int
connect_to_child(void (*serve)(int fd))
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t bytes = sizeof address;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &bytes) < 0)
        fail("listening", "refused");
    fflush(NULL);
    if (fork() == 0) {
        int client = accept(fd, NULL, NULL);
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        serve(client);
        _exit(0);
    }
    close(fd);
    return connect_to(ntohs(address.sin_port));
}

static void
serve_stream(int fd)
{
    char *space = malloc(STREAM_BYTES);
    while (recv(fd, space, STREAM_BYTES, 0) > 0)
        continue;
}

static void
serve_ping(int fd)
{
    char space[FRAME_BYTES_MAX];
    while (recv(fd, space, sizeof space, 0) > 0)
        send(fd, space, ANSWER_BYTES, 0);
}

/** Bytes per second through a bare connection. */
static double
stream_floor(void)
{
    char *bytes = calloc(STREAM_BYTES, 1);
    int fd = connect_to_child(serve_stream);
    double start_s = now_s(), sent = 0;
    while (now_s() - start_s < 1) {
        ssize_t n = send(fd, bytes, STREAM_BYTES, 0);
        sent += n > 0 ? (double)n : 0;
    }
    double rate = sent / (now_s() - start_s);
    close(fd);
    wait(NULL);
    free(bytes);
    return rate;
}

/* ---- throughput ----------------------------------------------------------------------------- */

static void
set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char why[256];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK)
        fail(name, why);
}

static rd_kafka_t *
new_client(rd_kafka_type_t type)
{
    char why[256], servers[32];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    snprintf(servers, sizeof servers, "127.0.0.1:%s", port_text);
    set(conf, "bootstrap.servers", servers);
    if (type == RD_KAFKA_PRODUCER) {
        set(conf, "acks", "1");
        set(conf, "queue.buffering.max.messages", "1000000");
    } else {
        set(conf, "queued.min.messages", "1000000");
    }
    rd_kafka_t *client = rd_kafka_new(type, conf, why, sizeof why);
    if (!client)
        fail("librdkafka", why);
    return client;
}

static void
tell(const char *what, size_t size, double records, double took_s, double cpu_s, double floor)
{
    double bytes = records * (double)size / took_s;
    printf("%s %5zu B  %5.2f M/s  %6.1f MB/s  %4.2f of bare TCP (%.0f MB/s)  busd %.2f cores\n",
        what, size, records / took_s / 1e6, bytes / 1e6, bytes / floor, floor / 1e6,
        cpu_s / took_s);
}

/** Produces for some seconds; gives how many. */
static int64_t
produce(const char *name, size_t size, double floor)
{
    static rd_kafka_message_t given[GIVEN_AT_ONCE];
    rd_kafka_t *client = new_client(RD_KAFKA_PRODUCER);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(client, name, NULL);
    char *value = malloc(size);
    memset(value, 'v', size);
    double start_s = now_s(), cpu_s = busd_s();
    int64_t count = 0;
    while (now_s() - start_s < seconds) {
        for (int i = 0; i < GIVEN_AT_ONCE; i++)
            given[i] = (rd_kafka_message_t){.payload = value, .len = size};
        int n = rd_kafka_produce_batch(topic, 0, RD_KAFKA_MSG_F_COPY, given, GIVEN_AT_ONCE);
        count += n;
        if (n < GIVEN_AT_ONCE)
            rd_kafka_poll(client, 1);
    }
    if (rd_kafka_flush(client, 60000) != RD_KAFKA_RESP_ERR_NO_ERROR)
        fail("flushing", "records are left");
    tell("produce", size, (double)count, now_s() - start_s, busd_s() - cpu_s, floor);
    free(value);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(client);
    return count;
}

static void
count_one(rd_kafka_message_t *message, void *context)
{
    int64_t *got = context;
    *got += message->err == RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void
consume(const char *name, size_t size, int64_t count, double floor)
{
    rd_kafka_t *client = new_client(RD_KAFKA_CONSUMER);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(client, name, NULL);
    double start_s = now_s(), cpu_s = busd_s();
    if (rd_kafka_consume_start(topic, 0, RD_KAFKA_OFFSET_BEGINNING) < 0)
        fail("consuming", rd_kafka_err2str(rd_kafka_last_error()));
    int64_t got = 0;
    while (got < count)
        rd_kafka_consume_callback(topic, 0, 1000, count_one, &got);
    tell("consume", size, (double)count, now_s() - start_s, busd_s() - cpu_s, floor);
    rd_kafka_consume_stop(topic, 0);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(client);
}

static void
throughput(const char *name, size_t size)
{
    double floor = stream_floor();
    int64_t count = produce(name, size, floor);
    consume(name, size, count, floor);
}

/* ---- round trip ----------------------------------------------------------------------------- */

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void
put_text(struct buf *out, const char *text)
{
    uint8_t length[2];
    bytes_put_i16(length, (int16_t)strlen(text));
    buf_put(out, length, sizeof length);
    buf_put(out, text, strlen(text));
}

static void
put_i32(struct buf *out, int32_t value)
{
    uint8_t bytes[4];
    bytes_put_i32(bytes, value);
    buf_put(out, bytes, sizeof bytes);
}

/** A Produce 3 request with one record of 100 bytes. */
static void
make_request(struct buf *out)
{
    static const uint8_t head[] = {0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1};
    static const uint8_t acks[] = {0xff, 0xff, 0, 1};
    static uint8_t value[100];
    struct batch_builder builder;
    struct builder_record record = {
        .ts = 1, .key_bytes = -1, .value = value, .value_bytes = sizeof value};
    const void *batch;
    size_t bytes;
    if (builder_init(&builder, 4096, 4096) < 0 || builder_append(&builder, &record) != BUILDER_OK ||
        builder_finish(&builder, &batch, &bytes) < 0)
        fail("a batch", "cannot be built");
    buf_put(out, head, sizeof head);
    put_text(out, "bench");
    buf_put(out, acks, sizeof acks);
    put_i32(out, 30000);
    put_i32(out, 1);
    put_text(out, "bench-kafka-trip");
    put_i32(out, 1);
    put_i32(out, 0);
    put_i32(out, (int32_t)bytes);
    buf_put(out, batch, bytes);
    bytes_put_u32(out->data, (uint32_t)(out->length - 4));
    builder_fini(&builder);
}

/** The times of TRIPS round trips, sorted, in microseconds. Answers come in one piece. */
static void
measure_trips(int fd, const struct buf *request, double took_us[TRIPS])
{
    char answer[FRAME_BYTES_MAX];
    for (int i = 0; i < TRIPS; i++) {
        double start_s = now_s();
        if (send(fd, request->data, request->length, 0) != (ssize_t)request->length ||
            recv(fd, answer, sizeof answer, 0) <= 0)
            fail("a round trip", "the connection ended");
        took_us[i] = (now_s() - start_s) * 1e6;
    }
    qsort(took_us, TRIPS, sizeof *took_us, by_value);
    close(fd);
}

static void
round_trip(void)
{
    static double floor_us[TRIPS], took_us[TRIPS];
    struct buf request;
    buf_init(&request);
    make_request(&request);
    measure_trips(connect_to_child(serve_ping), &request, floor_us);
    wait(NULL);
    measure_trips(connect_to(port), &request, took_us);
    printf("round trip acks=1  p50 %.1f us  p99 %.1f us  %.2f of TCP ping-pong (p50 %.1f us)\n",
        took_us[TRIPS / 2], took_us[TRIPS - TRIPS / 100], took_us[TRIPS / 2] / floor_us[TRIPS / 2],
        floor_us[TRIPS / 2]);
    buf_fini(&request);
}

int
main(int argc, char **argv)
{
    if (argc < 3)
        fail("usage", "bench_kafka PORT BUSD_PID [SECONDS]");
    port_text = argv[1];
    port = (uint16_t)strtoul(argv[1], NULL, 10);
    busd = (pid_t)strtol(argv[2], NULL, 10);
    if (argc > 3)
        seconds = strtod(argv[3], NULL);
    round_trip();
    throughput("bench-kafka-100", 100);
    throughput("bench-kafka-1024", 1024);
    return 0;
}
