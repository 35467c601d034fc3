/* Idle nodes of sites, lent to Slurm: for each site with `slurm` in the configuration a thread that
 * looks four times a second at what the site has to do, decides (policy/lend_nodes.h), runs Slurm's
 * commands (serve/slurm.h) and tells the cloud, whose admission obeys. Nothing else waits for it or
 * for Slurm.
 *
 * Which nodes are lent only Slurm knows: it is asked at the start, again and again, and after each
 * change. While it does not answer, what was lent is taken as lent, and at the start all but the
 * nodes that always serve. When this ends, nodes stay as they are. */
#ifndef SERVE_NODE_LENDER_H
#define SERVE_NODE_LENDER_H

#include "base/err.h"

struct server;
struct node_lender;

int node_lender_start(struct server *s, struct err *e);
/* Another configuration is in force: the threads of before end, as soon as the command that one
 * runs was given up, those of this one begin, and what is known of nodes of the same name goes on.
 * On the thread of serve_run. */
int node_lender_swap(struct server *s, struct err *e);
void node_lender_stop(struct server *s); /* accepts one that never began */

#endif
