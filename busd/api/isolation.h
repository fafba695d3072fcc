/* SPDX-License-Identifier: Apache-2.0
 * How far a reader may see, as the field isolation_level tells it.
 */
#ifndef API_ISOLATION_H
#define API_ISOLATION_H

#include "api/request.h"

/** Values of the field: two of Kafka's, and one of ours for the Unix door. */
enum {
    ISOLATION_READ_UNCOMMITTED = 0,
    ISOLATION_READ_COMMITTED = 1, /* the same, as long as there are no transactions */
    ISOLATION_READ_DURABLE = 2,
};

/** The enum log_isolation of a field, or -BUS_ERR_INVALID_REQUEST. */
int isolation_of(const struct api_request *r, int8_t level);

/** The end that readers of this enum log_isolation see. */
int64_t isolation_end(int isolation, const struct log_bounds *bounds);

#endif
