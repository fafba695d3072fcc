/* SPDX-License-Identifier: Apache-2.0
 * Runs the worlds: a bounded number of seeds each, and the seeds that are kept because they once
 * failed. See usage().
 */
#include "sim/sim.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct sim_world *const worlds[] = {&sim_groups, &sim_producers, &sim_ages};

enum {
    WORLDS = sizeof worlds / sizeof worlds[0],
    NAME_BYTES = 32,
    LINE_BYTES = 256,
};

struct options {
    const char *world; /* NULL: all */
    uint64_t seed;     /* the first */
    uint64_t seeds;    /* 0: as the world says */
    int64_t steps;     /* 0: as the world says */
    bool loud;
};

/* ---- what worlds use ------------------------------------------------------------------------ */

uint32_t
sim_pick(struct sim *sim, uint32_t below)
{
    sim->random ^= sim->random << 13;
    sim->random ^= sim->random >> 7;
    sim->random ^= sim->random << 17;
    return (uint32_t)((sim->random >> 16) % below);
}

int64_t
sim_between(struct sim *sim, int64_t low, int64_t high)
{
    return low + (int64_t)sim_pick(sim, (uint32_t)(high - low + 1));
}

bool
sim_chance(struct sim *sim, uint32_t percent)
{
    return sim_pick(sim, 100) < percent;
}

void
sim_must(struct sim *sim, bool holds, const char *format, ...)
{
    if (holds || sim->failed)
        return;
    sim->failed = true;
    printf("not ok - %s: seed %" PRIu64 "\n#   step %" PRId64 ", %" PRId64 " ms: ", sim->world,
        sim->seed, sim->step, sim->now_ms);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n#   again: tests/sim/sim --world %s --seed %" PRIu64 " --steps %" PRId64 " --loud\n",
        sim->world, sim->seed, sim->steps);
}

void
sim_tell(const struct sim *sim, const char *format, ...)
{
    if (!sim->loud)
        return;
    printf("# %6" PRId64 " %9" PRId64 " ms  ", sim->step, sim->now_ms);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

/* ---- running -------------------------------------------------------------------------------- */

/** Whether the seed went well. */
static bool
run_seed(const struct sim_world *world, const struct options *options, uint64_t seed, int64_t steps)
{
    struct sim sim = {.world = world->name,
        .seed = seed,
        .random = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15),
        .steps = steps,
        .loud = options->loud};
    for (int i = 0; i < 8; i++)
        sim_pick(&sim, 2);
    world->run(&sim);
    return !sim.failed;
}

static bool
run_world(const struct sim_world *world, const struct options *options)
{
    uint64_t seeds = options->seeds ? options->seeds : world->seeds;
    int64_t steps = options->steps ? options->steps : world->steps;
    bool good = true;
    for (uint64_t i = 0; i < seeds; i++)
        good &= run_seed(world, options, options->seed + i, steps);
    if (good)
        printf("ok - %s: %s: %" PRIu64 " seeds from %" PRIu64 ", %" PRId64 " steps each\n",
            world->name, world->what, seeds, options->seed, steps);
    return good;
}

/** A line "world seed steps", and behind a # why it is kept. */
static bool
run_line(const char *line, const struct options *options)
{
    char name[NAME_BYTES];
    uint64_t seed;
    int64_t steps;
    if (line[0] == '#' || line[0] == '\n')
        return true;
    if (sscanf(line, "%31s %" SCNu64 " %" SCNd64, name, &seed, &steps) != 3) {
        printf("not ok - tests/sim/seeds: what is %s", line);
        return false;
    }
    for (size_t i = 0; i < WORLDS; i++)
        if (strcmp(worlds[i]->name, name) == 0) {
            bool good = run_seed(worlds[i], options, seed, steps);
            if (good)
                printf("ok - kept: %s %" PRIu64 " %" PRId64 "\n", name, seed, steps);
            return good;
        }
    printf("not ok - tests/sim/seeds: no world %s\n", name);
    return false;
}

static bool
run_kept(const struct options *options)
{
    const char *top = getenv("top_srcdir");
    char path[4096], line[LINE_BYTES];
    bool good = true;
    snprintf(path, sizeof path, "%s/tests/sim/seeds", top ? top : ".");
    FILE *file = fopen(path, "re");
    if (!file) {
        printf("not ok - %s cannot be read; set top_srcdir to the source folder\n", path);
        return false;
    }
    while (fgets(line, sizeof line, file))
        good &= run_line(line, options);
    fclose(file);
    return good;
}

static int
usage(void)
{
    printf("Usage: sim [--world NAME] [--seed N] [--seeds N] [--steps N] [--loud]\n\n"
           "Without options: every world with its seeds, and the seeds that are kept in\n"
           "tests/sim/seeds. Worlds:\n\n");
    for (size_t i = 0; i < WORLDS; i++)
        printf("  %-10s %s\n", worlds[i]->name, worlds[i]->what);
    printf("\nExamples:\n"
           "  sim --world groups --seed 42 --steps 3000 --loud   one history, step by step\n"
           "  sim --world producers --seed 1000 --seeds 100000   look for failures for long\n");
    return 0;
}

/** 1: go on; else the exit status + 2. */
static int
read_options(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        {"world", required_argument, NULL, 'w'},
        {"seed", required_argument, NULL, 's'},
        {"seeds", required_argument, NULL, 'm'},
        {"steps", required_argument, NULL, 'n'},
        {"loud", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int name;
    while ((name = getopt_long(argc, argv, "h", names, NULL)) != -1)
        switch (name) {
        case 'w':
            options->world = optarg;
            break;
        case 's':
            options->seed = strtoull(optarg, NULL, 10);
            options->seeds = options->seeds ? options->seeds : 1;
            break;
        case 'm':
            options->seeds = strtoull(optarg, NULL, 10);
            break;
        case 'n':
            options->steps = strtoll(optarg, NULL, 10);
            break;
        case 'l':
            options->loud = true;
            break;
        case 'h':
            return 2 + usage();
        default:
            return 2 + 2;
        }
    return 1;
}

int
main(int argc, char **argv)
{
    struct options options = {.seed = 1};
    bool good = true, any = false;
    int go = read_options(argc, argv, &options);
    if (go != 1)
        return go - 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < WORLDS; i++) {
        if (options.world && strcmp(options.world, worlds[i]->name) != 0)
            continue;
        good &= run_world(worlds[i], &options);
        any = true;
    }
    if (!any)
        fprintf(stderr, "sim: no world %s; see sim --help\n", options.world);
    if (argc == 1)
        good &= run_kept(&options);
    return any && good ? 0 : 1;
}
