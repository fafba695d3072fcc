/* SPDX-License-Identifier: Apache-2.0 */
#include "core/access.h"

#include "unit/unit.h"

#include <string.h>

static bool
uid_of(void *context, const char *name, uint32_t *uid)
{
    (void)context;
    *uid = 1000;
    return strcmp(name, "anna") == 0;
}

static bool
gid_of(void *context, const char *name, uint32_t *gid)
{
    (void)context;
    *gid = strcmp(name, "staff") == 0 ? 50 : 60;
    return strcmp(name, "staff") == 0 || strcmp(name, "shmbus-direct") == 0;
}

static const struct access_names names = {.uid_of = uid_of, .gid_of = gid_of};

/** "rwd" as far as the peer may; '-' where it may not. */
static const char *
access_text(const struct settings *topic, const struct access_peer *peer)
{
    static char text[4];
    struct access access = access_of(topic, peer, &names);
    text[0] = access.read ? 'r' : '-';
    text[1] = access.mediated ? 'w' : '-';
    text[2] = access.direct ? 'd' : '-';
    return text;
}

static const uint32_t no_groups[] = {7};
static const uint32_t direct_group[] = {7, 60};
static const uint32_t staff_group[] = {50};
static const struct access_peer self = {0, no_groups, 1, NULL, true};
static const struct access_peer anna = {1000, no_groups, 1, NULL, false};
static const struct access_peer trusted = {1001, direct_group, 2, NULL, false};
static const struct access_peer staff = {1002, staff_group, 1, NULL, false};
static const struct access_peer stranger = {1003, NULL, 0, NULL, false};

static void
test_default(void)
{
    struct settings topic;
    settings_init(&topic, &setting_table_topic, SETTING_FROM_TOPIC, NULL);
    CU_ASSERT_STRING_EQUAL(access_text(&topic, &self), "rwd");
    CU_ASSERT_STRING_EQUAL(access_text(&topic, &trusted), "rwd");
    CU_ASSERT_STRING_EQUAL(access_text(&topic, &anna), "rw-");
    CU_ASSERT_STRING_EQUAL(access_text(&topic, &stranger), "rw-");
}

static void
test_lists(void)
{
    struct settings topic;
    settings_init(&topic, &setting_table_topic, SETTING_FROM_TOPIC, NULL);
    CU_ASSERT_EQUAL(settings_set(&topic, TOPIC_ACCESS_DIRECT, "user:nobody,user:anna"), 0);
    CU_ASSERT_EQUAL(settings_set(&topic, TOPIC_ACCESS_WRITE, "group:staff,group:none"), 0);
    CU_ASSERT_EQUAL(settings_set(&topic, TOPIC_ACCESS_READ, "self"), 0);
    CU_ASSERT_STRING_EQUAL(access_text(&topic, &anna), "rwd");
    CU_ASSERT_STRING_EQUAL(access_text(&topic, &staff), "-w-");
    CU_ASSERT_STRING_EQUAL(access_text(&topic, &self), "r--");
    CU_ASSERT_STRING_EQUAL(access_text(&topic, &stranger), "---");
    CU_ASSERT_EQUAL(settings_set(&topic, TOPIC_ACCESS_DIRECT, "*"), 0);
    CU_ASSERT_STRING_EQUAL(access_text(&topic, &stranger), "rwd");
    CU_ASSERT_EQUAL(settings_set(&topic, TOPIC_ACCESS_DIRECT, ""), 0);
    CU_ASSERT_EQUAL(settings_set(&topic, TOPIC_ACCESS_WRITE, ""), 0);
    CU_ASSERT_EQUAL(settings_set(&topic, TOPIC_ACCESS_READ, ""), 0);
    CU_ASSERT_STRING_EQUAL(access_text(&topic, &self), "---");
    settings_fini(&topic);
}

static void
test_words(void)
{
    char name[80];
    memcpy(name, "user:", 5);
    memset(name + 5, 'n', sizeof name - 5);
    CU_ASSERT(access_word_ok(name, 5 + 64));
    CU_ASSERT_FALSE(access_word_ok(name, 5 + 65));
    CU_ASSERT_FALSE(access_word_ok(name, 5));
    CU_ASSERT(access_word_ok("*", 1));
    CU_ASSERT(access_word_ok("self", 4));
    CU_ASSERT(access_word_ok("group:x", 7));
    CU_ASSERT_FALSE(access_word_ok("selfish", 7));
    CU_ASSERT_FALSE(access_word_ok("user:a:b", 8));
    CU_ASSERT_FALSE(access_word_ok("", 0));
}

static const struct unit_case cases[] = {
    {"by default all read and write, and the trusted append in place", test_default},
    {"lists admit whom they name", test_lists},
    {"words of lists are checked", test_words},
    {NULL, NULL},
};

void
register_access(void)
{
    unit_register("access", cases);
}
