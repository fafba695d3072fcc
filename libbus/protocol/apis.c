/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/apis.h"

#include <stdlib.h>

static int
compare_key(const void *key, const void *row)
{
    return *(const int16_t *)key - ((const struct api_info *)row)->key;
}

const struct api_info *
api_find(int16_t key)
{
    return bsearch(&key, api_table, api_table_count, sizeof api_table[0], compare_key);
}

bool
api_serves(const struct api_info *api, int16_t version)
{
    return version >= api->min && version <= api->max;
}
