/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/command.h"
#include "busctl/indexfile.h"
#include "busctl/logfile.h"
#include "busctl/logset.h"
#include "record/codec.h"

#include <stdlib.h>

struct dump {
    bool records;
    int64_t from;  /* offsets below are left out */
    int64_t count; /* rows to print; -1: no limit */
    bool damaged;
};

static const struct opt_row options[] = {
    {'r', "records", NULL, "print records instead of batches", OPT_NOTHING},
    {'o', "offset", "N", "begin at this offset", OPT_NOTHING},
    {'c', "count", "COUNT", "end after so many rows", OPT_NOTHING},
    {0},
};

static const char *const examples[] = {
    "$0 log dump /var/lib/shmbus/topics/orders-0/00000000000000000000.log",
    "$0 log dump -r -o 1000 -c 10 /var/lib/shmbus/topics/orders-0",
    "$0 log dump /var/lib/shmbus/topics/orders-0/00000000000000000000.timeindex",
    "$0 log dump --json /var/lib/shmbus/topics/orders-0 | jq -s 'map(.bytes) | add'",
    NULL,
};

static bool
is_full(const struct dump *dump)
{
    return dump->count == 0;
}

static void
print_batch(struct ctl *ctl, struct dump *dump, const struct logfile *file, int64_t position,
    const uint8_t *bytes, const struct batch_header *header)
{
    bool crc_ok = batch_crc_ok(bytes, batch_bytes(header));
    dump->count -= dump->count > 0;
    dump->damaged |= !crc_ok;
    out_object(ctl->out, NULL);
    out_integer(ctl->out, "position", position);
    out_integer(ctl->out, "bytes", (int64_t)batch_bytes(header));
    out_integer(ctl->out, "base_offset", header->base_offset);
    out_integer(ctl->out, "last_offset", batch_next_offset(header) - 1);
    out_integer(ctl->out, "records", header->count);
    out_text(ctl->out, "codec", codec_name(batch_codec(header)));
    out_time(ctl->out, "max_timestamp", header->max_timestamp);
    out_text(ctl->out, "timestamp_type",
        header->attributes & BATCH_ATTR_LOG_APPEND ? "LogAppendTime" : "CreateTime");
    out_integer(ctl->out, "leader_epoch", header->leader_epoch);
    out_integer(ctl->out, "producer_id", header->producer_id);
    out_integer(ctl->out, "attributes", header->attributes);
    out_boolean(ctl->out, "crc_ok", crc_ok);
    out_text(ctl->out, "file", file->path);
    out_end(ctl->out);
}

static int
print_record(struct ctl *ctl, const struct record *record)
{
    size_t count = record->header_count > 0 ? (size_t)record->header_count : 0;
    struct out_pair *pairs = calloc(count + 1, sizeof *pairs);
    if (!pairs)
        return ctl_no_memory(ctl);
    struct record_header_cursor cursor = {0};
    struct record_header header;
    size_t given = 0;
    for (; given < count && record_header_next(record, &cursor, &header) == 1; given++)
        pairs[given] = (struct out_pair){header.key, (size_t)header.key_bytes, header.value,
            header.value ? (size_t)header.value_bytes : 0};
    out_object(ctl->out, NULL);
    out_integer(ctl->out, "offset", record->offset);
    out_time(ctl->out, "timestamp", record->timestamp);
    out_bytes(ctl->out, "key", record->key, record->key ? (size_t)record->key_bytes : 0);
    out_bytes(ctl->out, "value", record->value, record->value ? (size_t)record->value_bytes : 0);
    out_pairs(ctl->out, "headers", pairs, given);
    out_end(ctl->out);
    free(pairs);
    return CTL_OK;
}

static int
print_records(struct ctl *ctl, struct dump *dump, struct logfile *file, const uint8_t *bytes,
    const struct batch_header *header)
{
    struct batch_iter iter;
    struct record record;
    int rc = batch_iter_init(
        &iter, bytes, batch_bytes(header), header, &file->scratch, LOGFILE_DECOMPRESSED_MAX);
    while (rc >= 0 && !is_full(dump) && (rc = batch_iter_next(&iter, &record)) == 1) {
        if (record.offset < dump->from)
            continue;
        dump->count -= dump->count > 0;
        int code = print_record(ctl, &record);
        if (code != CTL_OK)
            return code;
    }
    if (rc >= 0)
        return CTL_OK;
    dump->damaged = true;
    ctl_fail(ctl, "%s: batch at offset %lld: %s", file->path, (long long)header->base_offset,
        bus_error());
    return CTL_OK;
}

/** Tells of damage at `position` and finds where to go on; -1: nowhere. */
static int64_t
skip_damage(
    struct ctl *ctl, struct dump *dump, struct logfile *file, int64_t position, int64_t offset)
{
    int64_t next = logfile_resume(file, position + 1, offset);
    /* Behind the tail of the last segment lies whatever an unfinished append left. */
    out_flush(ctl->out);
    ctl_fail(ctl, "%s: position %lld, offset %lld: %s: %s", file->path, (long long)position,
        (long long)offset, bus_error(),
        next < 0 ? "nothing behind it can be read; 'log verify' tells more" : "going on behind it");
    dump->damaged = true;
    return next;
}

static int
dump_file(struct ctl *ctl, struct dump *dump, const struct logset_file *entry)
{
    struct logfile file;
    if (logfile_open(&file, entry->path) < 0)
        return ctl_fail(ctl, "%s", bus_error());
    int64_t position = 0, offset = entry->base < 0 ? 0 : entry->base;
    int code = CTL_OK;
    /* Behind the end of a closed segment may lie what was never published. */
    while (code == CTL_OK && position >= 0 && !is_full(dump) &&
           (entry->next < 0 || offset < entry->next)) {
        const uint8_t *bytes;
        struct batch_header header;
        int rc = logfile_batch(&file, position, &bytes, &header);
        if (rc == LOGFILE_END)
            break;
        if (rc < 0) {
            position = skip_damage(ctl, dump, &file, position, offset);
            continue;
        }
        offset = batch_next_offset(&header);
        if (offset > dump->from && dump->records)
            code = print_records(ctl, dump, &file, bytes, &header);
        else if (offset > dump->from)
            print_batch(ctl, dump, &file, position, bytes, &header);
        position += (int64_t)batch_bytes(&header);
    }
    logfile_close(&file);
    return ferror(stdout) ? CTL_FAILED : code;
}

static void
print_entry(struct out *out, enum indexfile_kind kind, const struct indexfile_entry *entry)
{
    out_object(out, NULL);
    if (kind == INDEXFILE_TIME)
        out_time(out, "timestamp", entry->time_ms);
    out_integer(out, "offset", entry->offset);
    if (kind == INDEXFILE_OFFSET)
        out_integer(out, "position", entry->position);
    out_end(out);
}

/** Offsets are told as they are in the log; of a file without a base in its name, relative. */
static int
dump_index(struct ctl *ctl, struct dump *dump, const char *path)
{
    struct indexfile index;
    struct indexfile_entry entry;
    int64_t base = logfile_base_of_name(path);
    int code = CTL_OK;
    int rc = indexfile_open(&index, path);
    if (rc < 0)
        code = ctl_fail(ctl, "%s", bus_error());
    else if (rc == INDEXFILE_MISSING)
        code = ctl_fail(ctl, "%s: no such file: name one that can be read", path);
    for (size_t at = 0; code == CTL_OK && at < index.used && !is_full(dump);
         at += index.entry_bytes) {
        if (!indexfile_entry(&index, at, &entry)) {
            code = ctl_fail(
                ctl, "%s: position %zu: the last entry is cut off" INDEXFILE_REMEDY, path, at);
            break;
        }
        entry.offset += base < 0 ? 0 : base;
        if (entry.offset < dump->from)
            continue;
        dump->count -= dump->count > 0;
        print_entry(ctl->out, index.kind, &entry);
    }
    indexfile_close(&index);
    return code;
}

static int
dump_segments(struct ctl *ctl, struct dump *dump, const char *path)
{
    struct logset set;
    int code = CTL_OK;
    if (logset_init(&set, path) < 0)
        code = ctl_fail(ctl, "%s", bus_error());
    for (size_t i = 0; i < set.count && code == CTL_OK; i++)
        if (set.files[i].next < 0 || set.files[i].next > dump->from)
            code = dump_file(ctl, dump, &set.files[i]);
    logset_fini(&set);
    return code;
}

static int
dump_path(struct ctl *ctl, struct dump *dump, const char *path)
{
    bool is_index = indexfile_kind(path) != INDEXFILE_NONE;
    if (is_index && dump->records)
        return ctl_fail(
            ctl, "%s: an index has no records: leave out -r, or name the segment", path);
    out_list(ctl->out, NULL);
    int code = is_index ? dump_index(ctl, dump, path) : dump_segments(ctl, dump, path);
    out_end(ctl->out);
    return code;
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    struct dump dump = {.count = -1};
    int code = CTL_OK;
    for (int key; code == CTL_OK && (key = opts_next(opts)) != OPTS_END;) {
        if (key == OPTS_EXIT)
            return opts->exit_code;
        if (key == 'r')
            dump.records = true;
        else if (key == 'o')
            code = opts_number(opts, "-o", 0, INT64_MAX, &dump.from);
        else
            code = opts_number(opts, "-c", 0, INT64_MAX, &dump.count);
    }
    if (code == CTL_OK)
        code = opts_expect(opts, 1, -1, "a segment file or a folder");
    if (code == CTL_OK)
        code = ctl_out(ctl);
    if (code != CTL_OK)
        return code;
    for (char **path = opts_arguments(opts); *path && code == CTL_OK; path++)
        code = dump_path(ctl, &dump, *path);
    if (ferror(stdout))
        return ctl_flush(ctl);
    return code == CTL_OK && dump.damaged ? CTL_FAILED : code;
}

const struct command command_log_dump = {
    .group = "log",
    .name = "dump",
    .arguments = "PATH...",
    .text = "Prints the batches or the records of segment files, or the entries of their indexes, "
            "without busd.",
    .options = options,
    .examples = examples,
    .first = OPT_FILE,
    .others = OPT_FILE,
    .run = run,
};
