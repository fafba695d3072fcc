/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/guard.h"

#include "base/err.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

/* A region is live while `start` is set. Writers hold the mutex; the handler reads without it, in
 * whatever thread the fault happened, so `start` is stored last and cleared first. */
struct region {
    _Atomic uintptr_t start;
    _Atomic size_t bytes;
    _Atomic bool *_Atomic damaged;
};

/* A copy of a region. */
struct mapping {
    uintptr_t start;
    size_t bytes;
    _Atomic bool *damaged;
};

enum { CHUNK_REGIONS = 256, CHUNKS_MAX = GUARD_REGIONS_MAX / CHUNK_REGIONS };

static struct region first_chunk[CHUNK_REGIONS];
static struct region *_Atomic chunks[CHUNKS_MAX] = {first_chunk};
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction previous;
static bool installed;

/* Copies a region, unless it is free or changes hands meanwhile. Acquire: pairs with the releases
 * in guard_add(); whoever read a later bytes or damaged here sees that the start is gone. */
static bool
region_read(struct region *region, struct mapping *mapping)
{
    mapping->start = atomic_load_explicit(&region->start, memory_order_acquire);
    mapping->bytes = atomic_load_explicit(&region->bytes, memory_order_acquire);
    mapping->damaged = atomic_load_explicit(&region->damaged, memory_order_acquire);
    return mapping->start != 0 &&
           atomic_load_explicit(&region->start, memory_order_relaxed) == mapping->start;
}

static struct region *
region_at(uintptr_t address, struct mapping *mapping)
{
    for (int c = 0; c < CHUNKS_MAX; c++) {
        /* Acquire: pairs with free_region(). */
        struct region *chunk = atomic_load_explicit(&chunks[c], memory_order_acquire);
        if (!chunk)
            return NULL;
        for (int i = 0; i < CHUNK_REGIONS; i++)
            if (region_read(&chunk[i], mapping) && address >= mapping->start &&
                address - mapping->start < mapping->bytes)
                return &chunk[i];
    }
    return NULL;
}

static void
pass_on(int number, siginfo_t *info, void *context)
{
    bool is_fault = info->si_code > 0;
    if (previous.sa_handler == SIG_IGN && !is_fault)
        return;
    if (previous.sa_handler == SIG_DFL || previous.sa_handler == SIG_IGN) {
        /* The default action happens when the faulting instruction runs again. */
        signal(number, SIG_DFL);
        if (!is_fault)
            raise(number);
    } else if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(number, info, context);
    } else {
        previous.sa_handler(number);
    }
}

static void
on_bus_error(int number, siginfo_t *info, void *context)
{
    int saved_errno = errno;
    struct mapping mapping;
    /* A signal that was sent has no address: there its sender wrote what he liked. */
    if (info->si_code <= 0 || !region_at((uintptr_t)info->si_addr, &mapping)) {
        pass_on(number, info, context);
        errno = saved_errno;
        return;
    }
    /* Relaxed: the pages are zeros for everybody, whether this is seen or not. */
    atomic_store_explicit(mapping.damaged, true, memory_order_relaxed);
    /* The address is our own mapping, so the conversion gives back the pointer it came from. */
    void *zeros = mmap((void *)mapping.start, mapping.bytes, PROT_READ | PROT_WRITE,
        MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (zeros == MAP_FAILED)
        signal(number, SIG_DFL);
    errno = saved_errno;
}

static void
lock_regions(void)
{
    pthread_mutex_lock(&mutex);
}

static void
unlock_regions(void)
{
    pthread_mutex_unlock(&mutex);
}

static void
install(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    action.sa_sigaction = on_bus_error;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &previous);
    /* The child of a fork must not find the mutex held by a thread that it does not have. */
    pthread_atfork(lock_regions, unlock_regions, unlock_regions);
    installed = true;
}

static struct region *
free_region(void)
{
    for (int c = 0; c < CHUNKS_MAX; c++) {
        struct region *chunk = atomic_load_explicit(&chunks[c], memory_order_relaxed);
        if (!chunk) {
            void *fresh = mmap(NULL, CHUNK_REGIONS * sizeof *chunk, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (fresh == MAP_FAILED)
                return NULL;
            chunk = fresh;
            /* Release: the handler sees zeroed regions behind the pointer. */
            atomic_store_explicit(&chunks[c], chunk, memory_order_release);
        }
        for (int i = 0; i < CHUNK_REGIONS; i++)
            if (atomic_load_explicit(&chunk[i].start, memory_order_relaxed) == 0)
                return &chunk[i];
    }
    return NULL;
}

int
guard_add(void *start, size_t bytes, _Atomic bool *damaged)
{
    pthread_mutex_lock(&mutex);
    if (!installed)
        install();
    struct region *region = free_region();
    if (region) {
        /* Release, all three: pairs with region_read(). */
        atomic_store_explicit(&region->bytes, bytes, memory_order_release);
        atomic_store_explicit(&region->damaged, damaged, memory_order_release);
        atomic_store_explicit(&region->start, (uintptr_t)start, memory_order_release);
    }
    pthread_mutex_unlock(&mutex);
    if (!region)
        return err_set(BUS_ERR_LIMIT_REACHED, "more than %d shared mappings in one process",
            GUARD_REGIONS_MAX);
    return 0;
}

void
guard_remove(void *start)
{
    pthread_mutex_lock(&mutex);
    struct mapping mapping;
    struct region *region = region_at((uintptr_t)start, &mapping);
    if (region)
        atomic_store_explicit(&region->start, 0, memory_order_relaxed);
    pthread_mutex_unlock(&mutex);
}
