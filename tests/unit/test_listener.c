/* SPDX-License-Identifier: Apache-2.0 */
#include "core/listener.h"

#include "unit/unit.h"

#include <string.h>

static void
test_accepts(void)
{
    static const struct {
        const char *word, *host, *text;
        int port;
        bool sasl, tls;
    } rows[] = {
        {"127.0.0.1:9092", "127.0.0.1", "PLAINTEXT://127.0.0.1:9092", 9092, false, false},
        {"[::1]:0", "::1", "PLAINTEXT://[::1]:0", 0, false, false},
        {":65535", "", "PLAINTEXT://:65535", 65535, false, false},
        {"plaintext://bus.example:1", "bus.example", "PLAINTEXT://bus.example:1", 1, false, false},
        {"SASL_PLAINTEXT://h:2", "h", "SASL_PLAINTEXT://h:2", 2, true, false},
        {"SSL://h:3", "h", "SSL://h:3", 3, false, true},
        {"SASL_SSL://[fe80::1%eth0]:4", "fe80::1%eth0", "SASL_SSL://[fe80::1%eth0]:4", 4, true,
            true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct listener_spec spec;
        char text[LISTENER_TEXT_BYTES];
        CU_ASSERT_EQUAL_FATAL(listener_parse(rows[i].word, strlen(rows[i].word), &spec), 0);
        CU_ASSERT_STRING_EQUAL(spec.host, rows[i].host);
        CU_ASSERT_EQUAL(spec.port, rows[i].port);
        CU_ASSERT_EQUAL(spec.sasl, rows[i].sasl);
        CU_ASSERT_EQUAL(spec.tls, rows[i].tls);
        listener_text(&spec, text);
        CU_ASSERT_STRING_EQUAL(text, rows[i].text);
    }
}

static void
test_refuses(void)
{
    static const char *const words[] = {"", "localhost", "h:", ":", "h:65536", "h:123456", "h:-1",
        "h:1x", "HTTP://h:1", "://h:1", "PLAINTEXT:/h:1", "a b:1", "::1:9092", "a/b:1", "[h:1"};
    struct listener_spec spec;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        CU_ASSERT_EQUAL(listener_parse(words[i], strlen(words[i]), &spec), -BUS_ERR_INVALID_CONFIG);
        CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "expected [PROTOCOL://]HOST:PORT"));
    }
    char host[LISTENER_HOST_BYTES_MAX + 4];
    memset(host, 'a', sizeof host);
    memcpy(host + LISTENER_HOST_BYTES_MAX, ":1", 2);
    CU_ASSERT_EQUAL(listener_parse(host, LISTENER_HOST_BYTES_MAX + 2, &spec), 0);
    memcpy(host + LISTENER_HOST_BYTES_MAX, "a:1", 3);
    CU_ASSERT(listener_parse(host, LISTENER_HOST_BYTES_MAX + 3, &spec) < 0);
}

static void
test_lists(void)
{
    struct listener_spec specs[LISTENERS_MAX];
    char many[LISTENERS_MAX * 4 + 4] = "";
    CU_ASSERT_EQUAL(listener_parse_list("", specs), 0);
    CU_ASSERT_EQUAL(listener_parse_list("a:1,SSL://b:2", specs), 2);
    CU_ASSERT_STRING_EQUAL(specs[1].host, "b");
    CU_ASSERT_TRUE(specs[1].tls);
    CU_ASSERT_EQUAL(listener_parse_list("a:1,b", specs), -BUS_ERR_INVALID_CONFIG);
    for (int i = 0; i < LISTENERS_MAX; i++)
        memcpy(many + 4 * i, "a:1,", 4);
    many[4 * LISTENERS_MAX - 1] = '\0';
    CU_ASSERT_EQUAL(listener_parse_list(many, specs), LISTENERS_MAX);
    memcpy(many + 4 * LISTENERS_MAX - 1, ",a:1", 5);
    CU_ASSERT_EQUAL(listener_parse_list(many, specs), -BUS_ERR_INVALID_CONFIG);
}

static const struct unit_case cases[] = {
    {"reads protocol, host and port", test_accepts},
    {"refuses what is none", test_refuses},
    {"reads lists", test_lists},
    {NULL, NULL},
};

void
register_listener(void)
{
    unit_register("listener", cases);
}
