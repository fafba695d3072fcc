/* SPDX-License-Identifier: Apache-2.0
 * The simulator: the pure rules of busd under a fake clock, network and disk, everything drawn from
 * one seed. A world is such a simulation; the same seed gives the same history.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim {
    const char *world;
    uint64_t seed, random;
    int64_t steps;  /* with faults; what follows is for healing */
    int64_t step;   /* this one */
    int64_t now_ms; /* the clock that nobody can set */
    bool failed;    /* a rule was broken: the world ends */
    bool loud;      /* sim_tell() prints */
};

struct sim_world {
    const char *name;
    const char *what; /* must hold, in a sentence */
    int64_t steps;    /* of a seed in make check */
    uint64_t seeds;   /* in make check */
    void (*run)(struct sim *sim);
};

extern const struct sim_world sim_groups;
extern const struct sim_world sim_producers;
extern const struct sim_world sim_ages;

/** A number in [0, below). */
uint32_t sim_pick(struct sim *sim, uint32_t below);

/** A number in [low, high]. */
int64_t sim_between(struct sim *sim, int64_t low, int64_t high);

/** True in so many of a hundred cases. */
bool sim_chance(struct sim *sim, uint32_t percent);

/** What must hold; the text says what does not, and is printed with seed, step and time. The first
 * failure of a seed counts. */
void sim_must(struct sim *sim, bool holds, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Tells of a step, with --loud. */
void sim_tell(const struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
