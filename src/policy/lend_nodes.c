#include "policy/lend_nodes.h"

#include "policy/derate.h"

const char *lend_state_name(enum lend_state s)
{
    static const char *const names[LEND_STATES] = {"serving", "lent", "returning", "withheld"};

    return names[s];
}

const char *lend_cause_name(enum lend_cause c)
{
    static const char *const names[] = {"idle", "own work", "contracts", "capacity factor",
                                        "curtailment announced"};

    return names[c];
}

static int at_least(int a, int b)
{
    return a > b ? a : b;
}

/* Nodes that so many sequences need, rounded up; all of them at most. */
static int nodes_for(const struct lend_site *s, int n, int64_t n_seqs)
{
    if (n_seqs <= 0)
        return 0;
    if (s->n_places <= 0 || n_seqs >= s->n_places)
        return n;
    return (int)((n_seqs * n + s->n_places - 1) / s->n_places);
}

static int count(const struct lend_node *v, int n, enum lend_state s)
{
    int sum = 0;

    for (int i = 0; i < n; i++)
        sum += v[i].state == s;
    return sum;
}

/* What there is to lend, at most, and what keeps it from being more. */
struct bounds {
    int most;     /* lent at once is no more */
    int most_out; /* what is lent anew goes up to that */
    enum lend_cause cause;
};

static struct bounds bounds_of(const struct lend_rules *rules, const struct lend_site *s, int n)
{
    int32_t ppm = s->soon_ppm < s->factor_ppm ? s->soon_ppm : s->factor_ppm;
    int usable = (int)((int64_t)n * ppm / DERATE_ALL);
    int work = nodes_for(s, n, s->n_busy), kept = nodes_for(s, n, s->n_kept);
    int need = at_least(at_least(work, kept), rules->n_keep);
    int need_out = at_least(need, s->n_busy > 0 ? work + 1 : 0);
    struct bounds b = {at_least(usable - need, 0), at_least(usable - need_out, 0), LEND_IDLE};

    if (ppm < DERATE_ALL)
        b.cause = s->soon_ppm < s->factor_ppm ? LEND_ANNOUNCED : LEND_FACTOR;
    else if (need > rules->n_keep)
        b.cause = kept > work ? LEND_CONTRACTS : LEND_WORK;
    return b;
}

/* How many more have been idle for the dwell. */
static int after_dwell(struct lend_gate *g, const struct lend_rules *rules, int more,
                       int64_t now_us)
{
    if (more <= 0) {
        *g = (struct lend_gate){0};
        return 0;
    }
    if (!g->since_us || now_us < g->since_us)
        *g = (struct lend_gate){now_us, more};
    if (more < g->n_least)
        g->n_least = more;
    if (now_us - g->since_us < rules->idle_us)
        return 0;
    more = g->n_least;
    *g = (struct lend_gate){0}; /* what is idle beside these dwells anew */
    return more;
}

struct lend_plan lend_step(struct lend_gate *g, const struct lend_rules *rules,
                           const struct lend_site *s, const struct lend_node *v, int n,
                           int64_t now_us)
{
    struct bounds b = bounds_of(rules, s, n);
    int lent = count(v, n, LEND_LENT), away = lent + count(v, n, LEND_RETURNING);
    int more = b.most_out - away, there = count(v, n, LEND_SERVING);
    struct lend_plan p = {.n_back = at_least(lent - b.most, 0), .cause = b.cause};

    p.n_out = after_dwell(g, rules, more < there ? more : there, now_us);
    p.n_wanted = lent - p.n_back + p.n_out;
    return p;
}

int lend_next_back(const struct lend_node *v, int n)
{
    int best = -1;

    for (int i = 0; i < n; i++) {
        if (v[i].state == LEND_LENT && (best < 0 || v[i].since_us >= v[best].since_us))
            best = i;
    }
    return best;
}

int lend_next_out(const struct lend_node *v, int n)
{
    int best = -1;

    for (int i = 0; i < n; i++) {
        if (v[i].state == LEND_SERVING && (best < 0 || v[i].since_us < v[best].since_us))
            best = i;
    }
    return best;
}

int32_t lend_places_ppm(int32_t factor_ppm, int n, int n_away, int n_keep)
{
    int32_t kept, left;

    if (n <= 0)
        return factor_ppm;
    kept = (int32_t)((int64_t)DERATE_ALL * n_keep / n);
    left = factor_ppm - (int32_t)((int64_t)DERATE_ALL * n_away / n);
    kept = kept < factor_ppm ? kept : factor_ppm;
    return left > kept ? left : kept;
}
