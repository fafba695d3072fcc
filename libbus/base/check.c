/* SPDX-License-Identifier: Apache-2.0 */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Noreturn void
check_failed(const char *what, const char *file, int line)
{
    char text[256];
    snprintf(text, sizeof text, "shmbus: %s:%d: invariant broken: %s\n", file, line, what);
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
    abort();
}
