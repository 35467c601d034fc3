/* Which web pages may call, by the headers with which a browser says where a request comes from.
 *
 * Without keys every page that a user opens could call this server through the user's browser: a
 * page of another site (seen by Origin and Sec-Fetch-Site), or one whose host name was made to
 * resolve to this machine (DNS rebinding, seen by Host). Clients that are not browsers send neither
 * Origin nor Sec-Fetch-Site, and are not judged by them. Any thread. */
#ifndef SERVE_ORIGIN_H
#define SERVE_ORIGIN_H

#include "serve/serve.h"

/* Of a request: "" or NULL where nothing was sent. */
struct origin_ask {
    const char *host;   /* Host, or that of the target */
    const char *origin; /* Origin */
    const char *site;   /* Sec-Fetch-Site */
    const char *mode;   /* Sec-Fetch-Mode */
    int is_page;        /* a file of the page is asked for */
};

/* May it be run? 0, or ERR_FORBIDDEN and what to set. *ret_cors, in either case: the value of
 * Access-Control-Allow-Origin (lives as long as `c`), or NULL. */
int origin_check(const struct serve_config *c, const struct origin_ask *a, const char **ret_cors,
                 struct err *e);
/* 1 when the request does not come from a page of another site: neither its host name nor its
 * origin is foreign. The settings that let pages call do not matter here. */
int origin_is_own(const struct serve_config *c, const struct origin_ask *a);

/* 1 when no page of another site sent it, whatever the host is called. */
int origin_is_own_page(const struct origin_ask *a);

/* What the settings may hold: "scheme://host[:port]", "null", "*" or "none"; a name or address
 * without port, or "*". */
int origin_is_valid(const char *text);
int origin_host_is_valid(const char *text);

#endif
