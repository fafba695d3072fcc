/* SPDX-License-Identifier: Apache-2.0 */
#include "run/worker.h"

#include "unit/unit.h"

#include <semaphore.h>
#include <stdatomic.h>

struct scene {
    struct worker *worker;
    sem_t ticked, gate;
    _Atomic int ticks, jobs;
};

static void
tick(void *context)
{
    struct scene *scene = context;
    atomic_fetch_add_explicit(&scene->ticks, 1, memory_order_relaxed);
    sem_post(&scene->ticked);
}

static void
job(void *context)
{
    struct scene *scene = context;
    atomic_fetch_add_explicit(&scene->jobs, 1, memory_order_relaxed);
}

static void
wait_at_gate(void *context)
{
    struct scene *scene = context;
    sem_wait(&scene->gate);
}

static void
begin(struct scene *scene, int64_t tick_ms, size_t jobs_max)
{
    *scene = (struct scene){0};
    sem_init(&scene->ticked, 0, 0);
    sem_init(&scene->gate, 0, 0);
    struct worker_options options = {"test", tick_ms, tick, scene, jobs_max};
    CU_ASSERT_EQUAL_FATAL(worker_start(&options, &scene->worker), 0);
}

static int
ticks(struct scene *scene)
{
    return atomic_load_explicit(&scene->ticks, memory_order_relaxed);
}

static int
jobs(struct scene *scene)
{
    return atomic_load_explicit(&scene->jobs, memory_order_relaxed);
}

static void
end(struct scene *scene)
{
    worker_stop(&scene->worker);
    CU_ASSERT_PTR_NULL(scene->worker);
    worker_stop(&scene->worker);
    sem_destroy(&scene->ticked);
    sem_destroy(&scene->gate);
}

static void
test_jobs(void)
{
    struct scene scene;
    begin(&scene, 0, 1000);
    for (int i = 0; i < 1000; i++)
        while (worker_post(scene.worker, job, &scene) < 0)
            worker_drain(scene.worker);
    worker_drain(scene.worker);
    CU_ASSERT_EQUAL(jobs(&scene), 1000);
    end(&scene);
    CU_ASSERT_EQUAL(ticks(&scene), 0);
}

static void
test_full_queue(void)
{
    struct scene scene;
    begin(&scene, 0, 2);
    CU_ASSERT_EQUAL(worker_post(scene.worker, wait_at_gate, &scene), 0);
    int rc = 0, posted = 0;
    while (rc == 0 && posted < 10)
        if ((rc = worker_post(scene.worker, job, &scene)) == 0)
            posted++;
    CU_ASSERT_EQUAL(rc, -BUS_ERR_QUEUE_FULL);
    CU_ASSERT(posted <= 2);
    sem_post(&scene.gate);
    worker_stop(&scene.worker);
    CU_ASSERT_EQUAL(jobs(&scene), posted); /* what was taken is run before the end */
    end(&scene);
}

static void
test_ticks(void)
{
    struct scene scene;
    begin(&scene, 1, 10);
    sem_wait(&scene.ticked);
    sem_wait(&scene.ticked);
    worker_tick_every(scene.worker, 3600000);
    worker_drain(scene.worker);
    while (sem_trywait(&scene.ticked) == 0)
        continue;
    worker_wake(scene.worker);
    sem_wait(&scene.ticked);
    worker_wake_in(scene.worker, 1);
    sem_wait(&scene.ticked);
    end(&scene);
    CU_ASSERT(ticks(&scene) >= 4);
}

static const struct unit_case cases[] = {
    {"every job runs", test_jobs},
    {"a full queue refuses", test_full_queue},
    {"ticks come by time and by wake", test_ticks},
    {NULL, NULL},
};

void
register_worker(void)
{
    unit_register("worker", cases);
}
