/* SPDX-License-Identifier: Apache-2.0 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "record/codec.h"

#include "base/err.h"
#include "record/codec_impl.h"

#include <pthread.h>
#include <string.h>

/* What a decoder gets for a start; many batches fit. */
enum { ROOM_BYTES_MIN = 16 * 1024 };

static const struct {
    const char *name;
    const struct codec_impl *impl; /* NULL: this build lacks it, or there is nothing to do */
} codecs[CODEC_COUNT] = {
    [CODEC_NONE] = {"none", NULL},
#ifdef HAVE_ZLIB
    [CODEC_GZIP] = {"gzip", &codec_gzip},
#else
    [CODEC_GZIP] = {"gzip", NULL},
#endif
#ifdef HAVE_SNAPPY
    [CODEC_SNAPPY] = {"snappy", &codec_snappy},
#else
    [CODEC_SNAPPY] = {"snappy", NULL},
#endif
#ifdef HAVE_LZ4
    [CODEC_LZ4] = {"lz4", &codec_lz4},
#else
    [CODEC_LZ4] = {"lz4", NULL},
#endif
    [CODEC_ZSTD] = {"zstd", &codec_zstd},
};

static bool
codec_known(int codec)
{
    return codec >= 0 && codec < CODEC_COUNT;
}

bool
codec_available(int codec)
{
    return codec == CODEC_NONE || (codec_known(codec) && codecs[codec].impl);
}

const char *
codec_name(int codec)
{
    return codec_known(codec) ? codecs[codec].name : "unknown";
}

static int
refuse_absent(int codec)
{
    return err_set(
        BUS_ERR_UNSUPPORTED_CODEC, "codec %s (%d) is not in this build", codec_name(codec), codec);
}

int
codec_of_name(const char *name)
{
    for (int codec = 0; codec < CODEC_COUNT; codec++)
        if (strcmp(name, codecs[codec].name) == 0)
            return codec_available(codec) ? codec : refuse_absent(codec);
    return err_set(BUS_ERR_INVALID_CONFIG,
        "compression \"%s\" is none of none, gzip, snappy, lz4, zstd", name);
}

int
codec_level_check(int codec, int level)
{
    if (!codec_available(codec))
        return refuse_absent(codec);
    if (level == 0)
        return 0;
    const struct codec_impl *impl = codecs[codec].impl;
    if (!impl || impl->level_min == impl->level_max)
        return err_set(BUS_ERR_INVALID_CONFIG, "compression %s has no levels, so %d is none",
            codec_name(codec), level);
    if (level < impl->level_min || level > impl->level_max)
        return err_set(BUS_ERR_INVALID_CONFIG, "level %d of %s is outside %d to %d", level,
            codec_name(codec), impl->level_min, impl->level_max);
    return 0;
}

static int
clamp_level(const struct codec_impl *impl, int level)
{
    if (level == 0)
        return 0;
    if (level < impl->level_min)
        return impl->level_min;
    return level > impl->level_max ? impl->level_max : level;
}

static int
copy(const void *bytes, size_t n, struct buf *out)
{
    buf_put(out, bytes, n);
    return buf_failed(out) ? err_no_memory() : 0;
}

int
codec_compress(int codec, int level, const void *bytes, size_t n, struct buf *out)
{
    if (!codec_available(codec))
        return refuse_absent(codec);
    if (n > INT32_MAX)
        return err_set(BUS_ERR_MESSAGE_TOO_LARGE, "%s: %zu bytes are more than a batch can hold",
            codec_name(codec), n);
    const struct codec_impl *impl = codecs[codec].impl;
    size_t start = out->length;
    int rc = impl ? impl->compress(clamp_level(impl, level), bytes, n, out) : copy(bytes, n, out);
    if (rc < 0)
        out->length = start;
    return rc;
}

int
codec_decompress(int codec, const void *bytes, size_t n, size_t limit_bytes, struct buf *out)
{
    if (!codec_available(codec))
        return refuse_absent(codec);
    if (n > INT32_MAX)
        return codec_corrupt(codec_name(codec), "the input is longer than a batch");
    if (limit_bytes > INT32_MAX)
        limit_bytes = INT32_MAX;
    const struct codec_impl *impl = codecs[codec].impl;
    size_t start = out->length;
    int rc;
    if (impl)
        rc = impl->decompress(bytes, n, limit_bytes, out);
    else
        rc = n > limit_bytes ? codec_too_large(limit_bytes) : copy(bytes, n, out);
    if (rc < 0)
        out->length = start;
    return rc;
}

int
codec_corrupt(const char *codec, const char *why)
{
    return err_set(BUS_ERR_CORRUPT_MESSAGE, "%s: %s", codec, why);
}

int
codec_sink_check(const struct codec_sink *sink)
{
    if (sink->out->length - sink->start <= sink->limit_bytes)
        return 0;
    return codec_too_large(sink->limit_bytes);
}

int
codec_too_large(size_t limit_bytes)
{
    return err_set(BUS_ERR_MESSAGE_TOO_LARGE,
        "the records decompress to more than %zu bytes: send smaller batches", limit_bytes);
}

int
codec_sink_room(struct codec_sink *sink, size_t *room)
{
    int rc = codec_sink_check(sink);
    if (rc < 0)
        return rc;
    size_t done = sink->out->length - sink->start;
    size_t most = sink->limit_bytes - done + 1;
    size_t want = done < ROOM_BYTES_MIN ? ROOM_BYTES_MIN : done;
    rc = buf_reserve(sink->out, want < most ? want : most);
    if (rc < 0)
        return rc;
    size_t spare = sink->out->capacity - sink->out->length;
    *room = spare < most ? spare : most;
    return 0;
}

void
codec_thread_fini(void)
{
    for (int codec = 0; codec < CODEC_COUNT; codec++)
        if (codecs[codec].impl && codecs[codec].impl->thread_fini)
            codecs[codec].impl->thread_fini();
}

static pthread_key_t thread_key;
static bool thread_key_exists;
static pthread_once_t thread_key_once = PTHREAD_ONCE_INIT;

static void
thread_ends(void *marker)
{
    (void)marker;
    codec_thread_fini();
}

static void
thread_key_create(void)
{
    thread_key_exists = pthread_key_create(&thread_key, thread_ends) == 0;
}

void
codec_thread_keeps(void)
{
    /* Without a key (a process has 1024 of them) a thread that ends leaks its working memory,
     * which is better than not to compress. */
    pthread_once(&thread_key_once, thread_key_create);
    if (thread_key_exists && !pthread_getspecific(thread_key))
        pthread_setspecific(thread_key, &thread_key);
}
