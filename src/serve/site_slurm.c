#include "serve/site_slurm.h"

#include <stdio.h>
#include <string.h>

#include "serve/site_dates.h"

#define AT(f) offsetof(struct serve_slurm, f)
const struct config_setting serve_slurm_settings[] = {
    {"partition", CONFIG_STR, AT(partition), NULL, 0, 0, "NAME",
     "Slurm's partition that they are in, of low priority"},
    {"nodes", CONFIG_STRS, AT(nodes), NULL, 0, 0, "NAMES", "their names in Slurm"},
    {"node_mw", CONFIG_STR, AT(node_mw), NULL, 0, 0, "MW",
     "the power of one, by the site's power_basis; without it its share of what is free"},
    {"keep", CONFIG_INT, AT(keep), "1", 1, CONFIG_STRS_MAX - 1, "N",
     "so many of them always serve"},
    {"idle_for", CONFIG_TIME, AT(idle_for), "5m", 0, 86400000, "TIME",
     "how long a node must have been idle before it is lent"},
    {"back_within", CONFIG_TIME, AT(back_within), "2s", 100, 3600000, "TIME",
     "how long it may take until it is back: later is told"},
    {"every", CONFIG_TIME, AT(every), "5s", 100, 3600000, "TIME", "how often Slurm is asked"},
    {"timeout", CONFIG_TIME, AT(timeout), "5s", 100, 600000, "TIME",
     "how long one of its commands may take"},
    {"scontrol", CONFIG_STR, AT(scontrol), "scontrol", 0, 0, "PROGRAM", "the command scontrol"},
    {"squeue", CONFIG_STR, AT(squeue), "squeue", 0, 0, "PROGRAM", "the command squeue"},
    {"conf", CONFIG_STR, AT(conf), NULL, 0, 0, "FILE", "Slurm's configuration, for these"},
    {0},
};

/* Names stand in a list and in arguments of commands. */
static int name_ok(const char *s)
{
    return s && site_name_ok(s) && *s != '-';
}

static const char *nodes_fault(const struct serve_slurm *s)
{
    if (s->nodes.n < 2)
        return "nodes: wants two at least: one always serves";
    if (s->keep >= s->nodes.n)
        return "keep: is as many as there are: none could be lent";
    for (int i = 0; i < s->nodes.n; i++) {
        if (!name_ok(s->nodes.v[i]))
            return "nodes: a name is letters, digits and - _ .";
        for (int k = 0; k < i; k++) {
            if (!strcmp(s->nodes.v[i], s->nodes.v[k]))
                return "nodes: one is there twice";
        }
    }
    return NULL;
}

/* Energised watts, of all dates the least; POWER_UNKNOWN: they are never said. */
static int64_t least_energised(const struct site_terms *t)
{
    int64_t least = POWER_UNKNOWN;

    for (int i = 0; i < t->n_power; i++) {
        int64_t w = t->power[i].energised_w;
        if (w != POWER_UNKNOWN && (least == POWER_UNKNOWN || w < least))
            least = w;
    }
    return least;
}

static int read_power(const struct site_list_reading *r, struct config_node *map,
                      const struct serve_slurm *s, struct err *e)
{
    struct site_terms *t = &r->p->terms;
    int64_t most = least_energised(t);
    struct err why = {0};

    t->nodes.node_w = POWER_UNKNOWN;
    if (!s->node_mw)
        return 0;
    if (site_watts_read("node_mw", s->node_mw, &t->nodes.node_w, &why))
        return site_fault(r, map, "node_mw", why.text, e);
    if (most != POWER_UNKNOWN && t->nodes.node_w > most / s->nodes.n)
        return site_fault(r, map, "node_mw", "node_mw: so many nodes have more than is energised",
                          e);
    return 0;
}

int site_slurm_read(struct serve_config *c, struct config_doc *d, struct serve_site *p,
                    struct config_node *map, struct err *e)
{
    const struct site_list_reading r = {c, d, p};
    struct serve_slurm *s;
    const char *why;
    int code;

    if (!config_is_map(map))
        return config_err(d, map, e, "slurm: wants a map with partition and nodes");
    s = arena_zalloc(&c->arena, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "out of memory");
    config_defaults(serve_slurm_settings, s, &c->arena);
    code = config_read(d, map, serve_slurm_settings, s, &c->arena, NULL, NULL, e);
    if (code)
        return code;
    if (!name_ok(s->partition))
        return site_fault(&r, map, "partition",
                          "partition: wants a name of letters, digits and - _ .", e);
    why = nodes_fault(s);
    if (why)
        return site_fault(&r, map, strncmp(why, "keep", 4) ? "nodes" : "keep", why, e);
    code = read_power(&r, map, s, e);
    if (code)
        return code;
    p->slurm = s;
    p->terms.nodes.n = s->nodes.n;
    p->terms.nodes.n_keep = (int)s->keep;
    return 0;
}

static int is_one_cluster(const struct serve_slurm *a, const struct serve_slurm *b)
{
    return !strcmp(a->conf ? a->conf : "", b->conf ? b->conf : "") &&
           !strcmp(a->scontrol, b->scontrol);
}

int site_slurm_check(const struct serve_config *c, int i_site, struct err *e)
{
    const struct serve_slurm *s = c->sites[i_site].slurm;

    for (int i = 0; s && i < i_site; i++) {
        const struct serve_slurm *o = c->sites[i].slurm;
        if (!o || !is_one_cluster(s, o))
            continue;
        for (int k = 0; k < s->nodes.n * o->nodes.n; k++) {
            const char *name = s->nodes.v[k / o->nodes.n];
            if (!strcmp(name, o->nodes.v[k % o->nodes.n]))
                return err_set(e, ERR_ARG, "site %s: node %.60s is one of site %s",
                               c->sites[i_site].name, name, c->sites[i].name);
        }
    }
    return 0;
}

void site_slurm_describe(const struct serve_site *p, struct buf *out)
{
    const struct serve_slurm *s = p->slurm;

    if (s)
        buf_addf(out, "             lends to Slurm, partition %s: %d of %d nodes when idle\n",
                 s->partition, s->nodes.n - (int)s->keep, s->nodes.n);
}
