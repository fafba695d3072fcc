/* SPDX-License-Identifier: Apache-2.0
 * ApiVersions: what this door serves.
 */
#include "api/table.h"

/** Kafka's rule for names and versions of client software: a word, dots and dashes inside. */
static bool
is_software_word(const char *text)
{
    size_t n = 0;
    for (; text[n]; n++) {
        char c = text[n];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        bool inner = (c == '-' || c == '.') && n > 0 && text[n + 1] != '\0';
        if (!plain && !inner)
            return false;
    }
    return n > 0;
}

static bool
is_announced(const struct handler_row *row, unsigned door, const struct api_info **info)
{
    *info = api_find(row->key);
    return *info && ((*info)->doors & door);
}

static int
announce(struct api_request *r, struct api_versions_response *response)
{
    const struct schema *schema = &api_versions_response_api_key_schema;
    response->api_keys = wire_array(schema, &r->arena, handler_table_count);
    if (!response->api_keys)
        return -BUS_ERR_NO_MEMORY;
    for (size_t i = 0; i < handler_table_count; i++) {
        const struct api_info *info;
        if (!is_announced(&handler_table[i], r->peer->door, &info))
            continue;
        response->api_keys[response->api_keys_count++] = (struct api_versions_response_api_key){
            .api_key = info->key,
            .min_version = info->min_announced,
            .max_version = info->max,
        };
    }
    return HANDLED_DONE;
}

int
handle_api_versions(struct api_request *r)
{
    const struct api_versions_request *request = r->message;
    struct api_versions_response *response = r->response;
    if (r->header.api_version >= 3 && (!is_software_word(request->client_software_name) ||
                                          !is_software_word(request->client_software_version))) {
        response->error_code = BUS_ERR_INVALID_REQUEST;
        return HANDLED_DONE;
    }
    return announce(r, response);
}
