/* SPDX-License-Identifier: Apache-2.0
 * Fault F14: a client that means harm, with all the rights that busd gave it. hostile.py runs it
 * beside honest ones and judges what became of them.
 *
 *   hostile SOCKET TOPIC MODE SEED ROUNDS
 *
 * Everything that it does follows from SEED. It attaches partition 0 of the topic through the real
 * protocol as often as it is thrown out, and writes one line "done MODE …" at its end. MODE is a
 * row of `modes` below.
 */
#include "base/buf.h"
#include "protocol/apis.h"
#include "protocol/frame.h"
#include "protocol/wire.h"
#include "shm/control.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    FDS_MAX = 16,
    ANSWER_BYTES_MAX = 1 << 16,
    ARENA_BYTES_MAX = 1 << 20,
    WAIT_MS = 20000, /* an answer that does not come by then fails the test */
    ACCESS_READ = 1,
    ACCESS_WRITE = 2,
    STORES = 4000, /* of one round of scribbling */
    FLOOD = 3000,  /* requests whose answers nobody reads */
    SENDS_MAX = 64,
};

/* The fds of an answer to AttachPartition, in this order; segments follow. */
enum { FD_CONTROL, FD_BELL, FD_KICK, FD_WRITERS, FD_SEGMENTS };

static const char *socket_path, *topic;
static uint64_t seed, state;
static long rounds;

static uint64_t
draw(void)
{
    /* splitmix64 */
    uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t
below(uint64_t n)
{
    return draw() % n;
}

_Noreturn static void
die(const char *what)
{
    printf("failed %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- talking to busd ------------------------------------------------------------------------- */

static int
dial(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = WAIT_MS / 1000};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        die("connecting to busd");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return fd;
}

static void
put_request(struct buf *out, int16_t key, const void *message)
{
    const struct api_info *api = api_find(key);
    struct request_header header = {
        .api_key = key, .api_version = api->max, .correlation_id = 7, .client_id = "hostile"};
    size_t start = frame_begin(out);
    request_header_encode(out, api, &header);
    if (wire_encode(api->request, api->max, message, out) < 0 || frame_end(out, start, 0) < 0)
        die("encoding a request");
}

static void
put_attach(struct buf *out, int8_t access)
{
    struct attach_partition_request request = {
        .topic_name = topic, .access = access, .layout_version = SHM_LAYOUT_VERSION};
    put_request(out, API_ATTACH_PARTITION, &request);
}

/* Sends without waiting for room; how many bytes went, -1 when the connection is over. */
static ssize_t
send_now(int fd, const void *bytes, size_t n)
{
    ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 && errno == EAGAIN ? 0 : sent;
}

struct answer {
    uint8_t bytes[ANSWER_BYTES_MAX];
    size_t n;
    int fds[FDS_MAX];
    int fd_count;
};

static void
take_fds(struct msghdr *message, struct answer *answer)
{
    for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at; at = CMSG_NXTHDR(message, at)) {
        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
            continue;
        int count = (int)((at->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(answer->fds + answer->fd_count, CMSG_DATA(at), (size_t)count * sizeof(int));
        answer->fd_count += count;
    }
}

/* Reads one frame; false when busd hung up. */
static bool
receive(int fd, struct answer *answer)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control;
    answer->n = 0;
    answer->fd_count = 0;
    size_t wanted = FRAME_PREFIX_BYTES;
    while (answer->n < wanted) {
        struct iovec part = {answer->bytes + answer->n, wanted - answer->n};
        struct msghdr message = {.msg_iov = &part,
            .msg_iovlen = 1,
            .msg_control = control.space,
            .msg_controllen = sizeof control.space};
        ssize_t n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EAGAIN)
            die("busd does not answer");
        if (n <= 0)
            return false;
        take_fds(&message, answer);
        answer->n += (size_t)n;
        if (answer->n == FRAME_PREFIX_BYTES && wanted == FRAME_PREFIX_BYTES)
            wanted += (size_t)answer->bytes[0] << 24 | (size_t)answer->bytes[1] << 16 |
                      (size_t)answer->bytes[2] << 8 | (size_t)answer->bytes[3];
        if (wanted > sizeof answer->bytes)
            die("an answer is too large");
    }
    return true;
}

struct attached {
    int socket;
    struct answer answer;
    uint8_t *maps[FDS_MAX]; /* NULL: no file */
    size_t sizes[FDS_MAX];
};

static void
detach(struct attached *a)
{
    for (int i = 0; i < a->answer.fd_count; i++) {
        if (a->maps[i])
            munmap(a->maps[i], a->sizes[i]);
        close(a->answer.fds[i]);
    }
    close(a->socket);
}

static void
map_files(struct attached *a)
{
    for (int i = 0; i < a->answer.fd_count; i++) {
        struct stat about;
        a->maps[i] = NULL;
        if (fstat(a->answer.fds[i], &about) < 0 || !S_ISREG(about.st_mode) || about.st_size == 0)
            continue;
        a->sizes[i] = (size_t)about.st_size;
        a->maps[i] =
            mmap(NULL, a->sizes[i], PROT_READ | PROT_WRITE, MAP_SHARED, a->answer.fds[i], 0);
        if (a->maps[i] == MAP_FAILED)
            a->maps[i] = NULL;
    }
}

/* Whether the last answer grants the access; else the reason is told. */
static bool
granted(const struct answer *answer, int8_t access, int16_t *error)
{
    const struct api_info *api = api_find(API_ATTACH_PARTITION);
    struct attach_partition_response response;
    struct arena arena;
    int32_t correlation;
    const uint8_t *frame = answer->bytes + FRAME_PREFIX_BYTES;
    size_t n = answer->n - FRAME_PREFIX_BYTES;
    int body = response_header_decode(api, api->max, frame, n, &correlation);
    arena_init(&arena, ARENA_BYTES_MAX);
    if (body < 0 ||
        wire_decode(api->response, api->max, frame + body, n - (size_t)body, &response, &arena) < 0)
        die("an answer cannot be understood");
    *error = response.error_code;
    bool yes = response.error_code == 0 && response.access == access;
    arena_fini(&arena);
    return yes;
}

/* Attaches anew until busd lets it, for a partition that is being repaired refuses meanwhile. */
static void
attach(struct attached *a, int8_t access)
{
    struct buf request;
    buf_init(&request);
    put_attach(&request, access);
    for (int i = 0; i < WAIT_MS; i++) {
        int16_t error = -1;
        a->socket = dial();
        a->answer.fd_count = 0;
        if (send(a->socket, request.data, request.length, MSG_NOSIGNAL) ==
                (ssize_t)request.length &&
            receive(a->socket, &a->answer) && granted(&a->answer, access, &error)) {
            map_files(a);
            buf_fini(&request);
            return;
        }
        for (int f = 0; f < a->answer.fd_count; f++)
            close(a->answer.fds[f]);
        close(a->socket);
        poll(NULL, 0, 1);
    }
    die("attaching");
}

/* ---- scribbling ------------------------------------------------------------------------------ */

static const uint64_t nasty[] = {0, 1, 2, 3, 4, 5, 7, 8, 4095, 4096, 0xffff, INT32_MAX,
    UINT64_C(0x80000000), UINT32_MAX, UINT64_C(0x7fffffff00000000), UINT64_C(0x7fffffffffffffff),
    UINT64_C(1) << 63, UINT64_MAX, UINT64_MAX - 7, SHM_CONTROL_MAGIC};

static sigjmp_buf out_of_file;

static void
on_bus_error(int number)
{
    (void)number;
    siglongjmp(out_of_file, 1);
}

static uint64_t
nasty_value(void)
{
    switch (below(4)) {
    case 0:
        return nasty[below(sizeof nasty / sizeof nasty[0])];
    case 1:
        return SHM_PUBLISHED(below(1 << 21), below(1 << 16)) | (below(2) << 63);
    case 2:
        return below(1 << 22);
    default:
        return draw();
    }
}

/* One store of 1, 2, 4 or 8 bytes, aligned or not, somewhere in [0, size). */
static void
store_somewhere(volatile uint8_t *map, size_t size)
{
    uint64_t value = nasty_value();
    size_t width = (size_t)1 << below(4);
    if (size < width)
        return;
    size_t at = below(size - width + 1);
    if (below(4) != 0)
        at -= at % width;
    if (width == 8 && at % 8 == 0)
        *(volatile uint64_t *)(map + at) = value;
    else if (width == 4 && at % 4 == 0)
        *(volatile uint32_t *)(map + at) = (uint32_t)value;
    else
        for (size_t i = 0; i < width; i++)
            map[at + i] = (uint8_t)(value >> 8 * i);
}

/* One store, in half of the cases near the beginning; survives a file that was cut. */
static void
scribble_once(struct attached *a, int which)
{
    volatile bool near = below(2) == 0 && a->sizes[which] > sizeof(struct shm_control);
    if (sigsetjmp(out_of_file, 1) == 0)
        store_somewhere(a->maps[which], near ? sizeof(struct shm_control) : a->sizes[which]);
    else
        a->maps[which] = NULL;
}

/* Stores into the maps from..until. */
static void
scribble(struct attached *a, int from, int until)
{
    for (int i = 0; i < STORES; i++) {
        int which = from + (int)below((uint64_t)(until - from));
        if (which < a->answer.fd_count && a->maps[which])
            scribble_once(a, which);
    }
}

static void
attack_control(struct attached *a)
{
    scribble(a, FD_CONTROL, FD_CONTROL + 1);
}

static void
attack_bell(struct attached *a)
{
    scribble(a, FD_BELL, FD_BELL + 1);
}

static void
attack_data(struct attached *a)
{
    scribble(a, FD_SEGMENTS, a->answer.fd_count);
}

static void
attack_everything(struct attached *a)
{
    scribble(a, 0, a->answer.fd_count);
}

/* Field by field: each word of the control page gets each nasty value, alone. */
static void
attack_words(struct attached *a)
{
    static size_t next;
    if (!a->maps[FD_CONTROL])
        return;
    size_t words = sizeof(struct shm_control) / 8;
    size_t values = sizeof nasty / sizeof nasty[0];
    for (int i = 0; i < 8; i++, next++)
        ((volatile uint64_t *)a->maps[FD_CONTROL])[next / values % words] = nasty[next % values];
}

static void
attack_sizes(struct attached *a)
{
    static const off_t sizes[] = {
        0, 1, 61, 4095, 4096, 4097, 65536, 1 << 20, (1 << 20) + 1, (off_t)1 << 31, (off_t)1 << 40};
    int fd = a->answer.fds[below((uint64_t)a->answer.fd_count)];
    int rc = ftruncate(fd, sizes[below(sizeof sizes / sizeof sizes[0])]);
    (void)rc; /* an eventfd has no size */
}

/* Says what an honest client says whose flush failed. */
static void
attack_offline(struct attached *a)
{
    struct shm_control *control = (void *)a->maps[FD_CONTROL];
    if (control) /* release: as in shm_fence() */
        atomic_store_explicit(&control->state, SHM_STATE_OFFLINE, memory_order_release);
}

/* Both locks in the hands of nobody, of somebody else, of itself; never given back. */
static void
attack_locks(struct attached *a)
{
    struct shm_control *control = (void *)a->maps[FD_CONTROL];
    const uint32_t owners[] = {
        (uint32_t)getpid(), 1, 0x3ffffff0, UINT32_MAX, 0x40000000, 0x80000000, 0xc0000001};
    uint32_t owner = owners[below(sizeof owners / sizeof owners[0])];
    flock(a->answer.fds[FD_WRITERS], LOCK_EX | LOCK_NB);
    if (!control)
        return;
    /* Relaxed: no order makes this better or worse. */
    atomic_store_explicit(&control->append_lock, owner, memory_order_relaxed);
    atomic_store_explicit(&control->flush_lock, owner, memory_order_relaxed);
}

/* The eventfd's flags belong to both ends: without O_NONBLOCK, a reader who comes second hangs. */
static void
attack_kick(struct attached *a)
{
    uint64_t word = 1;
    int fd = a->answer.fds[FD_KICK];
    fcntl(fd, F_SETFL, 0);
    for (int i = 0; i < STORES; i++) {
        struct iovec part = {&word, sizeof word};
        word = 1;
        ssize_t n = write(fd, &word, sizeof word);
        if (below(4) != 0)
            n = preadv2(fd, &part, 1, -1, RWF_NOWAIT); /* before busd does, every now and then */
        (void)n;
    }
}

static void
repeat_attached(void (*attack)(struct attached *a))
{
    struct attached a;
    for (long i = 0; i < rounds; i++) {
        attach(&a, ACCESS_WRITE);
        attack(&a);
        /* Some rounds leave while the damage is fresh, some stay for a while. */
        if (below(4) == 0)
            poll(NULL, 0, (int)below(150));
        detach(&a);
    }
}

/* ---- on the socket --------------------------------------------------------------------------- */

static void
be_silent(void)
{
    struct buf flood;
    buf_init(&flood);
    for (int i = 0; i < FLOOD; i++) {
        if (i % 3 == 0) {
            struct metadata_request all = {.topics_count = -1};
            put_request(&flood, API_METADATA, &all);
        } else {
            put_attach(&flood, ACCESS_READ);
        }
    }
    int sockets[SENDS_MAX];
    size_t sent[SENDS_MAX] = {0};
    for (int i = 0; i < SENDS_MAX; i++)
        sockets[i] = dial();
    for (long round = 0; round < rounds; round++) {
        for (int i = 0; i < SENDS_MAX; i++) {
            ssize_t n = send_now(sockets[i], flood.data + sent[i], flood.length - sent[i]);
            sent[i] += n > 0 ? (size_t)n : 0;
        }
        poll(NULL, 0, 1);
    }
    for (int i = 0; i < SENDS_MAX; i++)
        close(sockets[i]);
    buf_fini(&flood);
}

static void
put_i32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* A frame that is wrong in one way or another. Returns its size. */
static size_t
make_frame(uint8_t *bytes, size_t room, const struct buf *good)
{
    static const uint32_t sizes[] = {
        0, 1, 3, 8, 0x7fffffff, 0x80000000, 0xffffffff, 104857600, 104857601, 65536};
    size_t n = 4 + below(room - 4);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)draw();
    switch (below(5)) {
    case 0: /* garbage with a size that fits */
        put_i32(bytes, (uint32_t)(n - 4));
        return n;
    case 1: /* a size that does not */
        put_i32(bytes, sizes[below(sizeof sizes / sizeof sizes[0])]);
        return n;
    case 2: /* a known API of some version, and garbage */
        put_i32(bytes, (uint32_t)(n - 4));
        if (n >= 8) {
            const struct api_info *api = &api_table[below(api_table_count)];
            bytes[4] = (uint8_t)((uint16_t)api->key >> 8);
            bytes[5] = (uint8_t)api->key;
            bytes[6] = below(8) == 0 ? 0x7f : 0;
            bytes[7] = (uint8_t)below(20);
        }
        return n;
    case 3: /* half of a good one */
        memcpy(bytes, good->data, good->length);
        return 1 + below(good->length - 1);
    default: /* a good one with some bytes changed */
        memcpy(bytes, good->data, good->length);
        for (int i = 0; i < 3; i++)
            bytes[4 + below(good->length - 4)] = (uint8_t)draw();
        return good->length;
    }
}

static void
send_garbage(void)
{
    static uint8_t frame[2048];
    struct buf good;
    buf_init(&good);
    put_attach(&good, ACCESS_WRITE);
    for (long i = 0; i < rounds; i++) {
        int fd = dial();
        for (uint64_t sends = 1 + below(8); sends > 0; sends--)
            if (send_now(fd, frame, make_frame(frame, sizeof frame, &good)) < 0)
                break;
        if (below(2) == 0)
            poll(NULL, 0, 1);
        close(fd);
    }
    buf_fini(&good);
}

/* Leaves at every byte of a request, and with every part of the answer unread. */
static void
leave_everywhere(void)
{
    struct buf good;
    static char some[ANSWER_BYTES_MAX];
    buf_init(&good);
    put_attach(&good, ACCESS_WRITE);
    put_attach(&good, ACCESS_READ);
    for (long i = 0; i < rounds; i++) {
        for (size_t n = 0; n <= good.length; n++) {
            int fd = dial();
            send_now(fd, good.data, n);
            if (n == good.length && below(2) == 0) {
                ssize_t got = recv(fd, some, 1 + below(32), 0);
                (void)got; /* without room for fds: the kernel drops them */
            }
            if (below(3) == 0)
                shutdown(fd, below(2) == 0 ? SHUT_WR : SHUT_RDWR);
            close(fd);
        }
    }
    buf_fini(&good);
}

static void
send_fds(int to, const int *fds, size_t count, const void *bytes, size_t n)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(SENDS_MAX * sizeof(int))];
    } control = {0};
    struct iovec part = {(void *)(uintptr_t)bytes, n};
    struct msghdr message = {.msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.space,
        .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(head), fds, count * sizeof(int));
    sendmsg(to, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Descriptors that nobody asked for, sockets to busd among them. */
static void
send_rights(void)
{
    struct buf good;
    buf_init(&good);
    put_attach(&good, ACCESS_READ);
    for (long i = 0; i < rounds; i++) {
        int fds[SENDS_MAX];
        int fd = dial();
        for (int f = 0; f < SENDS_MAX; f++)
            fds[f] = f % 2 == 0 ? dial() : open("/dev/null", O_RDONLY | O_CLOEXEC);
        for (int turn = 0; turn < 8; turn++)
            send_fds(fd, fds, SENDS_MAX, good.data, good.length);
        for (int f = 0; f < SENDS_MAX; f++)
            close(fds[f]);
        close(fd);
    }
    buf_fini(&good);
}

/* ---- a reader -------------------------------------------------------------------------------- */

/* What a reader may not do with control page and segments, says the kernel: a line for each try. */
static void
try_to_write(void)
{
    struct attached a;
    attach(&a, ACCESS_READ);
    for (int i = 0; i < a.answer.fd_count; i++) {
        int fd = a.answer.fds[i];
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int saved = 0;
        void *map = mmap(NULL, SHM_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        int map_error = map == MAP_FAILED ? errno : 0;
        void *later = mmap(NULL, SHM_PAGE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
        if (later == MAP_FAILED || mprotect(later, SHM_PAGE_BYTES, PROT_READ | PROT_WRITE) < 0)
            saved = errno;
        int again = open(path, O_RDWR | O_CLOEXEC);
        int open_error = again < 0 ? errno : 0;
        int size_error = ftruncate(fd, 0) < 0 ? errno : 0;
        int write_error = pwrite(fd, "x", 1, 0) < 0 ? errno : 0;
        printf("fd %d mmap %d mprotect %d reopen %d ftruncate %d pwrite %d\n", i, map_error, saved,
            open_error, size_error, write_error);
        if (again >= 0)
            close(again);
    }
    detach(&a);
}

/* ---- modes ----------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*attack)(struct attached *a); /* after each attachment for writing, or */
    void (*run)(void);
} modes[] = {
    {"bell", attack_bell, NULL},
    {"control", attack_control, NULL},
    {"data", attack_data, NULL},
    {"everything", attack_everything, NULL},
    {"frames", NULL, send_garbage},
    {"kick", attack_kick, NULL},
    {"leave", NULL, leave_everywhere},
    {"locks", attack_locks, NULL},
    {"offline", attack_offline, NULL},
    {"reader", NULL, try_to_write},
    {"rights", NULL, send_rights},
    {"silent", NULL, be_silent},
    {"sizes", attack_sizes, NULL},
    {"words", attack_words, NULL},
};

int
main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_bus_error};
    if (argc != 6) {
        fprintf(stderr, "hostile: see the head of hostile.c\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigaction(SIGBUS, &action, NULL);
    socket_path = argv[1];
    topic = argv[2];
    seed = state = strtoull(argv[4], NULL, 10);
    rounds = strtol(argv[5], NULL, 10);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(argv[3], modes[i].name) != 0)
            continue;
        if (modes[i].attack)
            repeat_attached(modes[i].attack);
        else
            modes[i].run();
        printf("done %s %" PRIu64 " %ld\n", argv[3], seed, rounds);
        return 0;
    }
    fprintf(stderr, "hostile: no mode %s\n", argv[3]);
    return 2;
}
