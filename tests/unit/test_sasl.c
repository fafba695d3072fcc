/* SPDX-License-Identifier: Apache-2.0
 * SCRAM with the example of RFC 7677 (and one of SHA-512 that another program has worked out),
 * PLAIN, and the order of things.
 */
#include "core/base64.h"
#include "core/sasl.h"

#include "unit/unit.h"

#include <bus/errors.h>
#include <string.h>

static const char first_256[] = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
static const char nonce_256[] = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
static const char challenge_256[] =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
static const char final_256[] = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                                "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
static const char signature_256[] = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

static const char first_512[] = "n,,n=user,r=mTc7p0nuLB4ZJ4t4";
static const char nonce_512[] = "3rfcNHYJY1ZVvWVs7j";
static const char final_512[] =
    "c=biws,r=mTc7p0nuLB4ZJ4t43rfcNHYJY1ZVvWVs7j,p=z7ZwLeeTq1BleSlUY940eATpNyJebLxYAsj+BeRotZAAda7"
    "jTYBXxLG7P23SuVMZW34n7opUePglMgi++S0j1w==";
static const char signature_512[] = "v=FLFaiejneJk01jCpqoqPzJ5Jpccmhr3XD5vX6J4H1EZscEBmk2e7W9/VmPsM"
                                    "mGpqjPSmHNp7bjLfS2BRS0A82A==";

static const uint8_t secret[SCRAM_SECRET_BYTES] = {1, 2, 3};

static struct {
    struct user_set users;
    struct sasl sasl;
    struct sasl_world world;
    struct buf out;
} t;

static void
add_user(const char *name, enum scram_mechanism mechanism, const char *salt, const char *password)
{
    struct scram_credential credential = {.mechanism = mechanism, .iterations = 4096};
    uint8_t salted[CRYPTO_BYTES_MAX];
    struct buf bytes;
    buf_init(&bytes);
    CU_ASSERT_EQUAL_FATAL(base64_take(&bytes, salt, strlen(salt)), 0);
    memcpy(credential.salt, bytes.data, bytes.length);
    credential.salt_bytes = bytes.length;
    buf_fini(&bytes);
    struct crypto_password salting = {
        password, strlen(password), credential.salt, credential.salt_bytes, 4096};
    CU_ASSERT_EQUAL_FATAL(crypto_salted(scram_hash(mechanism), &salting, salted), 0);
    CU_ASSERT_EQUAL_FATAL(scram_keys(&credential, salted), 0);
    CU_ASSERT_EQUAL_FATAL(scram_check(&credential), 0);
    CU_ASSERT_EQUAL_FATAL(user_set_reserve(&t.users), 0);
    CU_ASSERT_PTR_NULL(user_set_put(&t.users, user_row_new(name, &credential)));
}

static void
begin(void)
{
    memset(&t, 0, sizeof t);
    add_user("user", SCRAM_SHA_256, "W22ZaJ0SNY7soEsUEjb6gQ==", "pencil");
    add_user("user", SCRAM_SHA_512, "Yin2FuHTt/M0kJWb0t9OI32n2VmOGi3m+JfjOvuDF88=", "pencil");
    add_user("a,b=c", SCRAM_SHA_256, "W22ZaJ0SNY7soEsUEjb6gQ==", "pen");
    t.world = (struct sasl_world){&t.users, secret, nonce_256};
}

static void
end(void)
{
    sasl_fini(&t.sasl);
    user_set_fini(&t.users);
    buf_fini(&t.out);
}

static int
step_bytes(const char *token, size_t n)
{
    buf_clear(&t.out);
    return sasl_step(&t.sasl, &t.world, (const uint8_t *)token, n, &t.out);
}

static int
step(const char *token)
{
    return step_bytes(token, strlen(token));
}

static bool
said(const char *text)
{
    return t.out.length == strlen(text) && memcmp(t.out.data, text, t.out.length) == 0;
}

static int
choose(const char *mechanism)
{
    return sasl_choose(&t.sasl, SASL_ALL, mechanism, false);
}

static void
test_example(void)
{
    begin();
    CU_ASSERT_EQUAL(choose("SCRAM-SHA-256"), 0);
    CU_ASSERT_EQUAL(step(first_256), SASL_MORE);
    CU_ASSERT(said(challenge_256));
    CU_ASSERT_FALSE(t.sasl.authenticated);
    CU_ASSERT_EQUAL(step(final_256), SASL_DONE);
    CU_ASSERT(said(signature_256));
    CU_ASSERT(t.sasl.authenticated);
    CU_ASSERT_STRING_EQUAL(t.sasl.user, "user");
    /* Renewed by the same mechanism and the same user. */
    CU_ASSERT_EQUAL(choose("SCRAM-SHA-512"), -BUS_ERR_ILLEGAL_SASL_STATE);
    CU_ASSERT_EQUAL(choose("SCRAM-SHA-256"), 0);
    CU_ASSERT_EQUAL(step(first_256), SASL_MORE);
    CU_ASSERT_EQUAL(step(final_256), SASL_DONE);
    end();
}

static void
test_example_512(void)
{
    begin();
    t.world.nonce = nonce_512;
    CU_ASSERT_EQUAL(choose("SCRAM-SHA-512"), 0);
    CU_ASSERT_EQUAL(step(first_512), SASL_MORE);
    CU_ASSERT_EQUAL(step(final_512), SASL_DONE);
    CU_ASSERT(said(signature_512));
    end();
}

/** One exchange with these two messages, from the start. */
static int
exchange(const char *first, const char *last)
{
    begin();
    CU_ASSERT_EQUAL_FATAL(choose("SCRAM-SHA-256"), 0);
    int rc = step(first);
    if (rc == SASL_MORE)
        rc = step(last);
    CU_ASSERT(rc == 0 || !t.sasl.authenticated);
    CU_ASSERT(rc == 0 || t.sasl.state == SASL_ENDED);
    if (rc < 0)
        CU_ASSERT_EQUAL(step(last), -BUS_ERR_ILLEGAL_SASL_STATE);
    end();
    return rc;
}

static void
test_lies(void)
{
    static const int wrong = -BUS_ERR_SASL_AUTHENTICATION_FAILED;
    static const char head[] = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    char text[300];
    CU_ASSERT_EQUAL(exchange(first_256, final_256), 0);
    /* A proof that is wrong in its last bits, too short, too long, no Base64, missing. */
    static const char *const proofs[] = {"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVU=",
        "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndQ==",
        "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQA",
        "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7!ndVQ=", "p=", "", "x=AAAA"};
    for (size_t i = 0; i < sizeof proofs / sizeof proofs[0]; i++) {
        snprintf(text, sizeof text, "%s,%s", head, proofs[i]);
        CU_ASSERT_EQUAL(exchange(first_256, text), wrong);
    }
    /* Another nonce, another header, another order. */
    static const char *const lasts[] = {
        "c=biws,r=rOprNGfwEbeRWgbNEkqO,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "c=eSws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,c=biws,"
        "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", ",p=AA==", "", "c="};
    for (size_t i = 0; i < sizeof lasts / sizeof lasts[0]; i++)
        CU_ASSERT_EQUAL(exchange(first_256, lasts[i]), wrong);
    static const char *const firsts[] = {"", "n", "n,", "n,,", "n,,n=user",
        "n,,n=user,r=", "n,,r=abc,n=user", "p=tls-unique,,n=user,r=abc", "n,,m=x,n=user,r=abc",
        "n,,n=,r=abc", "n,,n=us=er,r=abc", "n,,n=us=2cer,r=abc", "n,,n=user=,r=abc",
        "n,,n=user,r=a b", "n,a=other,n=user,r=abc", "n,a=,n=user,r=abc", "n,a=user",
        "x,,n=user,r=abc"};
    for (size_t i = 0; i < sizeof firsts / sizeof firsts[0]; i++)
        CU_ASSERT_EQUAL(exchange(firsts[i], final_256), wrong);
}

/** Each byte of both messages changed in turn, and each prefix: never somebody. */
static void
test_damage(void)
{
    char text[sizeof final_256];
    for (size_t i = 0; i < sizeof final_256 - 1; i++) {
        memcpy(text, final_256, sizeof text);
        text[i] ^= 1;
        CU_ASSERT(exchange(first_256, text) < 0);
        memcpy(text, final_256, sizeof text);
        text[i] = '\0';
        CU_ASSERT(exchange(first_256, text) < 0);
    }
    for (size_t i = 0; i < sizeof first_256 - 1; i++) {
        memcpy(text, first_256, sizeof first_256);
        text[i] = '\0';
        CU_ASSERT(exchange(text, final_256) < 0);
    }
}

/** librdkafka before 2.6.1 says its nonce twice; nothing else that is signed rightly counts. */
static void
test_nonces(void)
{
    CU_ASSERT_EQUAL(exchange(first_256,
                        "c=biws,r=rOprNGfwEbeRWgbNEkqOrOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)"
                        "hNlF$k0,p=1Y75+q7XaCGJj/r6vyQWwoNxSzV5ksS8xhp5Lqyriec="),
        0);
    static const char *const others[] = {
        "c=biws,r=xxxxxxxxxxxxxxxxxxxxrOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=D5/"
        "yDWypKZZm5PtUX5Sp2liYskLPrXxTbd5REtAnAsQ=",
        "c=biws,r=rOprNGfwEbeRWgbNEkqOrOprNGfwEbeRWgbNEkqOrOprNGfwEbeRWgbNEkqO%"
        "hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=4EpKIrw4Ag40JVwq2/qNwfdcyGKlY0pjt2aLjlNtUbg=",
        "c=biws,r=%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=DDs6EleEU2fQG3UinzT3Cz/6xFftfZLYMjtah5w9aJA=",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        "p=popbFli63PTbY6QjosDhBtvcjjcIuNjpqHKXzYqfK30="};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        CU_ASSERT_EQUAL(exchange(first_256, others[i]), -BUS_ERR_SASL_AUTHENTICATION_FAILED);
}

static void
test_lengths(void)
{
    static char long_one[SASL_TOKEN_BYTES_MAX + 2];
    memset(long_one, 'x', sizeof long_one);
    memcpy(long_one, "n,,n=", 5);
    begin();
    CU_ASSERT_EQUAL(choose("SCRAM-SHA-256"), 0);
    CU_ASSERT_EQUAL(
        step_bytes(long_one, SASL_TOKEN_BYTES_MAX + 1), -BUS_ERR_SASL_AUTHENTICATION_FAILED);
    end();
    /* A name of 255 bytes is somebody unknown, one of 256 is none. */
    for (size_t n = USER_NAME_BYTES_MAX; n <= USER_NAME_BYTES_MAX + 1; n++) {
        memset(long_one + 5, 'x', n);
        memcpy(long_one + 5 + n, ",r=abc", 7);
        begin();
        CU_ASSERT_EQUAL(choose("SCRAM-SHA-256"), 0);
        CU_ASSERT_EQUAL(step(long_one),
            n == USER_NAME_BYTES_MAX ? (int)SASL_MORE : -BUS_ERR_SASL_AUTHENTICATION_FAILED);
        end();
    }
}

/** Who is unknown gets a salt too, each time the same, another than others. */
static void
test_unknown(void)
{
    char before[200] = "", other[200] = "";
    for (int i = 0; i < 3; i++) {
        begin();
        CU_ASSERT_EQUAL(choose("SCRAM-SHA-256"), 0);
        CU_ASSERT_EQUAL(step(i < 2 ? "n,,n=who,r=abc" : "n,,n=whose,r=abc"), SASL_MORE);
        CU_ASSERT_FATAL(t.out.length < sizeof before);
        memset(other, 0, sizeof other);
        memcpy(other, t.out.data, t.out.length);
        CU_ASSERT(i == 0 || (strcmp(before, other) == 0) == (i == 1));
        memcpy(before, other, sizeof before);
        CU_ASSERT_PTR_NOT_NULL(strstr(other, ",i=8192"));
        CU_ASSERT_EQUAL(step(final_256), -BUS_ERR_SASL_AUTHENTICATION_FAILED);
        end();
    }
}

static void
test_names(void)
{
    begin();
    CU_ASSERT_EQUAL(choose("SCRAM-SHA-256"), 0);
    CU_ASSERT_EQUAL(step("y,a=a=2Cb=3Dc,n=a=2Cb=3Dc,r=abc"), SASL_MORE);
    CU_ASSERT_STRING_EQUAL(t.sasl.scram.user, "a,b=c");
    CU_ASSERT(t.sasl.scram.known);
    end();
}

static int
plain(const char *token, size_t n)
{
    sasl_fini(&t.sasl);
    t.sasl = (struct sasl){0};
    CU_ASSERT_EQUAL_FATAL(choose("PLAIN"), 0);
    int rc = step_bytes(token, n);
    CU_ASSERT_EQUAL(t.sasl.authenticated, rc == 0);
    CU_ASSERT_EQUAL(t.out.length, 0);
    return rc;
}

#define PLAIN_OF(text) plain(text, sizeof text - 1)

static void
test_plain(void)
{
    static const int wrong = -BUS_ERR_SASL_AUTHENTICATION_FAILED;
    begin();
    CU_ASSERT_EQUAL(PLAIN_OF("\0user\0pencil"), SASL_DONE);
    CU_ASSERT_STRING_EQUAL(t.sasl.user, "user");
    CU_ASSERT_EQUAL(PLAIN_OF("user\0user\0pencil"), SASL_DONE);
    CU_ASSERT_EQUAL(PLAIN_OF("other\0user\0pencil"), wrong);
    CU_ASSERT_EQUAL(PLAIN_OF("\0user\0pencils"), wrong);
    CU_ASSERT_EQUAL(PLAIN_OF("\0user\0penci"), wrong);
    CU_ASSERT_EQUAL(PLAIN_OF("\0user\0"), wrong);
    CU_ASSERT_EQUAL(PLAIN_OF("\0user\0pencil\0"), wrong);
    CU_ASSERT_EQUAL(PLAIN_OF("\0user"), wrong);
    CU_ASSERT_EQUAL(PLAIN_OF("\0nobody\0pencil"), wrong);
    CU_ASSERT_EQUAL(PLAIN_OF("\0\0pencil"), wrong);
    CU_ASSERT_EQUAL(PLAIN_OF(""), wrong);
    end();
}

static void
test_order(void)
{
    begin();
    CU_ASSERT_EQUAL(step(first_256), -BUS_ERR_ILLEGAL_SASL_STATE);
    end();
    begin();
    CU_ASSERT_EQUAL(choose("GSSAPI"), -BUS_ERR_UNSUPPORTED_SASL_MECHANISM);
    CU_ASSERT_EQUAL(choose(NULL), -BUS_ERR_UNSUPPORTED_SASL_MECHANISM);
    CU_ASSERT_EQUAL(sasl_choose(&t.sasl, SASL_ALL & ~(unsigned)SASL_PLAIN, "PLAIN", false),
        -BUS_ERR_UNSUPPORTED_SASL_MECHANISM);
    CU_ASSERT_EQUAL(choose("SCRAM-SHA-256"), 0);
    CU_ASSERT_EQUAL(choose("SCRAM-SHA-256"), -BUS_ERR_ILLEGAL_SASL_STATE);
    end();
    /* Another user cannot take over. */
    begin();
    CU_ASSERT_EQUAL(choose("PLAIN"), 0);
    CU_ASSERT_EQUAL(step_bytes("\0user\0pencil", 12), SASL_DONE);
    CU_ASSERT_EQUAL(choose("PLAIN"), 0);
    CU_ASSERT_EQUAL(step_bytes("\0a,b=c\0pen", 10), -BUS_ERR_SASL_AUTHENTICATION_FAILED);
    CU_ASSERT_STRING_EQUAL(t.sasl.user, "user");
    end();
}

static void
test_base64(void)
{
    static const char *const good[] = {"", "AA==", "AAA=", "AAAA", "/+9z", "AAECAwQ="};
    static const char *const bad[] = {"A", "AA", "AAA", "A===", "====", "AB==", "AAB=", "AA=A",
        "AA\n=", "AA==AAAA", "A-_A", "AAA==", "AAAA "};
    struct buf bytes, text;
    buf_init(&bytes);
    buf_init(&text);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        buf_clear(&bytes);
        buf_clear(&text);
        CU_ASSERT_EQUAL(base64_take(&bytes, good[i], strlen(good[i])), 0);
        base64_put(&text, bytes.data, bytes.length);
        CU_ASSERT_EQUAL_FATAL(text.length, strlen(good[i]));
        CU_ASSERT(text.length == 0 || memcmp(text.data, good[i], text.length) == 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_EQUAL(base64_take(&bytes, bad[i], strlen(bad[i])), -BUS_ERR_INVALID_REQUEST);
    buf_fini(&bytes);
    buf_fini(&text);
}

static void
test_credentials(void)
{
    struct scram_credential c = {.mechanism = SCRAM_SHA_256, .iterations = 4096, .salt_bytes = 1};
    CU_ASSERT_EQUAL(scram_check(&c), 0);
    c.iterations = SCRAM_ITERATIONS_MAX;
    CU_ASSERT_EQUAL(scram_check(&c), 0);
    c.iterations++;
    CU_ASSERT_EQUAL(scram_check(&c), -BUS_ERR_UNACCEPTABLE_CREDENTIAL);
    c.iterations = 4095;
    CU_ASSERT_EQUAL(scram_check(&c), -BUS_ERR_UNACCEPTABLE_CREDENTIAL);
    c.iterations = 4096;
    c.salt_bytes = 0;
    CU_ASSERT_EQUAL(scram_check(&c), -BUS_ERR_UNACCEPTABLE_CREDENTIAL);
    c.salt_bytes = 255;
    CU_ASSERT_EQUAL(scram_check(&c), 0);
    c.mechanism = (enum scram_mechanism)3;
    CU_ASSERT_EQUAL(scram_check(&c), -BUS_ERR_UNSUPPORTED_SASL_MECHANISM);
    CU_ASSERT_EQUAL(user_check_name(""), -BUS_ERR_UNACCEPTABLE_CREDENTIAL);
    CU_ASSERT_EQUAL(user_check_name(NULL), -BUS_ERR_UNACCEPTABLE_CREDENTIAL);
    CU_ASSERT_EQUAL(user_check_name("x"), 0);
}

static const struct unit_case cases[] = {
    {"SCRAM-SHA-256 as in RFC 7677, and once more", test_example},
    {"SCRAM-SHA-512", test_example_512},
    {"who lies is not admitted", test_lies},
    {"messages with a changed byte, or cut, admit nobody", test_damage},
    {"the nonce of an older librdkafka", test_nonces},
    {"long tokens and names", test_lengths},
    {"unknown users cannot be told from others", test_unknown},
    {"names with commas and equals signs", test_names},
    {"PLAIN", test_plain},
    {"what comes out of turn is refused", test_order},
    {"Base64 has one form", test_base64},
    {"credentials are checked", test_credentials},
    {NULL, NULL},
};

void
register_sasl(void)
{
    unit_register("sasl", cases);
}
