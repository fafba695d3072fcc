/* SPDX-License-Identifier: Apache-2.0 */
#include "demo/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { READY_PATIENCE_MS = 10000 };

static int
complain(const char *what)
{
    fprintf(stderr, "demo: %s: %s\n", what, strerror(errno));
    return -1;
}

int
demo_daemon_prepare(struct demo_daemon *daemon, const char *program)
{
    daemon->program = program;
    daemon->pid = 0;
    snprintf(daemon->folder, sizeof daemon->folder, "/var/tmp/shmbus-demo-XXXXXX");
    if (!mkdtemp(daemon->folder))
        return complain("make a folder in /var/tmp");
    snprintf(daemon->socket, sizeof daemon->socket, "%s/bus.sock", daemon->folder);
    return 0;
}

static int
notify_socket(const struct demo_daemon *daemon, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path, sizeof address->sun_path, "%s/notify", daemon->folder);
    unlink(address->sun_path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)address, sizeof *address) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return complain("make the notification socket");
}

static void
become_busd(const struct demo_daemon *daemon, const char *notify)
{
    char data[96], trace[96];
    snprintf(data, sizeof data, "%s/data", daemon->folder);
    snprintf(trace, sizeof trace, "%s/busd.log", daemon->folder);
    int fd = open(trace, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd >= 0)
        dup2(fd, STDERR_FILENO);
    setenv("NOTIFY_SOCKET", notify, 1);
    execl(
        daemon->program, daemon->program, "--data", data, "--socket", daemon->socket, (char *)NULL);
    _exit(127);
}

static int
wait_until_ready(int fd)
{
    char text[256] = "";
    struct pollfd event = {.fd = fd, .events = POLLIN};
    while (!strstr(text, "READY=1")) {
        if (poll(&event, 1, READY_PATIENCE_MS) <= 0)
            return -1;
        ssize_t got = recv(fd, text, sizeof text - 1, 0);
        text[got > 0 ? got : 0] = '\0';
    }
    return 0;
}

int
demo_daemon_start(struct demo_daemon *daemon, double *ready_ms)
{
    struct sockaddr_un address;
    struct timespec start, end;
    int fd = notify_socket(daemon, &address);
    if (fd < 0)
        return -1;
    clock_gettime(CLOCK_MONOTONIC, &start);
    daemon->pid = fork();
    if (daemon->pid == 0)
        become_busd(daemon, address.sun_path);
    int rc = daemon->pid < 0 ? -1 : wait_until_ready(fd);
    close(fd);
    if (rc < 0) {
        fprintf(
            stderr, "demo: %s does not start; see %s/busd.log\n", daemon->program, daemon->folder);
        return -1;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    *ready_ms =
        (double)(end.tv_sec - start.tv_sec) * 1e3 + (double)(end.tv_nsec - start.tv_nsec) / 1e6;
    return 0;
}

void
demo_daemon_end(struct demo_daemon *daemon, int signal)
{
    if (daemon->pid <= 0)
        return;
    kill(daemon->pid, signal);
    waitpid(daemon->pid, NULL, 0);
    daemon->pid = 0;
}

static int
remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

void
demo_daemon_clean(struct demo_daemon *daemon)
{
    nftw(daemon->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
