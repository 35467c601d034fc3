/* What Slurm's scontrol and squeue print, turned into states of nodes and numbers of jobs, or
 * refused. All of it was written by others. Pure functions. */
#ifndef SERVE_SLURM_TEXT_H
#define SERVE_SLURM_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "policy/lend_nodes.h"

#define SLURM_REPLY_MAX ((size_t)256 << 10)
#define SLURM_REASON    "gaufre" /* nodes that this program holds back say so first */
#define SLURM_JOBS_MAX  256      /* of a node that are looked at together */
/* Jobs that occupy a node and are not ending already. What has ended must not run again. */
#define SLURM_JOB_STATES "RUNNING,CONFIGURING,SUSPENDED,STOPPED,SIGNALING,RESIZING"

/* A node as Slurm has it. What is not drained is lent, whether or not it is up: it would be used as
 * soon as it is. What is drained with jobs on it returns. What is drained, down, or held back by
 * somebody else serves and is withheld. */
struct slurm_node {
    enum lend_state state;
    int is_ours; /* drained, and for our reason */
};

/* Of `scontrol --oneliner show node`: the nodes of these names in the order of these. One that is
 * not in the partition is withheld where it would serve. ERR_FORMAT, ERR_NOTFOUND: a node is not
 * there; with a sentence, *ret is not complete then. */
int slurm_nodes_read(const char *text, size_t n, const char *const *names, int n_names,
                     const char *partition, struct slurm_node *ret, struct err *e);

/* Of `squeue --noheader --format=%A|%T`: the numbers of jobs in one of SLURM_JOB_STATES, the
 * first SLURM_JOBS_MAX. Returns how many, or ERR_FORMAT. */
int slurm_jobs_read(const char *text, size_t n, int64_t ret[SLURM_JOBS_MAX], struct err *e);

#endif
