#include "net/url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("-._~", c));
}

/* Percent-encoded bytes become bytes, but for control bytes. */
static int take_user(const char *s, size_t n, char out[URL_USER_MAX])
{
    size_t k = 0;

    for (size_t i = 0; i < n; i++) {
        int c = (unsigned char)s[i];
        if (c == '%') {
            int high = i + 2 < n ? hex_value(s[i + 1]) : -1;
            int low = i + 2 < n ? hex_value(s[i + 2]) : -1;
            if (high < 0 || low < 0)
                return ERR_FORMAT;
            c = high << 4 | low;
            i += 2;
        }
        if (c < 0x20 || c == 0x7f || k + 1 >= URL_USER_MAX)
            return ERR_FORMAT;
        out[k++] = (char)c;
    }
    out[k] = 0;
    return 0;
}

static int take_port(const char *s, size_t n, struct url *u)
{
    int port = 0;

    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9' || port > 65535)
            return ERR_FORMAT;
        port = port * 10 + (s[i] - '0');
    }
    if (!n || port < 1 || port > 65535)
        return ERR_FORMAT;
    u->is_default_port = port == u->port;
    u->port = port;
    return 0;
}

static int take_host(const char *s, size_t n, struct url *u)
{
    unsigned char address[16];

    if (!n || n >= URL_HOST_MAX)
        return ERR_FORMAT;
    memcpy(u->host, s, n);
    u->host[n] = 0;
    if (u->is_bracketed) {
        u->is_address = 1;
        return inet_pton(AF_INET6, u->host, address) == 1 ? 0 : ERR_FORMAT;
    }
    for (size_t i = 0; i < n; i++) {
        if (!is_name(s[i]))
            return ERR_FORMAT;
    }
    u->is_address = inet_pton(AF_INET, u->host, address) == 1;
    return 0;
}

static int take_authority(const char *s, size_t n, struct url *u)
{
    const char *at = memrchr(s, '@', n), *end = s + n, *colon;

    if (at) {
        if (at == s || take_user(s, (size_t)(at - s), u->user))
            return ERR_FORMAT;
        s = at + 1;
    }
    if (s < end && *s == '[') {
        const char *close = memchr(s, ']', (size_t)(end - s));
        if (!close)
            return ERR_FORMAT;
        u->is_bracketed = 1;
        if (take_host(s + 1, (size_t)(close - s - 1), u))
            return ERR_FORMAT;
        if (close + 1 == end)
            return 0;
        return close[1] == ':' ? take_port(close + 2, (size_t)(end - close - 2), u) : ERR_FORMAT;
    }
    colon = memchr(s, ':', (size_t)(end - s));
    if (take_host(s, (size_t)((colon ? colon : end) - s), u))
        return ERR_FORMAT;
    return colon ? take_port(colon + 1, (size_t)(end - colon - 1), u) : 0;
}

int url_parse(const char *text, struct url *ret)
{
    struct url u = {.is_default_port = 1};
    const char *s;
    size_t n;

    if (strlen(text) > URL_MAX)
        return ERR_FORMAT;
    for (s = text; *s; s++) {
        if ((unsigned char)*s <= 0x20 || (unsigned char)*s >= 0x7f || strchr("?#\\\"<>", *s))
            return ERR_FORMAT;
    }
    if (!strncasecmp(text, "http://", 7))
        u.port = 80;
    else if (!strncasecmp(text, "https://", 8))
        u.port = 443;
    else
        return ERR_FORMAT;
    u.is_tls = u.port == 443;
    s = text + (u.is_tls ? 8 : 7);
    n = strcspn(s, "/");
    u.path = s + n;
    if (take_authority(s, n, &u))
        return ERR_FORMAT;
    *ret = u;
    return 0;
}

void url_authority(const struct url *u, int with_port, char out[URL_AUTHORITY_MAX])
{
    int n = snprintf(out, URL_AUTHORITY_MAX, u->is_bracketed ? "[%s]" : "%s", u->host);

    if (with_port || !u->is_default_port)
        snprintf(out + n, URL_AUTHORITY_MAX - (size_t)n, ":%d", u->port);
}
