/* SPDX-License-Identifier: Apache-2.0 */
#include "client/bus.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *
bus_version(void)
{
    return PACKAGE_VERSION;
}

/* A folder under /tmp that somebody else made could hold anybody's socket. */
static bool
owned_by_us(const char *folder)
{
    struct stat status;
    return lstat(folder, &status) == 0 && S_ISDIR(status.st_mode) &&
           (status.st_uid == geteuid() || status.st_uid == 0);
}

enum { FOLDER_BYTES_MAX = 200 };

/* The usual places, in the order in which they are tried; empty ones are left out. */
struct places {
    char paths[3][SETTINGS_STRING_BYTES_MAX];
    int count;
};

static void
add_place(struct places *places, const char *folder)
{
    snprintf(places->paths[places->count++], SETTINGS_STRING_BYTES_MAX, "%.200s/bus.sock", folder);
}

static void
usual_places(struct places *places)
{
    char folder[FOLDER_BYTES_MAX];
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    places->count = 0;
    if (geteuid() == 0)
        add_place(places, "/run/shmbus");
    if (runtime && *runtime == '/' && strlen(runtime) < sizeof folder - sizeof "/shmbus") {
        snprintf(folder, sizeof folder, "%s/shmbus", runtime);
        add_place(places, folder);
    }
    snprintf(folder, sizeof folder, "/tmp/shmbus-%u", (unsigned)geteuid());
    if (owned_by_us(folder))
        add_place(places, folder);
    if (geteuid() != 0)
        add_place(places, "/run/shmbus");
}

/* Without a socket.path: the first usual place where something is; else the first, for the text. */
static void
find_socket(char path[SETTINGS_STRING_BYTES_MAX])
{
    struct places places;
    if (*path)
        return;
    usual_places(&places);
    int use = 0;
    while (use < places.count && access(places.paths[use], F_OK) != 0)
        use++;
    memcpy(path, places.paths[use < places.count ? use : 0], SETTINGS_STRING_BYTES_MAX);
}

int
bus_open(const struct bus_config *config, struct bus **bus)
{
    struct bus *fresh = calloc(1, sizeof *fresh);
    *bus = NULL;
    if (!fresh)
        return err_no_memory();
    settings_of(config, &fresh->settings);
    find_socket(fresh->settings.socket_path);
    int rc = conn_open(&fresh->settings, &fresh->conn);
    if (rc < 0) {
        free(fresh);
        return rc;
    }
    pthread_mutex_init(&fresh->uses_lock, NULL);
    *bus = fresh;
    return 0;
}

void
bus_close(struct bus **bus)
{
    struct bus *old = *bus;
    *bus = NULL;
    if (!old)
        return;
    conn_close(&old->conn);
    while (old->uses) {
        struct bus_use *next = old->uses->next;
        free(old->uses);
        old->uses = next;
    }
    pthread_mutex_destroy(&old->uses_lock);
    free(old);
}

bool
bus_connected(const struct bus *bus)
{
    return conn_up(bus->conn);
}

int64_t
bus_request_deadline_ns(const struct bus *bus)
{
    return clock_mono_ns() + bus->settings.request_timeout_ms * 1000000;
}

/* The place in the list where the use is, or where it would be added. */
static struct bus_use **
find_use(struct bus *bus, const struct uuid *topic_id, int32_t partition)
{
    struct bus_use **at = &bus->uses;
    while (*at && ((*at)->partition != partition ||
                      memcmp(&(*at)->topic_id, topic_id, sizeof *topic_id) != 0))
        at = &(*at)->next;
    return at;
}

int
bus_use_begin(struct bus *bus, const struct uuid *topic_id, int32_t partition)
{
    int rc = 0;
    pthread_mutex_lock(&bus->uses_lock);
    struct bus_use **at = find_use(bus, topic_id, partition);
    if (*at) {
        (*at)->count++;
    } else {
        struct bus_use *use = malloc(sizeof *use);
        if (use)
            *use = (struct bus_use){.topic_id = *topic_id, .partition = partition, .count = 1};
        else
            rc = err_no_memory();
        *at = use;
    }
    pthread_mutex_unlock(&bus->uses_lock);
    return rc;
}

bool
bus_use_end(struct bus *bus, const struct uuid *topic_id, int32_t partition)
{
    pthread_mutex_lock(&bus->uses_lock);
    struct bus_use **at = find_use(bus, topic_id, partition);
    struct bus_use *use = *at;
    bool last = use && --use->count == 0;
    if (last) {
        *at = use->next;
        free(use);
    }
    pthread_mutex_unlock(&bus->uses_lock);
    return last;
}
