/* SPDX-License-Identifier: Apache-2.0 */
#include "run/loop.h"

#include "base/check.h"

#include <stdlib.h>
#include <uv.h>

struct loop {
    uv_loop_t uv;
};

/* Each handle starts with libuv's own, which points back by `data`: NULL once the owner has let go,
 * so that a callback that is still due is dropped. */
struct loop_timer {
    uv_timer_t uv;
    void (*fire)(void *context);
    void *context;
};

struct loop_fd {
    uv_poll_t uv;
    void (*ready)(void *context, unsigned what);
    void *context;
};

struct loop_post {
    uv_async_t uv;
    void (*run)(void *context);
    void *context;
};

struct loop_signal {
    uv_signal_t uv;
    void (*run)(void *context);
    void *context;
};

static int
uv_error(int rc, const char *what)
{
    return rc == UV_ENOMEM ? err_no_memory() : err_sys(-rc, "%s", what);
}

int
loop_new(struct loop **loop)
{
    *loop = NULL;
    struct loop *l = calloc(1, sizeof *l);
    if (!l)
        return err_no_memory();
    int rc = uv_loop_init(&l->uv);
    if (rc < 0) {
        free(l);
        return uv_error(rc, "the event loop");
    }
    *loop = l;
    return 0;
}

void
loop_free(struct loop **loop)
{
    if (!*loop)
        return;
    /* Handles that were freed still wait for libuv to let go, which takes a turn or two. */
    for (int turn = 0; turn < 8 && uv_run(&(*loop)->uv, UV_RUN_NOWAIT) != 0; turn++)
        continue;
    MUST(uv_loop_close(&(*loop)->uv) == 0);
    free(*loop);
    *loop = NULL;
}

void
loop_run(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void
loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

void
loop_turn(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_NOWAIT);
}

int64_t
loop_now_ms(const struct loop *loop)
{
    return (int64_t)uv_now(&loop->uv);
}

static void
on_closed(uv_handle_t *handle)
{
    free(handle);
}

/** Every handle of ours has libuv's at its start, so the one address frees both. */
static void
let_go(uv_handle_t *handle)
{
    handle->data = NULL;
    uv_close(handle, on_closed);
}

/* ---- timers --------------------------------------------------------------------------------- */

int
loop_timer_new(
    struct loop *loop, void (*fire)(void *context), void *context, struct loop_timer **timer)
{
    *timer = NULL;
    struct loop_timer *t = calloc(1, sizeof *t);
    if (!t)
        return err_no_memory();
    uv_timer_init(&loop->uv, &t->uv);
    t->uv.data = t;
    t->fire = fire;
    t->context = context;
    *timer = t;
    return 0;
}

static void
on_timer(uv_timer_t *uv)
{
    struct loop_timer *timer = uv->data;
    if (timer)
        timer->fire(timer->context);
}

void
loop_timer_start(struct loop_timer *timer, int64_t after_ms, int64_t repeat_ms)
{
    uint64_t after = after_ms > 0 ? (uint64_t)after_ms : 0;
    uint64_t repeat = repeat_ms > 0 ? (uint64_t)repeat_ms : 0;
    /* libuv counts from the start of the turn, which may be some time ago. */
    uv_update_time(timer->uv.loop);
    uv_timer_start(&timer->uv, on_timer, after, repeat);
}

void
loop_timer_stop(struct loop_timer *timer)
{
    uv_timer_stop(&timer->uv);
}

void
loop_timer_free(struct loop_timer **timer)
{
    if (*timer)
        let_go((uv_handle_t *)&(*timer)->uv);
    *timer = NULL;
}

/* ---- file descriptors ----------------------------------------------------------------------- */

int
loop_fd_new(struct loop *loop, int fd, void (*ready)(void *context, unsigned what), void *context,
    struct loop_fd **watch)
{
    *watch = NULL;
    struct loop_fd *w = calloc(1, sizeof *w);
    if (!w)
        return err_no_memory();
    int rc = uv_poll_init(&loop->uv, &w->uv, fd);
    if (rc < 0) {
        free(w);
        return uv_error(rc, "watching a file descriptor");
    }
    w->uv.data = w;
    w->ready = ready;
    w->context = context;
    *watch = w;
    return 0;
}

static void
on_poll(uv_poll_t *uv, int status, int events)
{
    struct loop_fd *watch = uv->data;
    if (!watch)
        return;
    unsigned what = status < 0 || (events & UV_DISCONNECT) ? LOOP_BROKEN : 0;
    if (events & UV_READABLE)
        what |= LOOP_READABLE;
    if (events & UV_WRITABLE)
        what |= LOOP_WRITABLE;
    watch->ready(watch->context, what);
}

void
loop_fd_want(struct loop_fd *watch, unsigned what)
{
    int events = 0;
    if (what & LOOP_READABLE)
        events |= UV_READABLE;
    if (what & LOOP_WRITABLE)
        events |= UV_WRITABLE;
    if (what & LOOP_BROKEN)
        events |= UV_DISCONNECT;
    if (events == 0)
        uv_poll_stop(&watch->uv);
    else
        MUST(uv_poll_start(&watch->uv, events, on_poll) == 0);
}

void
loop_fd_free(struct loop_fd **watch)
{
    if (*watch)
        let_go((uv_handle_t *)&(*watch)->uv);
    *watch = NULL;
}

/* ---- posts and signals ---------------------------------------------------------------------- */

static void
on_post(uv_async_t *uv)
{
    struct loop_post *post = uv->data;
    if (post)
        post->run(post->context);
}

int
loop_post_new(struct loop *loop, void (*run)(void *context), void *context, struct loop_post **post)
{
    *post = NULL;
    struct loop_post *p = calloc(1, sizeof *p);
    if (!p)
        return err_no_memory();
    int rc = uv_async_init(&loop->uv, &p->uv, on_post);
    if (rc < 0) {
        free(p);
        return uv_error(rc, "a way into the event loop");
    }
    p->uv.data = p;
    p->run = run;
    p->context = context;
    *post = p;
    return 0;
}

void
loop_post_send(struct loop_post *post)
{
    uv_async_send(&post->uv);
}

void
loop_post_free(struct loop_post **post)
{
    if (*post)
        let_go((uv_handle_t *)&(*post)->uv);
    *post = NULL;
}

static void
on_signal(uv_signal_t *uv, int number)
{
    (void)number;
    struct loop_signal *watch = uv->data;
    if (watch)
        watch->run(watch->context);
}

int
loop_signal_new(struct loop *loop, int number, void (*run)(void *context), void *context,
    struct loop_signal **watch)
{
    *watch = NULL;
    struct loop_signal *w = calloc(1, sizeof *w);
    if (!w)
        return err_no_memory();
    int rc = uv_signal_init(&loop->uv, &w->uv);
    if (rc < 0) {
        free(w);
        return uv_error(rc, "a signal");
    }
    w->uv.data = w;
    w->run = run;
    w->context = context;
    rc = uv_signal_start(&w->uv, on_signal, number);
    if (rc < 0) {
        let_go((uv_handle_t *)&w->uv);
        return uv_error(rc, "watching a signal");
    }
    *watch = w;
    return 0;
}

void
loop_signal_free(struct loop_signal **watch)
{
    if (*watch)
        let_go((uv_handle_t *)&(*watch)->uv);
    *watch = NULL;
}
