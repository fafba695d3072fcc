/* SPDX-License-Identifier: Apache-2.0
 * DaemonStatus: how busd is.
 */
#include "api/table.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/**
 * What is resident and belongs to busd alone: the logs that it maps are the page cache's, and the
 * shared pages everybody's. -1 when the kernel does not tell.
 */
static int64_t
memory_bytes(void)
{
    char text[128];
    long long all, resident, shared;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    text[length > 0 ? length : 0] = '\0';
    if (sscanf(text, "%lld %lld %lld", &all, &resident, &shared) != 3 || shared > resident)
        return -1;
    return (int64_t)(resident - shared) * sysconf(_SC_PAGESIZE);
}

int
handle_daemon_status(struct api_request *r)
{
    const struct api_wiring *w = &r->api->wiring;
    struct daemon_status_response *out = r->response;
    out->version = w->version;
    out->data_folder = w->data_folder;
    out->cluster_id = meta_identity(w->controller->meta)->cluster_id;
    out->node_id = controller_node(w->controller);
    out->uptime_ms = request_now_ms(r) - r->api->started_ms;
    out->partitions = (int32_t)request_cluster(r)->partition_total;
    out->open_partitions = r->api->logs.count;
    out->connections = w->ops->connections(w->context);
    out->listeners = w->ops->listeners(w->context);
    out->memory_bytes = memory_bytes();
    return HANDLED_DONE;
}
