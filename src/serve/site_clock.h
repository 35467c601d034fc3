/* Tells the cloud what time it is, four times a second, as states of sites go by dates. A thread of
 * its own, so that nothing that is slow (a database, a feed) holds it up; there while the
 * configuration names sites. All functions: on the thread of serve_run. */
#ifndef SERVE_SITE_CLOCK_H
#define SERVE_SITE_CLOCK_H

#include "base/err.h"

struct server;
struct site_clock;

/* Before requests come, and when another configuration is in force: it is that time now. */
int site_clock_start(struct server *s, struct err *e);
void site_clock_stop(struct server *s); /* accepts one that never began */

#endif
