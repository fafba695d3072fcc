/* SPDX-License-Identifier: Apache-2.0
 * The public headers in a C++ program, which links against libbus.so as a user's would.
 */
#include <bus/bus.h>

#include <cstdio>
#include <cstring>

int
main()
{
    bus_config *config = bus_config_new();
    struct bus_config_row row; /* a function has the same name */
    bool good = config && bus_config_set(config, "acks", "1") == 0 &&
                bus_config_row(0, &row) == 0 && std::strcmp(row.type, "string") == 0 &&
                bus_config_set(config, "socket.path", "/nowhere/bus.sock") == 0;
    bus *handle = nullptr;
    good = good && bus_open(config, &handle) == -BUS_ERR_DAEMON_UNAVAILABLE && !handle &&
           std::strstr(bus_error(), "/nowhere/bus.sock");
    bus_config_free(&config);
    std::printf("%s - cxx_headers: C++ programs include and link libbus\n", good ? "ok" : "not ok");
    return good ? 0 : 1;
}
