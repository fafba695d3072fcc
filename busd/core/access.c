/* SPDX-License-Identifier: Apache-2.0 */
#include "core/access.h"

#include <string.h>

enum { NAME_BYTES_MAX = 64 };

/** Whether the word is `kind` ("user:") with a name behind it; copies the name. */
static bool
name_of(const char *word, size_t n, const char *kind, char name[NAME_BYTES_MAX + 1])
{
    size_t head = strlen(kind);
    if (n <= head || n - head > NAME_BYTES_MAX || memcmp(word, kind, head) != 0)
        return false;
    memcpy(name, word + head, n - head);
    name[n - head] = '\0';
    return true;
}

static bool
word_is(const char *word, size_t n, const char *text)
{
    return n == strlen(text) && memcmp(word, text, n) == 0;
}

bool
access_word_ok(const char *word, size_t n)
{
    char name[NAME_BYTES_MAX + 1];
    if (word_is(word, n, "self") || word_is(word, n, "*"))
        return true;
    return (name_of(word, n, "user:", name) || name_of(word, n, "group:", name)) &&
           !strpbrk(name, ":/ \t");
}

static bool
in_group(const struct access_peer *peer, uint32_t gid)
{
    for (size_t i = 0; i < peer->gid_count; i++)
        if (peer->gids[i] == gid)
            return true;
    return false;
}

static bool
word_admits(
    const char *word, size_t n, const struct access_peer *peer, const struct access_names *names)
{
    char name[NAME_BYTES_MAX + 1];
    uint32_t id;
    if (word_is(word, n, "*"))
        return true;
    if (word_is(word, n, "self"))
        return peer->is_self;
    if (name_of(word, n, "user:", name))
        return peer->name ? strcmp(name, peer->name) == 0
                          : names->uid_of(names->context, name, &id) && id == peer->uid;
    if (name_of(word, n, "group:", name))
        return names->gid_of(names->context, name, &id) && in_group(peer, id);
    return false;
}

static bool
list_admits(const char *list, const struct access_peer *peer, const struct access_names *names)
{
    while (*list) {
        size_t n = strcspn(list, ",");
        if (word_admits(list, n, peer, names))
            return true;
        list += n + (list[n] == ',');
    }
    return false;
}

struct access
access_of(
    const struct settings *topic, const struct access_peer *peer, const struct access_names *names)
{
    bool direct = list_admits(settings_text(topic, TOPIC_ACCESS_DIRECT), peer, names);
    return (struct access){
        .direct = direct,
        .mediated = direct || list_admits(settings_text(topic, TOPIC_ACCESS_WRITE), peer, names),
        .read = direct || list_admits(settings_text(topic, TOPIC_ACCESS_READ), peer, names),
    };
}
