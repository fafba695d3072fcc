/* SPDX-License-Identifier: Apache-2.0 */
#include "api/isolation.h"
#include "base/err.h"

int
isolation_of(const struct api_request *r, int8_t level)
{
    if (level == ISOLATION_READ_UNCOMMITTED || level == ISOLATION_READ_COMMITTED)
        return LOG_READ_VISIBLE;
    if (level == ISOLATION_READ_DURABLE && r->peer->door == API_DOOR_UNIX)
        return LOG_READ_DURABLE;
    return err_set(BUS_ERR_INVALID_REQUEST, "there is no isolation level %d", level);
}

int64_t
isolation_end(int isolation, const struct log_bounds *bounds)
{
    if (isolation == LOG_READ_DURABLE && bounds->durable_offset < bounds->visible_offset)
        return bounds->durable_offset;
    return bounds->visible_offset;
}
