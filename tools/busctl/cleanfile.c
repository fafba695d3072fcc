/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/cleanfile.h"

#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file_name[] = "cleaner-checkpoint";

static void
skip_blanks(const char **at)
{
    *at += strspn(*at, " \n");
}

/** Reads a word and behind it a number that is not negative. */
static bool
field(const char **at, const char *word, int64_t *number)
{
    char *end;
    skip_blanks(at);
    if (strncmp(*at, word, strlen(word)) != 0)
        return false;
    *at += strlen(word);
    skip_blanks(at);
    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    *number = strtoll(*at, &end, 10);
    *at = end;
    return errno == 0;
}

static bool
swap(const char **at, struct cleanfile *file)
{
    return field(at, "swap", &file->swap_base) && field(at, "", &file->swap_end) &&
           field(at, "", &file->swap_bytes) && file->swap_end > file->swap_base;
}

int
cleanfile_parse(const char *text, struct cleanfile *file)
{
    int64_t version, clean;
    const char *at = text;
    *file = (struct cleanfile){.swap_base = -1};
    bool good = field(&at, "", &version) && version == 0 && field(&at, "clean", &clean) &&
                field(&at, "rewritten", &file->rewritten);
    skip_blanks(&at);
    if (good && *at)
        good = swap(&at, file);
    skip_blanks(&at);
    if (good && !*at)
        return 0;
    *file = (struct cleanfile){.rewritten = INT64_MAX, .swap_base = -1};
    return err_set(BUS_ERR_INVALID_FORMAT, "this is no %s", file_name);
}

bool
cleanfile_path(const char *segment, char path[PATH_MAX])
{
    const char *slash = strrchr(segment, '/');
    int folder = slash ? (int)(slash + 1 - segment) : 0;
    int n = snprintf(path, PATH_MAX, "%.*s%s", folder, segment, file_name);
    return n > 0 && n < PATH_MAX;
}

int
cleanfile_read(const char *segment, struct cleanfile *file)
{
    char path[PATH_MAX], text[CLEANFILE_TEXT_MAX] = {0};
    *file = (struct cleanfile){.swap_base = -1};
    if (!cleanfile_path(segment, path))
        return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    int rc = n < 0 ? err_sys(errno, "read it") : cleanfile_parse(text, file);
    if (rc < 0)
        *file = (struct cleanfile){.rewritten = INT64_MAX, .swap_base = -1};
    if (fd >= 0)
        close(fd);
    return rc;
}
