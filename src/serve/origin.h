/* Which web pages may call, by what browsers say of where a request comes from.
 *
 * Without keys a browser is a way in for everybody whose page it shows: from another site (Origin,
 * Sec-Fetch-Site), or under a name of the attacker's own that was made to lead here (Host: DNS
 * rebinding). Clients that are no browsers send neither Origin nor Sec-Fetch-Site, and are not
 * judged by them. Any thread. */
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
/* 1 when no page of elsewhere asks, whatever may call: no foreign host name, no foreign origin. */
int origin_is_own(const struct serve_config *c, const struct origin_ask *a);

/* What the settings may hold: "scheme://host[:port]", "null", "*" or "none"; a name or address
 * without port, or "*". */
int origin_is_valid(const char *text);
int origin_host_is_valid(const char *text);

#endif
