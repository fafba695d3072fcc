/* SPDX-License-Identifier: Apache-2.0 */
#include "core/listener.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    bool sasl, tls;
} protocols[] = {
    {"PLAINTEXT", false, false},
    {"SASL_PLAINTEXT", true, false},
    {"SSL", false, true},
    {"SASL_SSL", true, true},
};

enum { PROTOCOLS = sizeof protocols / sizeof protocols[0] };

static int
refuse(const char *word, size_t n, const char *why)
{
    return err_set(BUS_ERR_INVALID_CONFIG,
        "listener \"%.*s\": %s; expected [PROTOCOL://]HOST:PORT, as in 127.0.0.1:9092, [::1]:9092 "
        "or SASL_PLAINTEXT://192.0.2.1:9092",
        n > 100 ? 100 : (int)n, word, why);
}

/** Takes the protocol off the front, if there is one. False: it is none that is known. */
static bool
take_protocol(const char **word, size_t *n, struct listener_spec *spec)
{
    const char *mark = memmem(*word, *n, "://", 3);
    if (!mark)
        return true;
    size_t length = (size_t)(mark - *word);
    for (int i = 0; i < PROTOCOLS; i++) {
        if (strlen(protocols[i].name) != length ||
            strncasecmp(*word, protocols[i].name, length) != 0)
            continue;
        spec->sasl = protocols[i].sasl;
        spec->tls = protocols[i].tls;
        *word += length + 3;
        *n -= length + 3;
        return true;
    }
    return false;
}

/** Reads the port behind the last colon; the bytes before the colon, or -1. */
static long
take_port(const char *word, size_t n, uint16_t *port)
{
    size_t at = n;
    unsigned number = 0;
    while (at > 0 && word[at - 1] != ':')
        at--;
    if (at == 0 || at == n || n - at > 5)
        return -1;
    for (size_t i = at; i < n; i++) {
        if (word[i] < '0' || word[i] > '9')
            return -1;
        number = number * 10 + (unsigned)(word[i] - '0');
    }
    *port = (uint16_t)number;
    return number <= UINT16_MAX ? (long)at - 1 : -1;
}

static bool
is_host(const char *host, size_t n, bool bracketed)
{
    for (size_t i = 0; i < n; i++) {
        char c = host[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool plain = letter || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
        if (!plain && !(bracketed && (c == ':' || c == '%')))
            return false;
    }
    return true;
}

int
listener_parse(const char *word, size_t n, struct listener_spec *spec)
{
    const char *rest = word;
    size_t left = n;
    *spec = (struct listener_spec){0};
    if (!take_protocol(&rest, &left, spec))
        return refuse(
            word, n, "the protocol is none of PLAINTEXT, SASL_PLAINTEXT, SSL and SASL_SSL");
    long host_bytes = take_port(rest, left, &spec->port);
    if (host_bytes < 0)
        return refuse(word, n, "there is no port from 0 to 65535 at its end");
    bool bracketed = host_bytes >= 2 && rest[0] == '[' && rest[host_bytes - 1] == ']';
    if (bracketed) {
        rest++;
        host_bytes -= 2;
    }
    if (host_bytes > LISTENER_HOST_BYTES_MAX || !is_host(rest, (size_t)host_bytes, bracketed))
        return refuse(word, n, "the host is neither a name nor an address (IPv6 in brackets)");
    memcpy(spec->host, rest, (size_t)host_bytes);
    return 0;
}

int
listener_parse_list(const char *list, struct listener_spec specs[LISTENERS_MAX])
{
    int count = 0;
    while (*list) {
        size_t n = strcspn(list, ",");
        if (count == LISTENERS_MAX)
            return err_set(BUS_ERR_INVALID_CONFIG, "more than %d listeners", LISTENERS_MAX);
        int rc = listener_parse(list, n, &specs[count++]);
        if (rc < 0)
            return rc;
        list += n + (list[n] == ',');
    }
    return count;
}

static const char *
protocol_of(const struct listener_spec *spec)
{
    for (int i = 0; i < PROTOCOLS; i++)
        if (protocols[i].sasl == spec->sasl && protocols[i].tls == spec->tls)
            return protocols[i].name;
    return protocols[0].name;
}

void
listener_text(const struct listener_spec *spec, char text[LISTENER_TEXT_BYTES])
{
    bool v6 = strchr(spec->host, ':') != NULL;
    snprintf(text, LISTENER_TEXT_BYTES, "%s://%s%.255s%s:%u", protocol_of(spec), v6 ? "[" : "",
        spec->host, v6 ? "]" : "", (unsigned)spec->port);
}
