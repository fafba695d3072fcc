/* SPDX-License-Identifier: Apache-2.0 */
#include "core/quota.h"

#include "unit/unit.h"

#include <string.h>

static void
test_limit(void)
{
    struct quota quota;
    quota_init(&quota, "the client", NULL);
    quota_limit(&quota, QUOTA_FDS, 10);
    CU_ASSERT_EQUAL(quota_charge(&quota, QUOTA_FDS, 9), 0);
    CU_ASSERT_EQUAL(quota_charge(&quota, QUOTA_FDS, 1), 0);
    CU_ASSERT_EQUAL(quota_charge(&quota, QUOTA_FDS, 1), -BUS_ERR_LIMIT_REACHED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "the client has 10 of 10 file descriptors"));
    CU_ASSERT_EQUAL(quota_charge(&quota, QUOTA_FDS, 0), 0);
    CU_ASSERT_EQUAL(quota.used[QUOTA_FDS], 10);
    quota_release(&quota, QUOTA_FDS, 10);
    CU_ASSERT_EQUAL(quota_charge(&quota, QUOTA_FDS, 11), -BUS_ERR_LIMIT_REACHED);
    CU_ASSERT_EQUAL(quota_charge(&quota, QUOTA_BYTES, INT64_MAX), 0);
    CU_ASSERT_EQUAL(quota_charge(&quota, QUOTA_BYTES, 1), -BUS_ERR_LIMIT_REACHED);
    CU_ASSERT_EQUAL(quota_charge(&quota, QUOTA_BYTES, INT64_MAX), -BUS_ERR_LIMIT_REACHED);
}

static void
test_parents(void)
{
    struct quota all, one, two;
    quota_init(&all, "the socket", NULL);
    quota_init(&one, "one", &all);
    quota_init(&two, "two", &all);
    quota_limit(&all, QUOTA_BYTES, 100);
    quota_limit(&one, QUOTA_BYTES, 80);
    CU_ASSERT_EQUAL(quota_charge(&one, QUOTA_BYTES, 80), 0);
    CU_ASSERT_EQUAL(quota_charge(&two, QUOTA_BYTES, 21), -BUS_ERR_LIMIT_REACHED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "the socket"));
    CU_ASSERT_EQUAL(two.used[QUOTA_BYTES], 0);
    CU_ASSERT_EQUAL(all.used[QUOTA_BYTES], 80);
    CU_ASSERT_EQUAL(quota_charge(&two, QUOTA_BYTES, 20), 0);
    quota_release_all(&one);
    CU_ASSERT_EQUAL(all.used[QUOTA_BYTES], 20);
    quota_release_all(&two);
    CU_ASSERT_EQUAL(all.used[QUOTA_BYTES], 0);
}

static void
test_lowered_limit(void)
{
    struct quota quota;
    quota_init(&quota, "the client", NULL);
    CU_ASSERT_EQUAL(quota_charge(&quota, QUOTA_PARKED, 5), 0);
    quota_limit(&quota, QUOTA_PARKED, 3);
    CU_ASSERT_EQUAL(quota_charge(&quota, QUOTA_PARKED, 0), -BUS_ERR_LIMIT_REACHED);
    quota_release(&quota, QUOTA_PARKED, 3);
    CU_ASSERT_EQUAL(quota_charge(&quota, QUOTA_PARKED, 1), 0);
    CU_ASSERT_EQUAL(quota_charge(&quota, QUOTA_PARKED, 1), -BUS_ERR_LIMIT_REACHED);
}

static const struct unit_case cases[] = {
    {"a charge past the limit is refused and changes nothing", test_limit},
    {"parents are charged as well, or nobody is", test_parents},
    {"what is in use survives a lowered limit", test_lowered_limit},
    {NULL, NULL},
};

void
register_quota(void)
{
    unit_register("quota", cases);
}
