/* SPDX-License-Identifier: Apache-2.0
 * The fd for event loops: a thread sleeps on the partitions and makes an eventfd readable.
 *
 * The watcher and the application never look at the parts at once: both hold consumer->lock, which
 * the watcher gives up to sleep. The addresses that it sleeps on may be unmapped meanwhile: the
 * kernel has noted what is behind them, and at worst the sleep fails and the watcher looks anew.
 */
#include "base/clock.h"
#include "base/err.h"
#include "client/consumer.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { SLEEP_MAX_MS = 1000 };

void
watch_leave_changed(struct bus_consumer *consumer)
{
    if (!consumer->watched)
        return;
    pthread_mutex_unlock(&consumer->lock);
    wait_word_wake(&consumer->watch_word);
}

void
watch_arm(struct bus_consumer *consumer)
{
    if (consumer->armed)
        return;
    eventfd_t count;
    eventfd_read(consumer->event_fd, &count); /* it may not have been readable */
    consumer->armed = true;
    pthread_cond_signal(&consumer->armed_now);
}

static void
raise_event(struct bus_consumer *consumer)
{
    consumer->armed = false;
    eventfd_write(consumer->event_fd, 1); /* a full counter is readable as well */
}

static void *
watch(void *arg)
{
    struct bus_consumer *consumer = arg;
    pthread_mutex_lock(&consumer->lock);
    while (!consumer->stopping) {
        if (!consumer->armed) {
            pthread_cond_wait(&consumer->armed_now, &consumer->lock);
            continue;
        }
        struct wait_set set;
        int64_t now_ns = clock_mono_ns();
        int64_t until_ns = now_ns + SLEEP_MAX_MS * INT64_C(1000000);
        wait_init(&set);
        wait_add_word(&set, &consumer->watch_word);
        bool whole = consumer_wait_set(consumer, &set);
        wait_begin(&set);
        if (consumer_ready(consumer, now_ns, &until_ns)) {
            raise_event(consumer);
            continue;
        }
        consumer_prepare(consumer);
        if (!whole)
            until_ns = now_ns + INT64_C(2000000);
        pthread_mutex_unlock(&consumer->lock);
        wait_sleep(&set, until_ns);
        pthread_mutex_lock(&consumer->lock);
    }
    pthread_mutex_unlock(&consumer->lock);
    return NULL;
}

static int
watch_start(struct bus_consumer *consumer)
{
    sigset_t all, old;
    consumer->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (consumer->event_fd < 0)
        return err_sys(errno, "make an eventfd");
    consumer->armed = true;
    sigfillset(&all);
    sigdelset(&all, SIGBUS); /* shm/guard.h */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int errnum = pthread_create(&consumer->watcher, NULL, watch, consumer);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (errnum != 0) {
        close(consumer->event_fd);
        consumer->event_fd = -1;
        return err_sys(errnum, "start the watcher of the consumer");
    }
    consumer->watched = true;
    return 0;
}

int
bus_consumer_fd(struct bus_consumer *consumer)
{
    if (!consumer->watched) {
        int rc = watch_start(consumer);
        if (rc < 0)
            return rc;
    }
    return consumer->event_fd;
}

void
watch_stop(struct bus_consumer *consumer)
{
    if (!consumer->watched)
        return;
    pthread_mutex_lock(&consumer->lock);
    consumer->stopping = true;
    pthread_cond_signal(&consumer->armed_now);
    pthread_mutex_unlock(&consumer->lock);
    wait_word_wake(&consumer->watch_word);
    pthread_join(consumer->watcher, NULL);
    consumer->watched = false;
    close(consumer->event_fd);
}
