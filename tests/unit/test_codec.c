/* SPDX-License-Identifier: Apache-2.0 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "base/bytes.h"
#include "base/err.h"
#include "record/codec.h"
#include "unit/unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BYTES_MAX = 300000 };

/* Compressible but not trivial: words of a pseudo-random text. */
static void
fill(uint8_t *bytes, size_t n)
{
    static const char *const words[] = {"offset ", "segment ", "leader ", "\n", "x", "acks=all "};
    uint32_t state = 99;
    for (size_t at = 0; at < n;) {
        state = state * 1103515245 + 12345;
        const char *word = words[(state >> 16) % 6];
        for (; *word && at < n; word++)
            bytes[at++] = (uint8_t)*word;
    }
}

static void
fill_noise(uint8_t *bytes, size_t n)
{
    uint32_t state = 7;
    for (size_t i = 0; i < n; i++) {
        state = state * 1103515245 + 12345;
        bytes[i] = (uint8_t)(state >> 16);
    }
}

/* Whether `bytes` survive, behind what the buffers held before. */
static bool
survives(int codec, int level, const uint8_t *bytes, size_t n)
{
    struct buf packed;
    struct buf out;
    buf_init(&packed);
    buf_init(&out);
    buf_put(&packed, "head", 4);
    buf_put(&out, "top", 3);
    bool same = codec_compress(codec, level, bytes, n, &packed) == 0 &&
                memcmp(packed.data, "head", 4) == 0 &&
                codec_decompress(codec, packed.data + 4, packed.length - 4, n, &out) == 0 &&
                out.length == n + 3 && memcmp(out.data, "top", 3) == 0 &&
                (n == 0 || memcmp(out.data + 3, bytes, n) == 0);
    buf_fini(&packed);
    buf_fini(&out);
    return same;
}

static void
test_round_trip(void)
{
    static const size_t sizes[] = {
        1, 2, 100, 16383, 16384, 16385, 32768, 32769, 65536, 65537, BYTES_MAX};
    uint8_t *text = malloc(BYTES_MAX);
    uint8_t *noise = malloc(BYTES_MAX);
    CU_ASSERT_FATAL(text && noise);
    fill(text, BYTES_MAX);
    fill_noise(noise, BYTES_MAX);
    for (int codec = 0; codec < CODEC_COUNT; codec++)
        for (size_t i = 0; codec_available(codec) && i < sizeof sizes / sizeof sizes[0]; i++) {
            CU_ASSERT(survives(codec, 0, text, sizes[i]));
            CU_ASSERT(survives(codec, 0, noise, sizes[i]));
        }
    free(text);
    free(noise);
}

static void
test_levels(void)
{
    uint8_t text[5000];
    fill(text, sizeof text);
    static const int levels[] = {INT32_MIN, -1, 0, 1, 3, 9, 12, 17, 22, INT32_MAX};
    for (int codec = 0; codec < CODEC_COUNT; codec++)
        for (size_t i = 0; codec_available(codec) && i < sizeof levels / sizeof levels[0]; i++)
            CU_ASSERT(survives(codec, levels[i], text, sizeof text));
}

static void
test_level_check(void)
{
    static const struct {
        int codec, below, min, max;
    } ranges[] = {{CODEC_GZIP, -1, 1, 9}, {CODEC_LZ4, -1, 1, 17}, {CODEC_ZSTD, -51, -50, 22}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        int codec = ranges[i].codec;
        if (!codec_available(codec))
            continue;
        CU_ASSERT_EQUAL(codec_level_check(codec, 0), 0);
        CU_ASSERT_EQUAL(codec_level_check(codec, ranges[i].min), 0);
        CU_ASSERT_EQUAL(codec_level_check(codec, ranges[i].max), 0);
        CU_ASSERT_EQUAL(codec_level_check(codec, ranges[i].below), -BUS_ERR_INVALID_CONFIG);
        CU_ASSERT_EQUAL(codec_level_check(codec, ranges[i].max + 1), -BUS_ERR_INVALID_CONFIG);
    }
    CU_ASSERT_STRING_EQUAL(err_text(), "level 23 of zstd is outside -50 to 22");
    CU_ASSERT_EQUAL(codec_level_check(CODEC_NONE, 0), 0);
    CU_ASSERT_EQUAL(codec_level_check(CODEC_NONE, 1), -BUS_ERR_INVALID_CONFIG);
    CU_ASSERT_EQUAL(codec_level_check(CODEC_COUNT, 0), -BUS_ERR_UNSUPPORTED_CODEC);
}

static void
test_limit(void)
{
    uint8_t *zeroes = calloc(1, BYTES_MAX);
    CU_ASSERT_PTR_NOT_NULL_FATAL(zeroes);
    struct buf packed;
    struct buf out;
    buf_init(&packed);
    buf_init(&out);
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        if (!codec_available(codec))
            continue;
        buf_clear(&packed);
        buf_clear(&out);
        buf_put(&out, "top", 3);
        CU_ASSERT_EQUAL(codec_compress(codec, 0, zeroes, BYTES_MAX, &packed), 0);
        const uint8_t *p = packed.data;
        size_t n = packed.length;
        CU_ASSERT_EQUAL(
            codec_decompress(codec, p, n, BYTES_MAX - 1, &out), -BUS_ERR_MESSAGE_TOO_LARGE);
        CU_ASSERT_EQUAL(out.length, 3);
        CU_ASSERT_EQUAL(codec_decompress(codec, p, n, 0, &out), -BUS_ERR_MESSAGE_TOO_LARGE);
        CU_ASSERT_EQUAL(out.length, 3);
        CU_ASSERT_EQUAL(codec_decompress(codec, p, n, BYTES_MAX, &out), 0);
        CU_ASSERT_EQUAL(out.length, BYTES_MAX + 3);
        buf_clear(&out);
        CU_ASSERT_EQUAL(codec_decompress(codec, p, n, SIZE_MAX, &out), 0);
        CU_ASSERT_EQUAL(out.length, BYTES_MAX);
    }
    buf_fini(&packed);
    buf_fini(&out);
    free(zeroes);
}

/* A prefix of a stream never gives the whole; how it ends does not matter, nor does its memory. */
static void
test_cut_short(void)
{
    uint8_t text[3000];
    fill(text, sizeof text);
    struct buf packed;
    struct buf out;
    buf_init(&packed);
    buf_init(&out);
    for (int codec = CODEC_GZIP; codec < CODEC_COUNT; codec++) {
        if (!codec_available(codec))
            continue;
        buf_clear(&packed);
        CU_ASSERT_EQUAL_FATAL(codec_compress(codec, 0, text, sizeof text, &packed), 0);
        unsigned whole = 0;
        for (size_t n = 0; n < packed.length; n++) {
            uint8_t *cut = malloc(n + 1);
            CU_ASSERT_PTR_NOT_NULL_FATAL(cut);
            memcpy(cut, packed.data, n);
            buf_clear(&out);
            int rc = codec_decompress(codec, cut, n, sizeof text, &out);
            /* snappy's frame may end behind each block; here there is but one, and its header. */
            whole += rc == 0 && out.length > 0;
            whole += rc != 0 && rc != -BUS_ERR_CORRUPT_MESSAGE && rc != -BUS_ERR_MESSAGE_TOO_LARGE;
            free(cut);
        }
        CU_ASSERT_EQUAL(whole, 0);
    }
    buf_fini(&packed);
    buf_fini(&out);
}

/* Behind its blocks a frame of snappy has one to three bytes more; nothing behind those is read. */
static void
test_snappy_rest(void)
{
    if (!codec_available(CODEC_SNAPPY))
        return;
    struct buf packed;
    struct buf out;
    buf_init(&packed);
    buf_init(&out);
    CU_ASSERT_EQUAL_FATAL(codec_compress(CODEC_SNAPPY, 0, "some text", 9, &packed), 0);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *pages =
        mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_FATAL(pages != MAP_FAILED);
    CU_ASSERT_EQUAL_FATAL(mprotect(pages + page, page, PROT_NONE), 0);
    for (size_t rest = 0; rest < 4; rest++) {
        uint8_t *at = pages + page - packed.length - rest;
        memcpy(at, packed.data, packed.length);
        memset(at + packed.length, 0, rest);
        buf_clear(&out);
        int rc = codec_decompress(CODEC_SNAPPY, at, packed.length + rest, 100, &out);
        CU_ASSERT_EQUAL(rc, rest == 0 ? 0 : -BUS_ERR_CORRUPT_MESSAGE);
    }
    munmap(pages, 2 * page);
    buf_fini(&packed);
    buf_fini(&out);
}

static void
test_damaged(void)
{
    uint8_t text[2000];
    fill(text, sizeof text);
    struct buf packed;
    struct buf out;
    buf_init(&packed);
    buf_init(&out);
    for (int codec = CODEC_GZIP; codec < CODEC_COUNT; codec++) {
        if (!codec_available(codec))
            continue;
        buf_clear(&packed);
        CU_ASSERT_EQUAL_FATAL(codec_compress(codec, 0, text, sizeof text, &packed), 0);
        unsigned strange = 0;
        for (size_t i = 0; i < packed.length; i++) {
            packed.data[i] ^= 0x55;
            buf_clear(&out);
            int rc = codec_decompress(codec, packed.data, packed.length, 100000, &out);
            strange += rc != 0 && rc != -BUS_ERR_CORRUPT_MESSAGE;
            strange += out.length > 100000;
            packed.data[i] ^= 0x55;
        }
        CU_ASSERT_EQUAL(strange, 0);
        CU_ASSERT_EQUAL(codec_decompress(codec, packed.data, packed.length, 100000, &out), 0);
        CU_ASSERT_EQUAL(
            codec_decompress(codec, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 17, 100, &out),
            -BUS_ERR_CORRUPT_MESSAGE);
        CU_ASSERT_EQUAL(codec_decompress(codec, NULL, 0, 100, &out), -BUS_ERR_CORRUPT_MESSAGE);
    }
    buf_fini(&packed);
    buf_fini(&out);
}

static void
test_names(void)
{
    static const char *const names[CODEC_COUNT] = {"none", "gzip", "snappy", "lz4", "zstd"};
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        CU_ASSERT_STRING_EQUAL(codec_name(codec), names[codec]);
        int expected = codec_available(codec) ? codec : -BUS_ERR_UNSUPPORTED_CODEC;
        CU_ASSERT_EQUAL(codec_of_name(names[codec]), expected);
    }
    CU_ASSERT_STRING_EQUAL(codec_name(-1), "unknown");
    CU_ASSERT_STRING_EQUAL(codec_name(CODEC_COUNT), "unknown");
    CU_ASSERT_EQUAL(codec_of_name("ZSTD"), -BUS_ERR_INVALID_CONFIG);
    CU_ASSERT_EQUAL(codec_of_name(""), -BUS_ERR_INVALID_CONFIG);
    CU_ASSERT(codec_available(CODEC_NONE));
    CU_ASSERT(codec_available(CODEC_ZSTD));
    CU_ASSERT_FALSE(codec_available(-1));
    CU_ASSERT_FALSE(codec_available(CODEC_COUNT));
}

static void
test_unknown_codec(void)
{
    struct buf out;
    buf_init(&out);
    static const int unknown[] = {-1, CODEC_COUNT, 7, INT32_MAX};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        CU_ASSERT_EQUAL(codec_compress(unknown[i], 0, "abc", 3, &out), -BUS_ERR_UNSUPPORTED_CODEC);
        CU_ASSERT_EQUAL(
            codec_decompress(unknown[i], "abc", 3, 100, &out), -BUS_ERR_UNSUPPORTED_CODEC);
    }
    CU_ASSERT_EQUAL(out.length, 0);
    buf_fini(&out);
}

static void
expect_text(int codec, const void *bytes, size_t n, const char *text)
{
    struct buf out;
    buf_init(&out);
    CU_ASSERT_EQUAL(codec_decompress(codec, bytes, n, 1000, &out), 0);
    CU_ASSERT_EQUAL(out.length, strlen(text));
    CU_ASSERT(out.length == strlen(text) && memcmp(out.data, text, out.length) == 0);
    buf_fini(&out);
}

/* Bytes written by hand from the formats: raw literals, so that no compressor is involved. */
static void
test_snappy_forms(void)
{
    if (!codec_available(CODEC_SNAPPY))
        return;
    static const char raw[] = "\x05\x10hello";
    expect_text(CODEC_SNAPPY, raw, sizeof raw - 1, "hello");
    static const char framed[] =
        "\x82SNAPPY\0\0\0\0\1\0\0\0\1\0\0\0\7\x05\x10hello\0\0\0\7\x05\x10world";
    expect_text(CODEC_SNAPPY, framed, sizeof framed - 1, "helloworld");
    struct buf packed;
    buf_init(&packed);
    CU_ASSERT_EQUAL(codec_compress(CODEC_SNAPPY, 0, "hello", 5, &packed), 0);
    CU_ASSERT_EQUAL(packed.length, 27);
    CU_ASSERT(packed.length == 27 && memcmp(packed.data, framed, 27) == 0);
    buf_fini(&packed);
    struct buf out;
    buf_init(&out);
    static const char too_long[] = "\x82SNAPPY\0\0\0\0\1\0\0\0\1\xff\xff\xff\xff\x05\x10hello";
    CU_ASSERT_EQUAL(codec_decompress(CODEC_SNAPPY, too_long, sizeof too_long - 1, 1000, &out),
        -BUS_ERR_CORRUPT_MESSAGE);
    /* Announces 4 GiB. */
    CU_ASSERT_EQUAL(codec_decompress(CODEC_SNAPPY, "\xff\xff\xff\xff\x0f\x00x", 7, 1000, &out),
        -BUS_ERR_MESSAGE_TOO_LARGE);
    buf_fini(&out);
}

static void
test_zstd_frames(void)
{
    /* A frame with one raw block: first with its size, then (window descriptor) without. */
    static const char sized[] = "\x28\xb5\x2f\xfd\x20\x05\x29\0\0hello";
    static const char unsized[] = "\x28\xb5\x2f\xfd\x00\x58\x29\0\0hello";
    static const char both[] =
        "\x28\xb5\x2f\xfd\x20\x05\x29\0\0hello\x28\xb5\x2f\xfd\x00\x58\x29\0\0world";
    expect_text(CODEC_ZSTD, sized, sizeof sized - 1, "hello");
    expect_text(CODEC_ZSTD, unsized, sizeof unsized - 1, "hello");
    expect_text(CODEC_ZSTD, both, sizeof both - 1, "helloworld");
    struct buf out;
    buf_init(&out);
    CU_ASSERT_EQUAL(codec_decompress(CODEC_ZSTD, unsized, sizeof unsized - 2, 1000, &out),
        -BUS_ERR_CORRUPT_MESSAGE);
    CU_ASSERT_EQUAL(codec_decompress(CODEC_ZSTD, unsized, sizeof unsized - 1, 4, &out),
        -BUS_ERR_MESSAGE_TOO_LARGE);
    /* A size of 2^63 in the frame header, and nothing behind it. */
    CU_ASSERT_EQUAL(codec_decompress(CODEC_ZSTD, "\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\0\0\x80\x01\0\0",
                        16, SIZE_MAX, &out),
        -BUS_ERR_MESSAGE_TOO_LARGE);
    CU_ASSERT_EQUAL(out.length, 0);
    buf_fini(&out);
}

static void
test_gzip_members(void)
{
    if (!codec_available(CODEC_GZIP))
        return;
    struct buf packed;
    buf_init(&packed);
    CU_ASSERT_EQUAL(codec_compress(CODEC_GZIP, 0, "hello", 5, &packed), 0);
    CU_ASSERT_EQUAL(codec_compress(CODEC_GZIP, 9, "world", 5, &packed), 0);
    expect_text(CODEC_GZIP, packed.data, packed.length, "helloworld");
    buf_fini(&packed);
}

static void
test_lz4_frame(void)
{
    if (!codec_available(CODEC_LZ4))
        return;
    struct buf packed;
    buf_init(&packed);
    CU_ASSERT_EQUAL(codec_compress(CODEC_LZ4, 0, "hello", 5, &packed), 0);
    CU_ASSERT_FATAL(packed.length > 7);
    CU_ASSERT_EQUAL(memcmp(packed.data, "\x04\x22\x4d\x18", 4), 0);
    /* Version 1 and independent blocks, which Kafka's Java client insists on. */
    CU_ASSERT_EQUAL(packed.data[4] & 0xe0, 0x60);
    buf_fini(&packed);
}

static void *
use_and_end(void *failed)
{
    uint8_t text[1000];
    fill(text, sizeof text);
    for (int codec = 0; codec < CODEC_COUNT; codec++)
        if (codec_available(codec) && !survives(codec, 0, text, sizeof text))
            *(bool *)failed = true;
    return NULL;
}

static void
test_threads(void)
{
    pthread_t threads[3];
    bool failed[3] = {false};
    for (size_t i = 0; i < 3; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, use_and_end, &failed[i]), 0);
    for (size_t i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        CU_ASSERT_FALSE(failed[i]);
    }
}

static void
test_thread_fini(void)
{
    bool failed = false;
    use_and_end(&failed);
    codec_thread_fini();
    codec_thread_fini();
    use_and_end(&failed);
    codec_thread_fini();
    CU_ASSERT_FALSE(failed);
}

static const struct unit_case cases[] = {
    {"text and noise survive every codec", test_round_trip},
    {"levels are clamped", test_levels},
    {"levels out of range are refused by the check", test_level_check},
    {"output beyond the limit is refused", test_limit},
    {"a stream cut short is refused at every byte", test_cut_short},
    {"snappy reads no rest of a length", test_snappy_rest},
    {"damage is refused or harmless", test_damaged},
    {"names and numbers agree", test_names},
    {"unknown codecs are refused", test_unknown_codec},
    {"snappy is read raw and framed, written framed", test_snappy_forms},
    {"zstd frames with and without a size are read", test_zstd_frames},
    {"gzip members are joined", test_gzip_members},
    {"lz4 frames have independent blocks", test_lz4_frame},
    {"threads compress side by side", test_threads},
    {"what a thread keeps can be released at any time", test_thread_fini},
    {NULL, NULL},
};

void
register_codec(void)
{
    unit_register("codec", cases);
}
