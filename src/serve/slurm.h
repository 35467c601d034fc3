/* Slurm by its commands: what its nodes do, and what they shall do. Each call runs a command or
 * two, waits for them no longer than their time limit, and reads what they say with a limit on its
 * size. Any thread. */
#ifndef SERVE_SLURM_H
#define SERVE_SLURM_H

#include "serve/serve.h"
#include "serve/slurm_text.h"

struct slurm {
    const struct serve_slurm *terms;
    int (*is_over)(void *ctx); /* asked several times a second; not 0: give up */
    void *ctx;
};

/* All of the nodes of its terms, in their order. The errors of command_run and slurm_nodes_read. */
int slurm_ask(const struct slurm *s, struct slurm_node *ret, struct err *e);
/* Other work may use a node from now on, or may not: what is on it goes on. */
int slurm_lend(const struct slurm *s, const char *node, struct err *e);
int slurm_drain(const struct slurm *s, const char *node, struct err *e);
/* What is on a node is ended, and put back into the queue by Slurm; nothing is cancelled. *ret_n:
 * how many jobs that were. The error is of the first that could not be put back: others were tried
 * all the same. */
int slurm_requeue(const struct slurm *s, const char *node, int *ret_n, struct err *e);

#endif
