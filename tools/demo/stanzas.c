/* SPDX-License-Identifier: Apache-2.0 */
#include "demo/stanzas.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *
read_all(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t capacity = 0, used = 0;
    while (file && !ferror(file) && !feof(file)) {
        if (used + 1 >= capacity) {
            capacity = capacity ? 2 * capacity : 1 << 16;
            char *more = realloc(text, capacity);
            if (!more)
                break;
            text = more;
        }
        used += fread(text + used, 1, capacity - used - 1, file);
    }
    bool good = file && !ferror(file) && feof(file) && text;
    if (!good)
        fprintf(stderr, "demo: cannot read %s: %s\n", path, strerror(errno));
    if (file)
        fclose(file);
    if (!good) {
        free(text);
        return NULL;
    }
    text[used] = '\0';
    *size = used;
    return text;
}

/* The key of a stanza is what stands behind ": " in its first line, or else the whole line. */
static void
find_key(struct stanza *stanza)
{
    const char *end = memchr(stanza->text, '\n', stanza->text_size);
    size_t line = end ? (size_t)(end - stanza->text) : stanza->text_size;
    const char *colon = memchr(stanza->text, ':', line);
    const char *key =
        colon && colon + 1 < stanza->text + line && colon[1] == ' ' ? colon + 2 : stanza->text;
    stanza->key = key;
    stanza->key_size = line - (size_t)(key - stanza->text);
}

static int
add(struct stanzas *stanzas, const char *text, size_t size)
{
    if (size == 0)
        return 0;
    if ((stanzas->count & (stanzas->count + 1)) == 0) {
        size_t room = 2 * (stanzas->count + 1);
        struct stanza *list = realloc(stanzas->list, room * sizeof *list);
        if (!list)
            return -1;
        stanzas->list = list;
    }
    struct stanza *stanza = &stanzas->list[stanzas->count++];
    *stanza = (struct stanza){.text = text, .text_size = size};
    find_key(stanza);
    stanzas->bytes += stanza->text_size + stanza->key_size;
    return 0;
}

int
stanzas_read(const char *path, struct stanzas *stanzas)
{
    size_t size = 0;
    *stanzas = (struct stanzas){0};
    stanzas->text = read_all(path, &size);
    if (!stanzas->text)
        return -1;
    const char *separator = strstr(stanzas->text, "\n\n") ? "\n\n" : "\n";
    const char *at = stanzas->text;
    int rc = 0;
    while (rc == 0 && at < stanzas->text + size) {
        const char *end = strstr(at, separator);
        if (!end)
            end = stanzas->text + size;
        rc = add(stanzas, at, (size_t)(end - at));
        at = end + strlen(separator);
    }
    if (rc == 0 && stanzas->count > 0)
        return 0;
    fprintf(stderr, "demo: %s: %s\n", path, rc < 0 ? "out of memory" : "nothing in it");
    stanzas_free(stanzas);
    return -1;
}

void
stanzas_free(struct stanzas *stanzas)
{
    free(stanzas->list);
    free(stanzas->text);
    *stanzas = (struct stanzas){0};
}
