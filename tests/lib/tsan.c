/* SPDX-License-Identifier: Apache-2.0
 * For builds with the thread sanitizer only: tells it of pthread_mutex_clocklock(), which the one
 * of gcc 12 does not know. Without this, the unlock looks like one without a lock.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <sanitizer/tsan_interface.h>
#include <stddef.h>

int
pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until)
{
    typedef int clocklock(pthread_mutex_t *, clockid_t, const struct timespec *);
    clocklock *real = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_clocklock");
    __tsan_mutex_pre_lock(mutex, __tsan_mutex_try_lock);
    int rc = real(mutex, clock, until);
    unsigned how = __tsan_mutex_try_lock | (rc == 0 ? 0 : __tsan_mutex_try_lock_failed);
    __tsan_mutex_post_lock(mutex, how, 0);
    return rc;
}
