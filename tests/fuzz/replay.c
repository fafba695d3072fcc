/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/target.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Stands in for libFuzzer in an ordinary build: feeds every file named, and every file of a folder
 * named, to the target once.
 */
static int
replay_file(const char *path)
{
    FILE *file = fopen(path, "rbe");
    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    /* Exactly as large as the input, so that a sanitizer sees the first byte beyond it. */
    uint8_t *bytes = NULL;
    size_t used = 0;
    uint8_t part[4096];
    for (size_t n; (n = fread(part, 1, sizeof part, file)) > 0;) {
        uint8_t *more = realloc(bytes, used + n);
        if (!more)
            break;
        bytes = more;
        memcpy(bytes + used, part, n);
        used += n;
    }
    int rc = feof(file) ? 0 : -1;
    fclose(file);
    if (rc == 0)
        LLVMFuzzerTestOneInput(bytes ? bytes : part, used);
    free(bytes);
    return rc;
}

static int
replay_folder(const char *path, DIR *folder, unsigned *count)
{
    int rc = 0;
    for (struct dirent *entry; rc == 0 && (entry = readdir(folder));) {
        char name[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        rc = replay_file(name);
        ++*count;
    }
    return rc;
}

int
main(int argc, char **argv)
{
    unsigned count = 0;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-')
            continue; /* an option for libFuzzer */
        DIR *folder = opendir(argv[i]);
        int rc = folder ? replay_folder(argv[i], folder, &count) : replay_file(argv[i]);
        count += !folder;
        if (folder)
            closedir(folder);
        if (rc < 0)
            return 1;
    }
    printf("# replayed %u inputs\n", count);
    return count > 0 ? 0 : 1;
}
