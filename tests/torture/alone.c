/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "torture/scenarios.h"

#include <bus/bus.h>

static int
configure(struct bus_config *config)
{
    int rc = bus_config_set(config, "socket.path", "/nonexistent/bus.sock");
    if (rc == 0)
        rc = bus_config_set(config, "batch.size", "64k");
    if (rc == 0 && bus_config_set(config, "batch.size", "-3") != -BUS_ERR_INVALID_CONFIG)
        rc = 1;
    return rc;
}

/* The client where no busd is: a configuration, and an opening that tells so. */
int
scenario_alone(void *unused)
{
    (void)unused;
    struct bus *bus = NULL;
    struct bus_config *config = bus_config_new();
    if (!config)
        return -BUS_ERR_NO_MEMORY;
    int rc = configure(config);
    if (rc == 0) {
        rc = bus_open(config, &bus);
        if (rc == 0)
            bus_close(&bus);
        rc = rc == 0 ? 2 : rc == -BUS_ERR_DAEMON_UNAVAILABLE ? 0 : rc;
    }
    bus_config_free(&config);
    return rc;
}
