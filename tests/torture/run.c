/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "configuration.h"
#include "run/loop.h"
#include "run/worker.h"
#include "torture/scenarios.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void
stop(void *context)
{
    loop_stop(context);
}

/** Every kind of handle, made and freed. */
int
scenario_loop(void *unused)
{
    (void)unused;
    struct loop *loop;
    struct loop_timer *timer = NULL;
    struct loop_fd *watch = NULL;
    struct loop_post *post = NULL;
    struct loop_signal *usr = NULL;
    torture_pause();
    int fd = eventfd(0, EFD_CLOEXEC);
    torture_resume();
    int rc = fd < 0 ? 99 : loop_new(&loop);
    if (rc == 0)
        rc = loop_timer_new(loop, stop, loop, &timer);
    if (rc == 0)
        rc = loop_fd_new(loop, fd, NULL, NULL, &watch);
    if (rc == 0)
        rc = loop_post_new(loop, stop, loop, &post);
    if (rc == 0)
        rc = loop_signal_new(loop, SIGUSR2, stop, loop, &usr);
    if (rc == 0) {
        loop_timer_start(timer, 0, 0);
        loop_run(loop);
    }
    loop_timer_free(&timer);
    loop_fd_free(&watch);
    loop_post_free(&post);
    loop_signal_free(&usr);
    if (fd >= 0) {
        loop_free(&loop);
        close(fd);
    }
    return rc;
}

static void
count(void *context)
{
    _Atomic int *jobs = context;
    atomic_fetch_add_explicit(jobs, 1, memory_order_relaxed);
}

/** Jobs that were taken are run, also when others were refused. */
int
scenario_worker(void *unused)
{
    (void)unused;
    struct worker *worker;
    _Atomic int jobs = 0;
    int posted = 0;
    struct worker_options options = {.name = "torture", .jobs_max = 10};
    int rc = worker_start(&options, &worker);
    for (int i = 0; rc == 0 && i < 5; i++)
        if ((rc = worker_post(worker, count, &jobs)) == 0)
            posted++;
    worker_stop(&worker);
    return atomic_load_explicit(&jobs, memory_order_relaxed) == posted ? rc : 1;
}

/** A file of every type of setting; a failure keeps what was before. */
int
scenario_config(void *unused)
{
    (void)unused;
    static const char text[] = "num.partitions = 4\ndata.folder = /d\nlog.level = debug\n"
                               "topic.access.read = self\ntopic.access.read = *\n";
    struct settings settings;
    torture_pause();
    FILE *stream = fmemopen((void *)(uintptr_t)text, sizeof text - 1, "r");
    torture_resume();
    settings_init(&settings, &setting_table_broker, SETTING_FROM_STATIC, NULL);
    int rc = stream ? config_read(stream, "text", &settings) : 99;
    if (rc == 0 && strcmp(settings_text(&settings, BROKER_TOPIC_ACCESS_READ), "self,*") != 0)
        rc = 1;
    settings_fini(&settings);
    torture_pause();
    if (stream)
        fclose(stream);
    torture_resume();
    return rc;
}
