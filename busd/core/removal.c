/* SPDX-License-Identifier: Apache-2.0 */
#include "core/removal.h"

#include "core/pack.h"

#include <string.h>

enum { NOTE_ARENA_BYTES_MAX = 4096 };

struct removal_note
removal_note_of(const struct cluster_topic *topic)
{
    struct removal_note note = {
        .id = topic->id,
        .partition_count = topic->partition_count,
        .memory = settings_int(&topic->settings, TOPIC_STORAGE_TYPE) == TOPIC_STORAGE_MEMORY,
    };
    memcpy(note.topic, topic->name, sizeof note.topic);
    return note;
}

int
removal_note_pack(const struct removal_note *note, struct buf *out)
{
    pack_u8(out, PACK_FORM);
    pack_string(out, note->topic);
    pack_i32(out, note->partition_count);
    pack_u8(out, note->memory);
    return buf_failed(out) ? err_no_memory() : 0;
}

int
removal_note_unpack(
    const struct uuid *id, const uint8_t *bytes, size_t n, struct removal_note *note)
{
    struct unpack in = {.at = bytes, .end = bytes + n};
    struct arena arena;
    *note = (struct removal_note){.id = *id};
    if (unpack_u8(&in) > PACK_FORM)
        return err_set(BUS_ERR_DATA_VERSION, "a removal was noted by a newer busd; start that one");
    arena_init(&arena, NOTE_ARENA_BYTES_MAX);
    const char *topic = unpack_string(&in, &arena);
    note->partition_count = unpack_i32(&in);
    note->memory = unpack_u8(&in) != 0;
    bool bad = in.bad || in.at != in.end || cluster_check_name(topic) < 0 ||
               cluster_check_partitions(note->partition_count) < 0;
    if (!bad)
        memcpy(note->topic, topic, strlen(topic));
    arena_fini(&arena);
    return bad ? err_set(BUS_ERR_CORRUPT_MESSAGE, "the note of a removal is damaged") : 0;
}
