/* SPDX-License-Identifier: Apache-2.0 */
#include "run/loop.h"

#include "unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

struct scene {
    struct loop *loop;
    struct loop_timer *timer, *other;
    struct loop_fd *watch;
    struct loop_post *post;
    struct loop_signal *signal;
    int count;
    unsigned what;
};

static void
begin(struct scene *scene)
{
    *scene = (struct scene){0};
    CU_ASSERT_EQUAL_FATAL(loop_new(&scene->loop), 0);
}

static void
end(struct scene *scene)
{
    loop_timer_free(&scene->timer);
    loop_timer_free(&scene->other);
    loop_fd_free(&scene->watch);
    loop_post_free(&scene->post);
    loop_signal_free(&scene->signal);
    loop_free(&scene->loop);
    CU_ASSERT_PTR_NULL(scene->loop);
}

static void
count_to_three(void *context)
{
    struct scene *scene = context;
    if (++scene->count == 3)
        loop_stop(scene->loop);
}

static void
free_both(void *context)
{
    struct scene *scene = context;
    scene->count++;
    loop_timer_free(&scene->timer);
    loop_timer_free(&scene->other);
    loop_stop(scene->loop);
}

static void
test_timers(void)
{
    struct scene scene;
    begin(&scene);
    CU_ASSERT_EQUAL_FATAL(loop_timer_new(scene.loop, count_to_three, &scene, &scene.timer), 0);
    loop_timer_start(scene.timer, 0, 1);
    loop_run(scene.loop);
    CU_ASSERT_EQUAL(scene.count, 3);
    loop_timer_stop(scene.timer);
    loop_turn(scene.loop);
    CU_ASSERT_EQUAL(scene.count, 3);
    end(&scene);
}

/** Two timers are due in one turn; the first frees both. */
static void
test_free_inside(void)
{
    struct scene scene;
    begin(&scene);
    CU_ASSERT_EQUAL_FATAL(loop_timer_new(scene.loop, free_both, &scene, &scene.timer), 0);
    CU_ASSERT_EQUAL_FATAL(loop_timer_new(scene.loop, free_both, &scene, &scene.other), 0);
    loop_timer_start(scene.timer, -5, 0);
    loop_timer_start(scene.other, -5, 0);
    loop_run(scene.loop);
    CU_ASSERT_EQUAL(scene.count, 1);
    end(&scene);
}

static void
note_ready(void *context, unsigned what)
{
    struct scene *scene = context;
    scene->what = what;
    scene->count++;
    loop_stop(scene->loop);
}

static void
test_file_descriptors(void)
{
    struct scene scene;
    int pair[2];
    begin(&scene);
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    CU_ASSERT_EQUAL_FATAL(loop_fd_new(scene.loop, pair[0], note_ready, &scene, &scene.watch), 0);
    loop_fd_want(scene.watch, LOOP_WRITABLE);
    loop_run(scene.loop);
    CU_ASSERT_EQUAL(scene.what, LOOP_WRITABLE);
    CU_ASSERT_EQUAL(write(pair[1], "x", 1), 1);
    loop_fd_want(scene.watch, LOOP_READABLE);
    loop_run(scene.loop);
    CU_ASSERT_EQUAL(scene.what, LOOP_READABLE);
    loop_fd_want(scene.watch, LOOP_BROKEN);
    scene.count = 0;
    loop_turn(scene.loop);
    CU_ASSERT_EQUAL(scene.count, 0); /* the byte is still there, but was not asked for */
    close(pair[1]);
    loop_run(scene.loop);
    CU_ASSERT(scene.what & LOOP_BROKEN);
    loop_fd_want(scene.watch, 0);
    scene.count = 0;
    loop_turn(scene.loop);
    CU_ASSERT_EQUAL(scene.count, 0);
    end(&scene);
    close(pair[0]);
}

static void *
send_post(void *arg)
{
    loop_post_send(arg);
    return NULL;
}

static void
stop_loop(void *context)
{
    struct scene *scene = context;
    scene->count++;
    loop_stop(scene->loop);
}

static void
test_posts(void)
{
    struct scene scene;
    pthread_t thread;
    begin(&scene);
    CU_ASSERT_EQUAL_FATAL(loop_post_new(scene.loop, stop_loop, &scene, &scene.post), 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, send_post, scene.post), 0);
    loop_run(scene.loop);
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(scene.count, 1);
    end(&scene);
}

static void
test_signals(void)
{
    struct scene scene;
    begin(&scene);
    CU_ASSERT_EQUAL_FATAL(
        loop_signal_new(scene.loop, SIGUSR1, stop_loop, &scene, &scene.signal), 0);
    CU_ASSERT_EQUAL(raise(SIGUSR1), 0);
    loop_run(scene.loop);
    CU_ASSERT_EQUAL(scene.count, 1);
    CU_ASSERT_PTR_NOT_NULL(scene.signal);
    struct loop_signal *none;
    CU_ASSERT(loop_signal_new(scene.loop, SIGKILL, stop_loop, &scene, &none) < 0);
    end(&scene);
}

static const struct unit_case cases[] = {
    {"timers fire, repeat and stop", test_timers},
    {"a callback frees its own and another due timer", test_free_inside},
    {"file descriptors tell what they were asked for", test_file_descriptors},
    {"another thread reaches the loop", test_posts},
    {"a signal reaches the loop", test_signals},
    {NULL, NULL},
};

void
register_loop(void)
{
    unit_register("loop", cases);
}
