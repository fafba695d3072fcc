/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/cleanfile.h"

#include "base/err.h"
#include "unit/unit.h"

#include <string.h>

static void
test_reads(void)
{
    struct cleanfile file;
    CU_ASSERT_EQUAL(cleanfile_parse("0\nclean 17\nrewritten 12\n", &file), 0);
    CU_ASSERT_EQUAL(file.rewritten, 12);
    CU_ASSERT_EQUAL(file.swap_base, -1);
    CU_ASSERT_EQUAL(
        cleanfile_parse("0\nclean 17\nrewritten 9223372036854775807\nswap 3 17 4096\n", &file), 0);
    CU_ASSERT_EQUAL(file.rewritten, INT64_MAX);
    CU_ASSERT_EQUAL(file.swap_base, 3);
    CU_ASSERT_EQUAL(file.swap_end, 17);
    CU_ASSERT_EQUAL(file.swap_bytes, 4096);
}

/* Of a damaged file offsets may be missing everywhere, as busd takes it. */
static void
test_refuses(void)
{
    static const char *const bad[] = {
        "",
        "\n",
        "0",
        "0\nclean 17\n",
        "0\nclean 17\nrewritten\n",
        "0\nclean 17\nrewritten -1\n",
        "0\nclean -1\nrewritten 12\n",
        "1\nclean 17\nrewritten 12\n",
        "00x\nclean 17\nrewritten 12\n",
        "0\nrewritten 12\nclean 17\n",
        "0\nclean 17\nrewritten 99999999999999999999\n",
        "0\nclean 17\nrewritten 12\nswap\n",
        "0\nclean 17\nrewritten 12\nswap 3 17\n",
        "0\nclean 17\nrewritten 12\nswap 3 3 10\n",
        "0\nclean 17\nrewritten 12\nswap 3 17 -1\n",
        "0\nclean 17\nrewritten 12\nswap 3 17 4096 1\n",
        "0\nclean 17\nrewritten 12\nmore\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct cleanfile file;
        CU_ASSERT_EQUAL(cleanfile_parse(bad[i], &file), -BUS_ERR_INVALID_FORMAT);
        CU_ASSERT_EQUAL(file.rewritten, INT64_MAX);
        CU_ASSERT_EQUAL(file.swap_base, -1);
    }
}

static void
test_path(void)
{
    char path[PATH_MAX], longer[PATH_MAX + 10];
    CU_ASSERT(cleanfile_path("/a/t-0/00000000000000000000.log", path));
    CU_ASSERT_STRING_EQUAL(path, "/a/t-0/cleaner-checkpoint");
    CU_ASSERT(cleanfile_path("x.log", path));
    CU_ASSERT_STRING_EQUAL(path, "cleaner-checkpoint");
    memset(longer, 'a', sizeof longer);
    memcpy(longer + PATH_MAX, "/x", 3);
    CU_ASSERT_FALSE(cleanfile_path(longer, path));
}

static const struct unit_case cases[] = {
    {"reads what compaction has noted", test_reads},
    {"takes nothing from a damaged file", test_refuses},
    {"lies beside the segments", test_path},
    {NULL, NULL},
};

void
register_cleanfile(void)
{
    unit_register("cleanfile", cases);
}
