/* SPDX-License-Identifier: Apache-2.0 */
#include "core/command.h"

#include "base/err.h"
#include "core/pack.h"
#include "core/pack_security.h"

#include <inttypes.h>
#include <string.h>

enum { STRING_BYTES_MAX = 0xfffe };

static bool
strings_fit(const struct command *command)
{
    if (command->name && strlen(command->name) > STRING_BYTES_MAX)
        return false;
    for (size_t i = 0; i < command->setting_count; i++) {
        const struct command_setting *s = &command->settings[i];
        if (strlen(s->name) > STRING_BYTES_MAX || (s->value && strlen(s->value) > STRING_BYTES_MAX))
            return false;
    }
    return true;
}

static void
put_replicas(struct buf *out, const struct command_replicas *replicas)
{
    pack_u8(out, (unsigned)replicas->count);
    for (int32_t i = 0; i < replicas->count; i++)
        pack_i32(out, replicas->nodes[i]);
}

static void
put_settings(struct buf *out, const struct command *command)
{
    pack_i32(out, (int32_t)command->setting_count);
    for (size_t i = 0; i < command->setting_count; i++) {
        pack_u8(out, command->settings[i].op);
        pack_string(out, command->settings[i].name);
        pack_string(out, command->settings[i].value);
    }
}

/** What only some commands have. */
static void
put_security(struct buf *out, const struct command *command)
{
    if (command->type == COMMAND_ACL_ADD)
        pack_acl(out, command->acl);
    if (command->type == COMMAND_USER_SET)
        pack_credential(out, command->credential);
}

int
command_encode(const struct command *command, struct buf *out)
{
    const struct command_replicas *replicas = &command->replicas;
    if (command->setting_count > COMMAND_SETTINGS_MAX || !strings_fit(command) ||
        replicas->count < 0 || replicas->count > CLUSTER_REPLICAS_MAX)
        return err_set(BUS_ERR_INVALID_REQUEST,
            "too much for one metadata command: at most %d settings, %d replicas",
            COMMAND_SETTINGS_MAX, CLUSTER_REPLICAS_MAX);
    size_t before = out->length;
    pack_u8(out, PACK_FORM);
    pack_u8(out, command->type);
    pack_string(out, command->name);
    buf_put(out, command->id.b, sizeof command->id.b);
    pack_i32(out, command->node);
    pack_i32(out, command->count);
    put_replicas(out, replicas);
    put_settings(out, command);
    put_security(out, command);
    if (buf_failed(out))
        return err_no_memory();
    if (out->length - before <= COMMAND_BYTES_MAX)
        return 0;
    out->length = before;
    return err_set(
        BUS_ERR_INVALID_REQUEST, "a metadata command of more than %d bytes", COMMAND_BYTES_MAX);
}

static void
get_replicas(struct unpack *in, struct command_replicas *replicas)
{
    replicas->count = (int32_t)unpack_u8(in);
    if (replicas->count > CLUSTER_REPLICAS_MAX) {
        in->bad = true;
        replicas->count = 0;
    }
    for (int32_t i = 0; i < replicas->count; i++)
        replicas->nodes[i] = unpack_i32(in);
}

static void
get_settings(struct unpack *in, struct command *command, struct arena *arena)
{
    int32_t count = unpack_i32(in);
    if (in->bad || count < 0 || count > COMMAND_SETTINGS_MAX) {
        in->bad = true;
        return;
    }
    struct command_setting *settings = arena_array(arena, (size_t)count, sizeof *settings);
    in->bad = !settings;
    for (int32_t i = 0; !in->bad && i < count; i++) {
        settings[i].op = (enum setting_op)unpack_u8(in);
        settings[i].name = unpack_string(in, arena);
        settings[i].value = unpack_string(in, arena);
        if (!settings[i].name || settings[i].op > SETTING_OP_SUBTRACT ||
            (!settings[i].value && settings[i].op != SETTING_OP_DELETE))
            in->bad = true;
    }
    command->settings = settings;
    command->setting_count = (size_t)count;
}

static void
get_security(struct unpack *in, struct command *command, struct arena *arena)
{
    if (in->bad || (command->type != COMMAND_ACL_ADD && command->type != COMMAND_USER_SET))
        return;
    struct acl_rule *acl = arena_alloc(arena, sizeof *acl);
    struct scram_credential *credential = arena_alloc(arena, sizeof *credential);
    in->bad = !acl || !credential;
    if (in->bad)
        return;
    if (command->type == COMMAND_ACL_ADD) {
        unpack_acl(in, acl, arena);
        command->acl = acl;
    } else {
        unpack_credential(in, credential);
        command->credential = credential;
    }
}

int
command_decode(const uint8_t *bytes, size_t n, struct command *command, struct arena *arena)
{
    struct unpack in = {.at = bytes, .end = bytes + n};
    *command = (struct command){0};
    unsigned form = unpack_u8(&in);
    unsigned type = unpack_u8(&in);
    if (!in.bad && (form > PACK_FORM || type > COMMAND_LAST))
        return err_set(BUS_ERR_DATA_VERSION,
            "metadata command of form %u, type %u: written by a newer busd; start that one", form,
            type);
    command->type = (enum command_type)type;
    command->name = unpack_string(&in, arena);
    const uint8_t *id = unpack_bytes(&in, sizeof command->id.b);
    if (id)
        memcpy(command->id.b, id, sizeof command->id.b);
    command->node = unpack_i32(&in);
    command->count = unpack_i32(&in);
    get_replicas(&in, &command->replicas);
    get_settings(&in, command, arena);
    get_security(&in, command, arena);
    if (in.bad || in.at != in.end || form == 0 || type == 0)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "a damaged metadata command of %zu bytes", n);
    return 0;
}
