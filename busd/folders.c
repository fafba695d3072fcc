/* SPDX-License-Identifier: Apache-2.0 */
#include "folders.h"

#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES_MAX = 256 };

/** Brings the name of a new folder to stable storage: without it all that is in it is lost. */
static int
sync_name(const char *path)
{
    char above[PATH_BYTES_MAX + 4];
    snprintf(above, sizeof above, "%s/..", path);
    int fd = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* A folder that may be written to and not be read cannot be flushed. */
    if (fd < 0)
        return errno == EACCES ? 0 : err_sys(errno, "opening the folder above %s", path);
    int rc = fsync(fd) == 0 ? 0 : err_sys(errno, "flushing the folder above %s", path);
    close(fd);
    return rc;
}

static int
make_one(const char *path, mode_t mode)
{
    if (mkdir(path, mode) == 0)
        return sync_name(path);
    if (errno == EEXIST)
        return 0;
    int why = errno;
    if (why == EACCES || why == EPERM || why == EROFS)
        return err_sys(why,
            "making the folder %s as uid %u; make it and give it to this user, or choose another "
            "one",
            path, (unsigned)geteuid());
    return err_sys(why, "making the folder %s; make it, or choose another place", path);
}

/** Makes the folders above, as far as they are missing. */
static int
make_parents(const char *path)
{
    char folder[PATH_BYTES_MAX];
    size_t n = strlen(path);
    if (n >= sizeof folder)
        return err_set(BUS_ERR_INVALID_ARGUMENT, "the path %s is too long", path);
    for (size_t i = 1; i < n; i++) {
        if (path[i] != '/')
            continue;
        memcpy(folder, path, i);
        folder[i] = '\0';
        if (access(folder, F_OK) == 0)
            continue;
        int rc = make_one(folder, 0755);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int
check_folder(const char *path, struct stat *about)
{
    if (lstat(path, about) < 0)
        return err_sys(errno, "looking at %s", path);
    if (S_ISLNK(about->st_mode) && stat(path, about) < 0)
        return err_sys(errno, "looking at %s", path);
    if (!S_ISDIR(about->st_mode))
        return err_set(
            BUS_ERR_INVALID_ARGUMENT, "%s is no folder; move it away, or choose another", path);
    return 0;
}

int
folders_make_data(const char *path)
{
    struct stat about;
    int rc = make_parents(path);
    if (rc == 0)
        rc = make_one(path, 0700);
    if (rc == 0)
        rc = check_folder(path, &about);
    if (rc < 0)
        return err_prefix(rc, "data folder");
    if (access(path, R_OK | W_OK | X_OK) == 0)
        return 0;
    return err_sys(errno,
        "data folder %s belongs to uid %u and busd runs as uid %u; run it as that user, give the "
        "folder to this one, or choose another with --data",
        path, (unsigned)about.st_uid, (unsigned)geteuid());
}

/** Whether it is one of ours in a folder that everybody may write to. */
static int
check_private(const char *path)
{
    struct stat about;
    if (lstat(path, &about) < 0)
        return err_sys(errno, "looking at %s", path);
    if (S_ISDIR(about.st_mode) && about.st_uid == geteuid() && (about.st_mode & 077) == 0)
        return 0;
    return err_set(BUS_ERR_PERMISSION,
        "socket folder %s has to be a folder of uid %u with mode 0700, because anybody may write "
        "to /tmp; remove it, or choose another --socket",
        path, (unsigned)geteuid());
}

int
folders_make_socket(const char *path)
{
    char folder[PATH_BYTES_MAX], own[64];
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return 0;
    size_t n = (size_t)(slash - path);
    if (n >= sizeof folder)
        return err_set(BUS_ERR_INVALID_ARGUMENT, "the path %s is too long", path);
    memcpy(folder, path, n);
    folder[n] = '\0';
    snprintf(own, sizeof own, "/tmp/shmbus-%u", (unsigned)geteuid());
    if (strcmp(folder, own) != 0)
        return err_prefix(make_one(folder, 0755), "socket folder");
    int rc = make_one(folder, 0700);
    return rc < 0 ? err_prefix(rc, "socket folder") : check_private(folder);
}
