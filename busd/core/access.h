/* SPDX-License-Identifier: Apache-2.0
 * Who may do what with a topic: a rule over the access.* settings and the peer's credentials.
 */
#ifndef CORE_ACCESS_H
#define CORE_ACCESS_H

#include "core/settings.h"

/** What a peer may do; each includes the ones before, but MEDIATED may lack READ. */
struct access {
    bool read;     /* map for reading, fetch */
    bool mediated; /* append through busd */
    bool direct;   /* map for writing */
};

/** Who asks. */
struct access_peer {
    uint32_t uid;
    const uint32_t *gids; /* borrowed; the peer's group first */
    size_t gid_count;
    const char *name; /* that it has proved to have otherwise than by its uid; NULL: none */
    bool is_self;     /* busd's own uid, root, or one of super.users */
};

/** Where the ids of names come from; busd asks the system, tests a table. */
struct access_names {
    bool (*uid_of)(void *context, const char *name, uint32_t *uid); /* false: nobody */
    bool (*gid_of)(void *context, const char *name, uint32_t *gid);
    /* The other way round, into `bytes` bytes; NULL: nobody has a name. */
    bool (*name_of)(void *context, uint32_t uid, char *name, size_t bytes);
    void *context;
};

/** What the peer may do with the topic that has these settings. Pure but for `names`. */
struct access access_of(
    const struct settings *topic, const struct access_peer *peer, const struct access_names *names);

/** Whether a word of an access list is one: self, *, user:NAME, group:NAME. */
bool access_word_ok(const char *word, size_t n);

#endif
