/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

#include "base/err.h"
#include "base/trace.h"
#include "store/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    FORMAT_TEXT_BYTES = 256,
    LOCK_TRIES = 100, /* with a pause between them: half a second */
    LOCK_PAUSE_NS = 5 * 1000000,
};

/* ---- the folder ----------------------------------------------------------------------------- */

/**
 * A busd that was killed a moment ago holds the lock until the kernel has taken it apart, and who
 * starts the next one in the same line of a script does not wait for that.
 */
static int
lock_patiently(int fd)
{
    for (int tries = 1; flock(fd, LOCK_EX | LOCK_NB) < 0; tries++) {
        if (errno != EWOULDBLOCK || tries == LOCK_TRIES)
            return -1;
        struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
        nanosleep(&pause, NULL);
    }
    return 0;
}

static int
take_lock(struct store *store)
{
    char *path = files_path(store->data, "lock");
    if (!path)
        return err_no_memory();
    int rc = 0;
    store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->lock_fd < 0)
        rc = err_sys(errno, "open %s", path);
    else if (lock_patiently(store->lock_fd) < 0)
        rc = errno == EWOULDBLOCK
                 ? err_set(BUS_ERR_DATA_LOCKED,
                       "the data folder %s is used by another busd: stop that one, or choose "
                       "another folder with --data",
                       store->data)
                 : err_sys(errno, "lock %s", path);
    free(path);
    return rc;
}

static int
hex_value(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static int
damaged_format(const struct store *store, const char *why)
{
    return err_set(BUS_ERR_INVALID_FORMAT,
        "%s/format is damaged: %s. Remedy: unless a newer busd wrote it, mv %s/format "
        "%s/format.damaged, and start busd again: it makes the file anew",
        store->data, why, store->data, store->data);
}

/* "shmbus-data <version>\ninstance <32 hex digits>\n" */
static int
parse_format(struct store *store, const char *text)
{
    int version, at = 0;
    if (sscanf(text, "shmbus-data %d\ninstance %n", &version, &at) < 1)
        return damaged_format(store, "it does not say what version the folder has");
    if (version > STORE_FORMAT)
        return err_set(BUS_ERR_DATA_VERSION,
            "the data folder %s has format %d, this busd knows up to %d: use a newer busd",
            store->data, version, STORE_FORMAT);
    for (int i = 0; i < STORE_ID_BYTES && at > 0; i++) {
        int high = hex_value(text[at + 2 * i]);
        int low = high < 0 ? -1 : hex_value(text[at + 2 * i + 1]);
        if (low < 0)
            at = 0;
        else
            store->instance[i] = (uint8_t)(high << 4 | low);
    }
    if (version < 1 || at == 0)
        return damaged_format(store, "it does not name the instance");
    return 0;
}

static int
write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(errno, "create %s", path);
    int rc = 0;
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fsync(fd) < 0)
        rc = err_sys(errno, "write %s", path);
    close(fd);
    return rc;
}

static int
create_format(struct store *store, const char *path)
{
    char text[FORMAT_TEXT_BYTES];
    if (getrandom(store->instance, STORE_ID_BYTES, 0) != STORE_ID_BYTES)
        return err_sys(errno, "get random bytes");
    int n = snprintf(text, sizeof text, "shmbus-data %d\ninstance ", STORE_FORMAT);
    for (int i = 0; i < STORE_ID_BYTES; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%02x", store->instance[i]);
    snprintf(text + n, sizeof text - (size_t)n, "\n");
    char *fresh = files_path(store->data, "format.new");
    if (!fresh)
        return err_no_memory();
    int rc = write_text(fresh, text);
    if (rc == 0 && rename(fresh, path) < 0)
        rc = err_sys(errno, "rename %s", fresh);
    if (rc == 0)
        rc = files_sync_folder(store->data);
    free(fresh);
    return rc;
}

static int
load_format(struct store *store)
{
    char *path = files_path(store->data, "format");
    if (!path)
        return err_no_memory();
    char text[FORMAT_TEXT_BYTES] = {0};
    int rc = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        rc = create_format(store, path);
    else if (fd < 0 || read(fd, text, sizeof text - 1) < 0)
        rc = err_sys(errno, "read %s", path);
    else
        rc = parse_format(store, text);
    if (fd >= 0)
        close(fd);
    free(path);
    return rc;
}

/* ---- subfolders ----------------------------------------------------------------------------- */

/* Finishes deletions that a crash interrupted. */
static int
empty_folder(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT ? 0 : err_sys(errno, "open the folder %s", path);
    int rc = 0;
    struct dirent *entry;
    while (rc == 0 && (entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *folder = files_path(path, entry->d_name);
        rc = folder ? files_remove_folder(folder) : err_no_memory();
        free(folder);
    }
    closedir(dir);
    return rc;
}

/* What cannot be removed takes up space, and is no reason not to start. */
static void
finish_deletions(const struct store *store)
{
    if (empty_folder(store->deleted) < 0)
        trace(TRACE_WARNING, "deleted topics are left behind: %s", err_text());
    int rc = store_memory_check(store);
    if (rc == 0)
        rc = empty_folder(store->memory_deleted);
    if (rc < 0)
        trace(TRACE_WARNING, "deleted memory topics are left behind: %s", err_text());
}

static int
name_folders(struct store *store)
{
    char hex[2 * STORE_ID_BYTES + 1];
    for (int i = 0; i < STORE_ID_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", store->instance[i]);
    if (asprintf(&store->memory, "/dev/shm/shmbus-%s", hex) < 0)
        store->memory = NULL;
    store->topics = files_path(store->data, "topics");
    store->deleted = files_path(store->data, "deleted");
    store->stray = files_path(store->data, "stray");
    store->memory_deleted = store->memory ? files_path(store->memory, "deleted") : NULL;
    bool all = store->topics && store->deleted && store->stray && store->memory_deleted;
    return all ? 0 : err_no_memory();
}

/* Everybody may create names in /dev/shm, and this one can be guessed. What is not a folder of ours
 * may lead anywhere. 0 also when it is missing. */
static int
check_own(const char *path)
{
    struct stat status;
    if (lstat(path, &status) < 0)
        return errno == ENOENT ? 0 : err_sys(errno, "look at %s", path);
    if (S_ISDIR(status.st_mode) && status.st_uid == geteuid())
        return 0;
    return err_set(BUS_ERR_PERMISSION,
        "%s belongs to somebody else: remove it, it is where memory topics live", path);
}

int
store_memory_check(const struct store *store)
{
    int rc = check_own(store->memory);
    return rc < 0 ? rc : check_own(store->memory_deleted);
}

int
store_memory_folder(const struct store *store)
{
    if (mkdir(store->memory, 0700) < 0 && errno != EEXIST)
        return err_sys(errno, "create the folder %s", store->memory);
    int rc = check_own(store->memory);
    if (rc == 0 && mkdir(store->memory_deleted, 0700) < 0 && errno != EEXIST)
        rc = err_sys(errno, "create the folder %s", store->memory_deleted);
    return rc < 0 ? rc : check_own(store->memory_deleted);
}

static int
open_folder(struct store *store)
{
    int rc = files_make_folder(store->data);
    if (rc == 0)
        rc = take_lock(store);
    if (rc == 0)
        rc = load_format(store);
    if (rc == 0)
        rc = name_folders(store);
    if (rc == 0)
        rc = files_make_folder(store->topics);
    if (rc == 0)
        rc = files_make_folder(store->deleted);
    if (rc == 0)
        finish_deletions(store);
    if (rc == 0)
        rc = shm_boot_id(store->boot_id);
    return rc;
}

/* ---- life ----------------------------------------------------------------------------------- */

int
store_open(const struct store_options *options, struct store **store)
{
    struct store *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return err_no_memory();
    fresh->options = *options;
    fresh->lock_fd = -1;
    pthread_mutex_init(&fresh->mutex, NULL);
    pthread_mutex_init(&fresh->saving, NULL);
    pthread_mutex_init(&fresh->cleaning, NULL);
    pthread_cond_init(&fresh->unused, NULL);
    fresh->data = strdup(options->data);
    fresh->options.data = fresh->data;
    int rc = fresh->data ? open_folder(fresh) : err_no_memory();
    if (rc < 0)
        store_close(&fresh);
    else
        *store = fresh;
    return rc;
}

void
store_close(struct store **store)
{
    struct store *old = *store;
    *store = NULL;
    if (!old)
        return;
    if (old->lock_fd >= 0)
        close(old->lock_fd);
    clean_job_free(&old->job);
    pthread_mutex_destroy(&old->mutex);
    pthread_mutex_destroy(&old->cleaning);
    pthread_mutex_destroy(&old->saving);
    pthread_cond_destroy(&old->unused);
    free(old->data);
    free(old->topics);
    free(old->deleted);
    free(old->stray);
    free(old->memory);
    free(old->memory_deleted);
    free(old);
}

const char *
store_topics_path(const struct store *store)
{
    return store->topics;
}
