/* A decision of policy/route as one line of text, so that it can be made again later: all that it
 * depended on, as numbers, and the names of the offers. Several follow one another, in the order in
 * which they were taken.
 *
 *   r2 STRATEGY TIER NEEDS RESIDENCY TOKENS DRAW AFFINITY N  then N times
 *   NAME ID HEALTH FLAGS KEY WAIT TIERS LACKS RESIDENCY CONTEXT WAITING RUNNING CAPACITY WEIGHT
 *   TTFT TTFT_AGE JOB PRICE PRICE_MAX RTT
 *
 * Records that begin with r1 have no RTT; they are read too.
 *
 * Reading takes foreign bytes: what it accepts, policy/route can be asked about. Pure functions. */
#ifndef CLOUD_ROUTE_RECORD_H
#define CLOUD_ROUTE_RECORD_H

#include "base/buf.h"
#include "policy/route.h"

#define ROUTE_RECORD_NAME_MAX  256
#define ROUTE_RECORD_BYTES_MAX ((size_t)64 << 10) /* of all decisions of one request */

struct route_record {
    struct route_request request;
    struct route_offer offer[ROUTE_OFFERS_MAX];
    char name[ROUTE_OFFERS_MAX][ROUTE_RECORD_NAME_MAX];
    int n;
};

/* Add one. 0 or the buffer's failure. */
int route_record_put(struct buf *out, const struct route_request *r, const struct route_offer *o,
                     const char *const *names, int n);
/* Read the next one at *at. 1: *ret has it, and *at is behind it; 0: there is none; ERR_FORMAT. */
int route_record_read(const char **at, struct route_record *ret);

#endif
