/* SPDX-License-Identifier: Apache-2.0
 * The scenarios of scenarios.def.
 */
#ifndef TORTURE_SCENARIOS_H
#define TORTURE_SCENARIOS_H

#include "lib/torture.h"

/** One function per row of scenarios.def; see torture_scenario. Thread: main. */
#define X(name) int scenario_##name(void *unused);
#include "torture/scenarios.def"
#undef X

#endif
