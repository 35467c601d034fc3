/* The surroundings of sites: their sensors are read, each by a thread of its own, so that one that
 * does not answer delays no other, and what they say becomes a capacity factor (policy/envelope.h)
 * that is told to the cloud with each reading. One more thread looks several times a second at what
 * has become stale. So a reading acts within `every`, the time of its answer and nothing more; one
 * that does not come acts when the last is older than max_age. There are threads only where the
 * configuration names sensors. */
#ifndef SERVE_ENVIRONMENT_H
#define SERVE_ENVIRONMENT_H

#include "base/err.h"

struct server;
struct environment;

int environment_start(struct server *s, struct err *e);
/* Another configuration is in force: the threads of before end (within a second), those of this one
 * begin, and what sensors of the same name and quantity said goes on. On the thread of serve_run.
 */
int environment_swap(struct server *s, struct err *e);
void environment_stop(struct server *s); /* accepts one that never began */

#endif
