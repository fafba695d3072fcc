/* SPDX-License-Identifier: Apache-2.0
 * The event loop: libuv behind a narrow window, so that no other floor knows it.
 *
 * All calls belong to the loop's thread, but post_send(). A callback may stop or free its own
 * handle. free takes the handle's address and nulls it; memory goes when libuv lets go.
 */
#ifndef RUN_LOOP_H
#define RUN_LOOP_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;

/** A loop. Gives `*loop`. 0 or a failure. */
int loop_new(struct loop **loop);

/** Closes what is left and frees. Every handle made with the loop must have been freed. */
void loop_free(struct loop **loop);

/** Runs until loop_stop(). Blocks. */
void loop_run(struct loop *loop);

/** Ends loop_run() after the current turn. */
void loop_stop(struct loop *loop);

/** Runs what is due, without waiting. */
void loop_turn(struct loop *loop);

/** CLOCK_MONOTONIC of the start of this turn, in milliseconds. */
int64_t loop_now_ms(const struct loop *loop);

struct loop_timer;

/** A stopped timer. Gives `*timer`. */
int loop_timer_new(
    struct loop *loop, void (*fire)(void *context), void *context, struct loop_timer **timer);

/** Fires after `after_ms` (at least), then every `repeat_ms`, or once for 0. Starts anew if set. */
void loop_timer_start(struct loop_timer *timer, int64_t after_ms, int64_t repeat_ms);

/** Does not fire any more until started. */
void loop_timer_stop(struct loop_timer *timer);

/** Stops and frees. */
void loop_timer_free(struct loop_timer **timer);

/** Bits of what a file descriptor is ready for. */
enum loop_ready {
    LOOP_READABLE = 1,
    LOOP_WRITABLE = 2,
    LOOP_BROKEN = 4, /* the other end has hung up, or poll failed */
};

struct loop_fd;

/** Watches a file descriptor, which stays the caller's and must stay open until the free. */
int loop_fd_new(struct loop *loop, int fd, void (*ready)(void *context, unsigned what),
    void *context, struct loop_fd **watch);

/** Says what to watch for, bits of enum loop_ready; 0 watches nothing. */
void loop_fd_want(struct loop_fd *watch, unsigned what);

/** Stops and frees; the file descriptor may be closed afterwards. */
void loop_fd_free(struct loop_fd **watch);

struct loop_post;

/** A way for other threads to have `run` called on the loop. */
int loop_post_new(
    struct loop *loop, void (*run)(void *context), void *context, struct loop_post **post);

/** Has it called soon; several sends may become one call. Thread: any. Blocks: no. */
void loop_post_send(struct loop_post *post);

/** Stops and frees; no other thread may send any more. */
void loop_post_free(struct loop_post **post);

struct loop_signal;

/** Has `run` called on the loop when the process gets the signal. */
int loop_signal_new(struct loop *loop, int number, void (*run)(void *context), void *context,
    struct loop_signal **watch);

/** Stops and frees. */
void loop_signal_free(struct loop_signal **watch);

#endif
