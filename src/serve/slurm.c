#include "serve/slurm.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "serve/command.h"

#define NAMES_MAX (CONFIG_STRS_MAX * SITE_NAME_MAX)
#define CONF_MAX  4096

/* argv ends with NULL. What it says is put into `out`. */
static int ask(const struct slurm *s, const char *const *argv, struct buf *out, struct err *e)
{
    char conf[CONF_MAX];
    const struct command c = {argv, s->terms->conf ? conf : NULL, s->terms->timeout, s->is_over,
                              s->ctx};
    int r;

    if (s->terms->conf)
        snprintf(conf, sizeof conf, "SLURM_CONF=%s", s->terms->conf);
    buf_init(out, SLURM_REPLY_MAX);
    r = command_run(&c, out, e);
    if (r)
        err_prefix(e, "%.40s", strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0]);
    return r;
}

/* One whose words do not matter. */
static int order(const struct slurm *s, const char *const *argv, struct err *e)
{
    struct buf out;
    int r = ask(s, argv, &out, e);

    buf_done(&out);
    return r;
}

int slurm_ask(const struct slurm *s, struct slurm_node *ret, struct err *e)
{
    const struct config_strs *nodes = &s->terms->nodes;
    char names[NAMES_MAX] = "";
    const char *const argv[] = {s->terms->scontrol, "--oneliner", "show", "node", names, NULL};
    struct buf out;
    size_t n = 0;
    int r;

    for (int i = 0; i < nodes->n && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? "," : "", nodes->v[i]);
    CHECK(n < sizeof names);
    r = ask(s, argv, &out, e);
    if (!r)
        r = slurm_nodes_read(out.data ? out.data : "", out.len, nodes->v, nodes->n,
                             s->terms->partition, ret, e);
    buf_done(&out);
    return r;
}

int slurm_lend(const struct slurm *s, const char *node, struct err *e)
{
    char which[16 + SITE_NAME_MAX];
    const char *const argv[] = {s->terms->scontrol, "update", which, "state=resume", NULL};

    snprintf(which, sizeof which, "nodename=%s", node);
    return order(s, argv, e);
}

int slurm_drain(const struct slurm *s, const char *node, struct err *e)
{
    char which[16 + SITE_NAME_MAX];
    const char *const argv[] = {
        s->terms->scontrol, "update", which, "state=drain", "reason=" SLURM_REASON " serves", NULL};

    snprintf(which, sizeof which, "nodename=%s", node);
    return order(s, argv, e);
}

int slurm_requeue(const struct slurm *s, const char *node, int *ret_n, struct err *e)
{
    char which[16 + SITE_NAME_MAX], job[24];
    const char *const jobs[] = {s->terms->squeue, "--noheader", "--states=" SLURM_JOB_STATES, which,
                                "--format=%A|%T", NULL};
    const char *const requeue[] = {s->terms->scontrol, "requeue", job, NULL};
    int64_t id[SLURM_JOBS_MAX];
    struct buf out;
    struct err why;
    int r, n = 0;

    *ret_n = 0;
    snprintf(which, sizeof which, "--nodelist=%s", node);
    r = ask(s, jobs, &out, e);
    if (!r)
        n = slurm_jobs_read(out.data ? out.data : "", out.len, id, e);
    buf_done(&out);
    if (r || n < 0)
        return r ? r : n;
    for (int i = 0; i < n && r != ERR_CANCELLED && r != ERR_TIMEOUT; i++) {
        int code;
        snprintf(job, sizeof job, "%lld", (long long)id[i]);
        why = (struct err){0};
        code = order(s, requeue, &why);
        *ret_n += !code;
        if (code && !r) {
            *e = why;
            r = code;
        }
    }
    return r;
}
