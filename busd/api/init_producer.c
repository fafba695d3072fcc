/* SPDX-License-Identifier: Apache-2.0
 * InitProducerId: ids for idempotent producers, from blocks that the controller has written down,
 * so that no id is ever given twice.
 */
#include "api/authorize.h"
#include "api/table.h"
#include "base/err.h"

enum { BLOCK = 1000 };

/** Takes a new block when the last one is used up. 0 or a failure; blocks for the disk, then. */
static int
take_id(struct api *api, int64_t *id)
{
    struct controller *controller = api->wiring.controller;
    if (api->producer_id == api->producer_id_end) {
        struct command command = {
            .type = COMMAND_PRODUCER_IDS, .node = controller_node(controller), .count = BLOCK};
        int64_t first = controller->cluster.next_producer_id;
        int rc = controller_propose(controller, &command);
        if (rc < 0)
            return rc;
        api->producer_id = first;
        api->producer_id_end = first + BLOCK;
    }
    *id = api->producer_id++;
    return 0;
}

/** An epoch belongs to an id; transactions there are none. */
static int16_t
check(const struct init_producer_id_request *request)
{
    bool is_empty = request->transactional_id && request->transactional_id[0] == '\0';
    if (is_empty || (request->producer_id == -1) != (request->producer_epoch == -1))
        return BUS_ERR_INVALID_REQUEST;
    return request->transactional_id ? BUS_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED : BUS_ERR_NONE;
}

static bool
may_be_idempotent(const struct api_request *r)
{
    return authorize(r, ACL_IDEMPOTENT_WRITE, ACL_CLUSTER, ACL_CLUSTER_NAME, true) ||
           authorize_any_topic(r, ACL_WRITE, true);
}

int
handle_init_producer_id(struct api_request *r)
{
    const struct init_producer_id_request *request = r->message;
    struct init_producer_id_response *out = r->response;
    int64_t id = -1;
    out->producer_id = -1;
    out->producer_epoch = -1;
    out->error_code = check(request);
    if (!out->error_code && !may_be_idempotent(r))
        out->error_code = BUS_ERR_CLUSTER_AUTHORIZATION_FAILED;
    if (out->error_code)
        return HANDLED_DONE;
    /* A producer that knows an id and lost its sequence gets a fresh one too, as Kafka does it. */
    int rc = take_id(r->api, &id);
    if (rc < 0) {
        out->error_code = BUS_ERR_COORDINATOR_NOT_AVAILABLE;
        return HANDLED_DONE;
    }
    out->producer_id = id;
    out->producer_epoch = 0;
    return HANDLED_DONE;
}
