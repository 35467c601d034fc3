#include "serve/origin.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define NAME_MAX_BYTES 256 /* of a host: DNS allows 253 */

/* ---- hosts ----------------------------------------------------------------------------------- */

/* "name:80", "[::1]:80", "name" -> the name without brackets, one final dot and port. The port's
 * text ("" where there is none), or NULL: malformed. */
static const char *split_host(const char *text, char name[NAME_MAX_BYTES])
{
    const char *end, *port;
    size_t n;

    if (*text == '[') {
        end = strchr(++text, ']');
        if (!end)
            return NULL;
        port = end + 1;
    } else {
        end = port = text + strcspn(text, ":");
    }
    n = (size_t)(end - text);
    if (n > 1 && text[n - 1] == '.')
        n--;
    if (!n || n >= NAME_MAX_BYTES || (*port && *port != ':'))
        return NULL;
    memcpy(name, text, n);
    name[n] = 0;
    port += *port == ':';
    return strspn(port, "0123456789") == strlen(port) ? port : NULL;
}

/* An address as 16 bytes: IPv4 as it is mapped into IPv6. Zones do not matter here. */
static int read_address(const char *name, struct in6_addr *ret)
{
    char text[NAME_MAX_BYTES];
    struct in_addr four;

    snprintf(text, sizeof text, "%.*s", (int)strcspn(name, "%"), name);
    if (inet_pton(AF_INET6, text, ret) == 1)
        return 1;
    if (inet_pton(AF_INET, text, &four) != 1)
        return 0;
    *ret = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(ret->s6_addr + 12, &four, 4);
    return 1;
}

static int is_loopback(const struct in6_addr *a)
{
    return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
}

/* The machine's own name, as others on its network call it. */
static int is_own_name(const char *name)
{
    char own[NAME_MAX_BYTES];
    size_t n;

    if (gethostname(own, sizeof own))
        return 0;
    own[sizeof own - 1] = 0;
    n = strlen(own);
    return n && !strncasecmp(name, own, n) && (!name[n] || !strcasecmp(name + n, ".local"));
}

static int is_same_host(const char *a, const char *b)
{
    struct in6_addr x, y;

    if (read_address(a, &x) && read_address(b, &y))
        return !memcmp(&x, &y, sizeof x);
    return !strcasecmp(a, b);
}

static int is_our_host(const struct serve_config *c, const char *name)
{
    struct in6_addr a;

    if (!strcasecmp(name, "localhost") || is_same_host(name, c->host))
        return 1;
    for (int i = 0; i < c->allowed_hosts.n; i++) {
        char allowed[NAME_MAX_BYTES];
        const char *v = c->allowed_hosts.v[i];
        if (!strcmp(v, "*"))
            return 1;
        /* Without brackets, an IPv6 address is not to be split at its colons. */
        if (is_same_host(name, v) || (split_host(v, allowed) && is_same_host(name, allowed)))
            return 1;
    }
    /* DNS rebinding needs a host name: with an address in Host the browser went to that address. */
    if (read_address(name, &a))
        return c->is_wide || is_loopback(&a);
    return c->is_wide && is_own_name(name);
}

static int check_host(const struct serve_config *c, const char *host, struct err *e)
{
    char name[NAME_MAX_BYTES];

    if (!host || !*host)
        return 0; /* a browser always sends Host */
    if (!split_host(host, name))
        return err_set(e, ERR_FORBIDDEN, "The Host header is no host and port.");
    if (is_our_host(c, name))
        return 0;
    return err_set(e, ERR_FORBIDDEN,
                   "This server has no API keys, and does not answer to the host name '%s', which "
                   "may be a web site's trick. If it is yours, start gaufre with --allowed-hosts "
                   "%s (setting allowed_hosts), or with --keys.",
                   name, name);
}

/* ---- origins --------------------------------------------------------------------------------- */

/* Does the page at `origin` come from the host that it asks? The schemes may differ, as a proxy in
 * front may have TLS. */
static int is_same_origin(const char *origin, const char *host)
{
    char from[NAME_MAX_BYTES], to[NAME_MAX_BYTES];
    const char *at = strstr(origin, "://"), *port_from, *port_to, *usual;

    if (!at || !(port_from = split_host(at + 3, from)) || !(port_to = split_host(host, to)))
        return 0;
    usual = !strncasecmp(origin, "https:", 6) ? "443" : "80";
    return is_same_host(from, to) &&
           !strcmp(*port_from ? port_from : usual, *port_to ? port_to : usual);
}

/* Pages cannot write Sec-Fetch-Site; where there is none, the browser is old or the page came
 * without TLS from another machine. */
int origin_is_own_page(const struct origin_ask *a)
{
    if (a->site && *a->site)
        return !strcmp(a->site, "same-origin") || !strcmp(a->site, "none");
    return !a->origin || !*a->origin || is_same_origin(a->origin, a->host ? a->host : "");
}

int origin_is_own(const struct serve_config *c, const struct origin_ask *a)
{
    return !check_host(c, a->host, NULL) && origin_is_own_page(a);
}

/* The origin as configured that lets this one in, "*", or NULL. */
static const char *allowing(const struct serve_config *c, const char *origin)
{
    if (!c->cors_origin.n)
        return serve_has_keys(c) ? "*" : NULL;
    for (int i = 0; i < c->cors_origin.n; i++) {
        const char *v = c->cors_origin.v[i];
        if (!strcmp(v, "*") || (strcmp(v, "none") && !strcasecmp(v, origin)))
            return v;
    }
    return NULL;
}

static int foreign(const char *origin, const char *site, struct err *e)
{
    if (*origin)
        return err_set(e, ERR_FORBIDDEN,
                       "Web pages of the origin '%.150s' may not call this server. If they are "
                       "yours, start gaufre with --cors-origin '%.150s' (setting cors_origin).",
                       origin, origin);
    return err_set(e, ERR_FORBIDDEN,
                   "A web page of another site (%.20s) may not call this server. If it is yours, "
                   "let it use CORS, and start gaufre with --cors-origin and the page's origin "
                   "(setting cors_origin).",
                   site);
}

int origin_check(const struct serve_config *c, const struct origin_ask *a, const char **ret_cors,
                 struct err *e)
{
    const char *origin = a->origin ? a->origin : "", *site = a->site ? a->site : "";
    int r = serve_has_keys(c) ? 0 : check_host(c, a->host, e);

    *ret_cors = NULL;
    if (r)
        return r;
    *ret_cors = allowing(c, origin);
    if (*ret_cors || origin_is_own_page(a))
        return 0;
    /* A link on another site that leads to this server's page may be followed: the other site
     * cannot read what is shown. */
    if (a->is_page && !*origin && a->mode && !strcmp(a->mode, "navigate"))
        return 0;
    return foreign(origin, site, e);
}

/* ---- settings -------------------------------------------------------------------------------- */

int origin_is_valid(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t scheme = strspn(text, letters);
    const char *rest;

    if (!strcmp(text, "*") || !strcmp(text, "none") || !strcmp(text, "null"))
        return 1;
    if (!scheme)
        return 0;
    scheme += strspn(text + scheme, "+-.0123456789abcdefghijklmnopqrstuvwxyz");
    if (strncmp(text + scheme, "://", 3))
        return 0;
    rest = text + scheme + 3;
    return *rest && strlen(text) < 200 && !strpbrk(rest, "/\\?#*\"' \t,");
}

int origin_host_is_valid(const char *text)
{
    char name[NAME_MAX_BYTES];
    struct in6_addr a;

    if (!strcmp(text, "*") || read_address(text, &a))
        return 1;
    if (*text == '[')
        return text[strlen(text) - 1] == ']' && split_host(text, name) && read_address(name, &a);
    return !strpbrk(text, ":/\\?#*\"' \t") && split_host(text, name);
}
