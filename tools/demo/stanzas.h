/* SPDX-License-Identifier: Apache-2.0
 * The input of the demonstration: a file cut into stanzas, the first line's value being the key.
 */
#ifndef DEMO_STANZAS_H
#define DEMO_STANZAS_H

#include <stddef.h>

struct stanza {
    const char *key; /* points into the text; "adduser" of "Package: adduser" */
    size_t key_size;
    const char *text; /* without the empty line behind it */
    size_t text_size;
};

struct stanzas {
    char *text; /* owned: the whole file */
    struct stanza *list;
    size_t count;
    size_t bytes; /* of all keys and texts */
};

/**
 * Reads `path`. Stanzas are separated by empty lines; a file without any is one stanza a line.
 * Returns 0, or -1 with a message on stderr.
 */
int stanzas_read(const char *path, struct stanzas *stanzas);

/** Frees them. */
void stanzas_free(struct stanzas *stanzas);

#endif
