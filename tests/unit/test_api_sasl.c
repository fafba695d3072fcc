/* SPDX-License-Identifier: Apache-2.0
 * A peer at a listener with SASL: what it may do before, how it comes in, what ends it.
 */
#include "base/bytes.h"
#include "base/err.h"
#include "core/base64.h"
#include "unit/api_world.h"

#include <stdio.h>
#include <string.h>

static struct world w;
static struct api_listener listener;

/* A salted password of "pencil", and what proves it. */
static uint8_t salted[CRYPTO_BYTES_MAX];
static const uint8_t salt[] = "0123456789abcdef";

static void
set_up(bool tls)
{
    world_init(&w);
    listener = (struct api_listener){.name = "test", .host = "h", .sasl = true, .tls = tls};
    struct api_peer *peer = &w.peers[1].peer;
    peer->door = API_DOOR_KAFKA;
    peer->uid = (uid_t)-1;
    peer->address = "/10.0.0.7";
    peer->listener = &listener;
    peer->authenticated = false;
    peer->principal[0] = '\0';
    struct crypto_password password = {"pencil", 6, salt, sizeof salt, 4096};
    CU_ASSERT_EQUAL_FATAL(crypto_salted(CRYPTO_SHA256, &password, salted), 0);
    struct alter_user_scram_credentials_request_upsertion u = {
        "anna", SCRAM_SHA_256, 4096, {salt, sizeof salt}, {salted, 32}};
    struct alter_user_scram_credentials_request request = {.upsertions = &u, .upsertions_count = 1};
    const struct alter_user_scram_credentials_response *a =
        world_call(&w, 0, API_ALTER_USER_SCRAM_CREDENTIALS, 0, &request);
    CU_ASSERT_EQUAL_FATAL(a->results[0].error_code, 0);
}

static void
set_broker(const char *name, const char *value)
{
    struct incremental_alter_configs_request_resource_config config = {name, 0, value};
    struct incremental_alter_configs_request_resource resource = {4, "", &config, 1};
    struct incremental_alter_configs_request request = {&resource, 1, false};
    const struct incremental_alter_configs_response *a =
        world_call(&w, 0, API_INCREMENTAL_ALTER_CONFIGS, 1, &request);
    CU_ASSERT_EQUAL_FATAL(a->responses[0].error_code, 0);
}

static const struct sasl_handshake_response *
handshake(int16_t version, const char *mechanism)
{
    struct sasl_handshake_request request = {mechanism};
    int rc = world_send(&w, 1, API_SASL_HANDSHAKE, version, &request);
    if (rc == API_PARKED)
        world_pass(&w, 100);
    return world_answer(&w, 1);
}

static const struct sasl_authenticate_response *
authenticate(const char *token, size_t n)
{
    struct sasl_authenticate_request request = {{(const uint8_t *)token, (int32_t)n}};
    int rc = world_send(&w, 1, API_SASL_AUTHENTICATE, 2, &request);
    CU_ASSERT(rc == API_ANSWERED || rc == API_PARKED);
    return rc == API_PARKED ? NULL : world_answer(&w, 1);
}

/** The client's side of the last message, from what both have said. */
static void
prove(const char *bare, const char *challenge, const uint8_t *with, struct buf *last)
{
    uint8_t key[CRYPTO_BYTES_MAX], stored[CRYPTO_BYTES_MAX], signature[CRYPTO_BYTES_MAX];
    char text[600], plain[300];
    int nonce = (int)strcspn(challenge, ",");
    snprintf(plain, sizeof plain, "c=biws,%.*s", nonce, challenge);
    snprintf(text, sizeof text, "%s,%s,%s", bare, challenge, plain);
    CU_ASSERT_EQUAL(crypto_hmac(CRYPTO_SHA256, with, 32, "Client Key", 10, key), 0);
    CU_ASSERT_EQUAL(crypto_digest(CRYPTO_SHA256, key, 32, stored), 0);
    CU_ASSERT_EQUAL(crypto_hmac(CRYPTO_SHA256, stored, 32, text, strlen(text), signature), 0);
    for (int i = 0; i < 32; i++)
        key[i] ^= signature[i];
    buf_put(last, plain, strlen(plain));
    buf_put(last, ",p=", 3);
    base64_put(last, key, 32);
}

/** The exchange of tokens; the answer to the last one, or NULL while it is held back. */
static const struct sasl_authenticate_response *
exchange(const char *user, const uint8_t *with)
{
    char first[100], challenge[300] = "";
    struct buf last;
    snprintf(first, sizeof first, "n,,n=%s,r=fyko", user);
    const struct sasl_authenticate_response *a = authenticate(first, strlen(first));
    CU_ASSERT_PTR_NOT_NULL_FATAL(a);
    CU_ASSERT_EQUAL_FATAL(a->error_code, 0);
    CU_ASSERT_FATAL(a->auth_bytes.len < (int)sizeof challenge);
    memcpy(challenge, a->auth_bytes.data, (size_t)a->auth_bytes.len);
    buf_init(&last);
    prove(first + 3, challenge, with, &last);
    a = authenticate((const char *)last.data, last.length);
    buf_fini(&last);
    return a;
}

static int
ask_metadata(void)
{
    struct metadata_request metadata = {.topics_count = -1};
    return world_send(&w, 1, API_METADATA, 9, &metadata);
}

static void
test_comes_in(void)
{
    set_up(false);
    CU_ASSERT_EQUAL(ask_metadata(), -BUS_ERR_ILLEGAL_SASL_STATE);
    const struct sasl_handshake_response *h = handshake(1, "SCRAM-SHA-256");
    CU_ASSERT_EQUAL(h->error_code, 0);
    CU_ASSERT_EQUAL_FATAL(h->mechanisms_count, 2);
    CU_ASSERT_STRING_EQUAL(h->mechanisms[0], "SCRAM-SHA-256");
    CU_ASSERT_EQUAL(ask_metadata(), -BUS_ERR_ILLEGAL_SASL_STATE);
    const struct sasl_authenticate_response *a = exchange("anna", salted);
    CU_ASSERT_PTR_NOT_NULL_FATAL(a);
    CU_ASSERT_EQUAL(a->error_code, 0);
    CU_ASSERT_EQUAL(a->session_lifetime_ms, 0);
    CU_ASSERT_EQUAL(memcmp(a->auth_bytes.data, "v=", 2), 0);
    CU_ASSERT_STRING_EQUAL(w.peers[1].peer.principal, "User:anna");
    CU_ASSERT_EQUAL(ask_metadata(), API_ANSWERED);
    CU_ASSERT_FALSE(w.peers[1].answer.close);
    world_fini(&w);
}

/** Bad news come late and are the last. */
static void
test_stays_outside(void)
{
    static const uint8_t guess[32] = {1};
    for (int known = 0; known <= 1; known++) {
        set_up(false);
        CU_ASSERT_EQUAL(handshake(1, "SCRAM-SHA-256")->error_code, 0);
        CU_ASSERT_PTR_NULL(exchange(known ? "anna" : "nobody", guess));
        int before = w.peers[1].answers;
        world_pass(&w, 99);
        CU_ASSERT_EQUAL(w.peers[1].answers, before);
        world_pass(&w, 1);
        CU_ASSERT_EQUAL_FATAL(w.peers[1].answers, before + 1);
        const struct sasl_authenticate_response *a = world_answer(&w, 1);
        CU_ASSERT_EQUAL(a->error_code, BUS_ERR_SASL_AUTHENTICATION_FAILED);
        CU_ASSERT_PTR_NOT_NULL(strstr(a->error_message, "invalid credentials"));
        CU_ASSERT(w.peers[1].answer.close);
        CU_ASSERT_FALSE(w.peers[1].peer.authenticated);
        world_fini(&w);
    }
}

static void
test_handshakes(void)
{
    set_up(false);
    const struct sasl_handshake_response *h = handshake(1, "PLAIN");
    CU_ASSERT_EQUAL(h->error_code, BUS_ERR_UNSUPPORTED_SASL_MECHANISM);
    CU_ASSERT_EQUAL(h->mechanisms_count, 2);
    CU_ASSERT(w.peers[1].answer.close);
    world_fini(&w);
    /* A listener without SASL. */
    set_up(false);
    listener.sasl = false;
    w.peers[1].peer.authenticated = true;
    h = handshake(0, "PLAIN");
    CU_ASSERT_EQUAL(h->error_code, BUS_ERR_ILLEGAL_SASL_STATE);
    CU_ASSERT_FALSE(w.peers[1].answer.close);
    CU_ASSERT_EQUAL(ask_metadata(), API_ANSWERED);
    world_fini(&w);
    /* A token without a handshake. */
    set_up(false);
    CU_ASSERT_PTR_NULL(authenticate("x", 1));
    world_pass(&w, 100);
    const struct sasl_authenticate_response *a = world_answer(&w, 1);
    CU_ASSERT_EQUAL(a->error_code, BUS_ERR_ILLEGAL_SASL_STATE);
    CU_ASSERT(w.peers[1].answer.close);
    world_fini(&w);
}

static void
test_plain(void)
{
    for (int tls = 0; tls <= 1; tls++) {
        set_up(tls);
        set_broker("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256");
        const struct sasl_handshake_response *h = handshake(1, "PLAIN");
        CU_ASSERT_EQUAL(h->error_code, tls ? 0 : BUS_ERR_UNSUPPORTED_SASL_MECHANISM);
        CU_ASSERT_EQUAL(h->mechanisms_count, 1 + tls);
        if (tls) {
            CU_ASSERT_EQUAL(authenticate("\0anna\0pencil", 12)->error_code, 0);
            CU_ASSERT_STRING_EQUAL(w.peers[1].peer.principal, "User:anna");
        }
        world_fini(&w);
    }
}

/** SaslHandshake 0: what follows has no header. */
static void
test_raw(void)
{
    set_up(true);
    set_broker("sasl.enabled.mechanisms", "PLAIN");
    struct api_peer *peer = &w.peers[1].peer;
    CU_ASSERT_EQUAL(handshake(0, "PLAIN")->error_code, 0);
    int before = w.peers[1].answers;
    CU_ASSERT_EQUAL(api_dispatch(w.api, peer, (const uint8_t *)"\0anna\0pencil", 12), API_ANSWERED);
    CU_ASSERT_EQUAL_FATAL(w.peers[1].answers, before + 1);
    CU_ASSERT_EQUAL_FATAL(w.peers[1].answer.frame.length, 4);
    CU_ASSERT_EQUAL(bytes_get_i32(w.peers[1].answer.frame.data), 0);
    CU_ASSERT_EQUAL(ask_metadata(), API_ANSWERED);
    CU_ASSERT_PTR_NOT_NULL(world_answer(&w, 1));
    world_fini(&w);
    /* A wrong one: closed without a word, later. */
    set_up(true);
    set_broker("sasl.enabled.mechanisms", "PLAIN");
    CU_ASSERT_EQUAL(handshake(0, "PLAIN")->error_code, 0);
    before = w.peers[1].answers;
    CU_ASSERT_EQUAL(
        api_dispatch(w.api, &w.peers[1].peer, (const uint8_t *)"\0anna\0pen", 9), API_PARKED);
    world_pass(&w, 100);
    CU_ASSERT_EQUAL(w.peers[1].answers, before + 1);
    CU_ASSERT_EQUAL(w.peers[1].answer.frame.length, 0);
    CU_ASSERT(w.peers[1].answer.close);
    world_fini(&w);
}

static void
test_expires(void)
{
    set_up(false);
    set_broker("connections.max.reauth.ms", "5000");
    CU_ASSERT_EQUAL(handshake(1, "SCRAM-SHA-256")->error_code, 0);
    CU_ASSERT_EQUAL(exchange("anna", salted)->session_lifetime_ms, 5000);
    world_pass(&w, 4000);
    CU_ASSERT_EQUAL(ask_metadata(), API_ANSWERED);
    CU_ASSERT_EQUAL(handshake(1, "SCRAM-SHA-256")->error_code, 0);
    CU_ASSERT_EQUAL(exchange("anna", salted)->error_code, 0);
    world_pass(&w, 4999);
    CU_ASSERT_EQUAL(ask_metadata(), API_ANSWERED);
    world_pass(&w, 1);
    CU_ASSERT_EQUAL(ask_metadata(), -BUS_ERR_SASL_AUTHENTICATION_FAILED);
    world_fini(&w);
    /* Not again and again, either. */
    set_up(false);
    CU_ASSERT_EQUAL(handshake(1, "SCRAM-SHA-256")->error_code, 0);
    CU_ASSERT_EQUAL(exchange("anna", salted)->error_code, 0);
    world_pass(&w, 999);
    CU_ASSERT_EQUAL(handshake(1, "SCRAM-SHA-256")->error_code, BUS_ERR_ILLEGAL_SASL_STATE);
    world_fini(&w);
}

/** Rules know it by the name that it has proved, and by its address. */
static void
test_rules(void)
{
    static const char *const closed[] = {"access.read=user:anna", "access.write=user:bert", NULL};
    set_up(false);
    world_topic(&w, "t", 1, closed);
    CU_ASSERT_EQUAL(handshake(1, "SCRAM-SHA-256")->error_code, 0);
    CU_ASSERT_EQUAL(exchange("anna", salted)->error_code, 0);
    struct list_offsets_request_topic_partition p = {.current_leader_epoch = -1, .timestamp = -1};
    struct list_offsets_request_topic t = {"t", &p, 1};
    struct list_offsets_request request = {.topics = &t, .topics_count = 1};
    const struct list_offsets_response *a = world_call(&w, 1, API_LIST_OFFSETS, 5, &request);
    CU_ASSERT_EQUAL(a->topics[0].partitions[0].error_code, 0);
    struct create_acls_request_creation rule = {
        ACL_TOPIC, "t", ACL_LITERAL, "User:*", "10.0.0.7", ACL_ALL, ACL_DENY};
    struct create_acls_request rules = {&rule, 1};
    const struct create_acls_response *added = world_call(&w, 0, API_CREATE_ACLS, 3, &rules);
    CU_ASSERT_EQUAL(added->results[0].error_code, 0);
    a = world_call(&w, 1, API_LIST_OFFSETS, 5, &request);
    CU_ASSERT_EQUAL(a->topics[0].partitions[0].error_code, BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    /* A user of this name is no administrator because root is one. */
    struct create_topics_request_topic topic = {
        .name = "x", .num_partitions = 1, .replication_factor = 1};
    struct create_topics_request create = {.topics = &topic, .topics_count = 1};
    const struct create_topics_response *c = world_call(&w, 1, API_CREATE_TOPICS, 5, &create);
    CU_ASSERT_EQUAL(c->topics[0].error_code, BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    world_fini(&w);
}

static const struct unit_case cases[] = {
    {"who proves to be somebody comes in", test_comes_in},
    {"who does not is told so late, and goes", test_stays_outside},
    {"handshakes that lead to nothing", test_handshakes},
    {"PLAIN only where nobody listens", test_plain},
    {"tokens without headers", test_raw},
    {"an authentication ends and is renewed", test_expires},
    {"rules and access lists know who came in", test_rules},
    {NULL, NULL},
};

void
register_api_sasl(void)
{
    unit_register("api_sasl", cases);
}
