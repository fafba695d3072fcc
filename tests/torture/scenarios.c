/* SPDX-License-Identifier: Apache-2.0 */
#include "torture/scenarios.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct {
    const char *name;
    torture_scenario *run;
} scenarios[] = {
#define X(name) {#name, scenario_##name},
#include "torture/scenarios.def"
#undef X
};

static bool
wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(name, argv[i]) == 0)
            return true;
    return argc == 1;
}

int
torture_run_all(int argc, char **argv)
{
    int failed = 0;
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
        if (wanted(scenarios[i].name, argc, argv))
            failed += !torture_run(scenarios[i].name, scenarios[i].run, NULL);
    return failed;
}

/* ---- bad scenarios: the rig itself must see what is wrong with them -------------------------- */

/* The second block stays when the third allocation fails. */
static int
forgets_a_block(void *unused)
{
    (void)unused;
    char *first = malloc(10);
    char *second = first ? malloc(20) : NULL;
    char *third = second ? malloc(30) : NULL;
    int rc = third ? 0 : -1;
    if (third || !second)
        free(second);
    free(third);
    free(first);
    return rc;
}

static int
forgets_a_file(void *unused)
{
    (void)unused;
    int first = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (first < 0)
        return -1;
    int second = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (second < 0)
        return -1;
    close(second);
    close(first);
    return 0;
}

static int
forgets_a_mapping(void *unused)
{
    (void)unused;
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return -1;
    char *block = malloc(10);
    if (!block)
        return -1;
    free(block);
    munmap(page, 4096);
    return 0;
}

static int
forgets_an_object(void *unused)
{
    (void)unused;
    char name[64];
    snprintf(name, sizeof name, "/shmbus-torture-%ld", (long)getpid());
    int fd = shm_open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    int rc = ftruncate(fd, 4096);
    close(fd);
    if (rc == 0)
        shm_unlink(name);
    return rc;
}

static int
takes_a_failure_for_success(void *unused)
{
    (void)unused;
    char *block = calloc(1, 10);
    free(block);
    return block ? 0 : 7;
}

static int
never_works(void *unused)
{
    (void)unused;
    return -1;
}

/* The bad scenarios, each with words of the complaint that it deserves. */
static const struct {
    const char *name;
    torture_scenario *run;
    const char *complaint;
} bad_ones[] = {
    {"a lost block", forgets_a_block, "allocation 3 failing"},
    {"a lost file", forgets_a_file, "/dev/null"},
    {"a lost mapping", forgets_a_mapping, "bytes mapped"},
    {"a lost shared-memory object", forgets_an_object, "shmbus-torture"},
    {"a failure taken for success", takes_a_failure_for_success, "returns 7"},
    {"a scenario that never works", never_works, "without any fault"},
};

static int
run_bad_ones(void)
{
    int missed = 0;
    char object[64];
    for (size_t i = 0; i < sizeof bad_ones / sizeof bad_ones[0]; i++) {
        char why[TORTURE_WHY_BYTES_MAX];
        bool holds = torture_holds(bad_ones[i].name, bad_ones[i].run, NULL, why);
        bool seen = !holds && strstr(why, bad_ones[i].complaint);
        printf("%s - torture sees %s%s%s\n", seen ? "ok" : "not ok", bad_ones[i].name,
            seen ? "" : ", not: ", seen ? "" : why);
        missed += !seen;
    }
    snprintf(object, sizeof object, "/shmbus-torture-%ld", (long)getpid());
    shm_unlink(object);
    return missed;
}

/* torture [SCENARIO…]: the bad scenarios and the rows of scenarios.def, or only those named. */
int
main(int argc, char **argv)
{
    int failed = argc == 1 ? run_bad_ones() : 0;
    failed += torture_run_all(argc, argv);
    return failed == 0 ? 0 : 1;
}
