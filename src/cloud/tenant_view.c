/* What people are shown of tenants: what they used since the start, and how far their budgets are
 * used. Nothing of it is read from the ledger. */
#include <string.h>

#include "base/put.h"
#include "cloud/cloud_int.h"

void cloud_note_used(struct cloud *c, int i_tenant, const struct cloud_use *u, int64_t charge_nano)
{
    struct tenant_used *t = &c->used[i_tenant];

    atomic_fetch_add(&t->n_requests, 1);
    atomic_fetch_add(&t->prompt_tokens, u->prompt_tokens);
    atomic_fetch_add(&t->completion_tokens, u->completion_tokens);
    if (charge_nano > 0)
        atomic_fetch_add(&t->charge_nano, charge_nano);
}

/* Under the directory's lock. */
static void view(struct cloud *c, int64_t now_us, int i, struct cloud_tenant_view *ret)
{
    const struct account *a = c->directory.tenants[i];
    struct tenant_used *u = &c->used[i];

    *ret = (struct cloud_tenant_view){.id = a->id,
                                      .i_tenant = i,
                                      .n_requests = atomic_load(&u->n_requests),
                                      .prompt_tokens = atomic_load(&u->prompt_tokens),
                                      .completion_tokens = atomic_load(&u->completion_tokens),
                                      .charge_nano = atomic_load(&u->charge_nano),
                                      .n_inside = -1};
    if (!a->counts)
        return;
    ret->n_inside = atomic_load(&a->counts->n_inside);
    ret->n_budgets = holds_view(a->counts, cloud_wall_s(c, now_us), ret->budget);
    if (a->counts->currency)
        memcpy(ret->currency, a->counts->currency,
               strnlen(a->counts->currency, sizeof ret->currency - 1));
}

/* Of its budgets the one nearest to its end, in thousandths; -1: it has none. */
static int64_t nearest(const struct cloud_tenant_view *v)
{
    int64_t most = -1;

    for (int i = 0; i < v->n_budgets; i++) {
        const struct budget_view *b = &v->budget[i];
        double used = (double)b->settled + (double)b->held;
        double part = b->amount > 0 ? used / (double)b->amount : 1;
        int64_t n = part < 1e6 ? (int64_t)(part * 1000) : 1000000000;
        most = n > most ? n : most;
    }
    return most;
}

static int is_before(const struct cloud_tenant_view *a, const struct cloud_tenant_view *b)
{
    int64_t x = nearest(a), y = nearest(b);

    if (x != y)
        return x > y;
    return a->prompt_tokens + a->completion_tokens > b->prompt_tokens + b->completion_tokens;
}

/* Put it to its place among the n first; the last falls out where they are `max`. */
static int place(struct cloud_tenant_view *list, int n, int max, const struct cloud_tenant_view *v)
{
    int at = n;

    while (at > 0 && is_before(v, &list[at - 1]))
        at--;
    if (at == max)
        return n;
    n = n < max ? n + 1 : n;
    memmove(&list[at + 1], &list[at], (size_t)(n - at - 1) * sizeof *list);
    list[at] = *v;
    return n;
}

int cloud_view_tenants(struct cloud *c, int64_t now_us, struct cloud_tenant_view *ret, int max,
                       int *ret_n)
{
    int n = 0;

    *ret_n = 0;
    pthread_rwlock_rdlock(&c->lock);
    for (int i = 0; i < c->directory.n_tenants; i++) {
        struct cloud_tenant_view v;
        view(c, now_us, i, &v);
        if (!v.n_requests && !v.n_budgets)
            continue;
        ++*ret_n;
        n = place(ret, n, max, &v);
    }
    pthread_rwlock_unlock(&c->lock);
    return n;
}

/* ---- what is one's own ----------------------------------------------------------------------- */

static void view_account(struct cloud *c, int64_t now_us, struct holds_account *a,
                         struct cloud_account_view *ret)
{
    *ret = (struct cloud_account_view){.kind = a->kind,
                                       .concurrency_max = atomic_load(&a->concurrency_max),
                                       .n_inside = atomic_load(&a->n_inside),
                                       .output_max = atomic_load(&a->output_max)};
    put_text(ret->id, sizeof ret->id, a->name);
    put_text(ret->currency, sizeof ret->currency, a->currency ? a->currency : "");
    ret->n_rates = holds_view_rates(a, now_us, ret->rate);
    ret->n_budgets = holds_view(a, cloud_wall_s(c, now_us), ret->budget);
}

int cloud_view_own(struct cloud *c, int64_t now_us, const struct cloud_caller *who,
                   struct cloud_own *ret, struct err *e)
{
    struct holds_account *path[HOLDS_PATH_MAX] = {NULL};
    struct grant *g = NULL;
    int r = cloud_key_grant(c, now_us, who, &g, e), n = 0;

    if (r)
        return r;
    *ret = (struct cloud_own){.key_id = ""};
    pthread_rwlock_rdlock(&c->lock);
    view(c, now_us, g ? g->i_tenant : 0, &ret->tenant);
    if (!g && c->directory.tenants[0]->counts)
        path[n++] = c->directory.tenants[0]->counts;
    pthread_rwlock_unlock(&c->lock);
    if (g) {
        put_text(ret->key_id, sizeof ret->key_id, g->key_id);
        put_text(ret->team, sizeof ret->team, g->team);
        for (; n < g->n_path; n++)
            path[n] = g->path[n];
    }
    for (; ret->n_accounts < n; ret->n_accounts++)
        view_account(c, now_us, path[ret->n_accounts], &ret->account[ret->n_accounts]);
    grant_put(g);
    return 0;
}

static int is_there(const struct account *a)
{
    for (int i = 0; i < N_SOURCES; i++) {
        if (a->said[i])
            return 1;
    }
    return 0;
}

int cloud_key_ids(struct cloud *c, int i_tenant, char (*ret)[ACCOUNT_NAME_MAX], int max)
{
    const struct directory *d = &c->directory;
    int n = 0;

    pthread_rwlock_rdlock(&c->lock);
    for (int i = 0; i < d->n_accounts; i++) {
        const struct account *a = d->accounts[i];
        if (a->kind != ACCOUNT_KEY || a->i_tenant != i_tenant || !is_there(a))
            continue;
        if (n < max)
            put_text(ret[n], ACCOUNT_NAME_MAX, a->id);
        n++;
    }
    pthread_rwlock_unlock(&c->lock);
    return n;
}

const char *cloud_tenant_name(struct cloud *c, int i_tenant)
{
    const char *name = "";

    pthread_rwlock_rdlock(&c->lock);
    if (i_tenant >= 0 && i_tenant < c->directory.n_tenants)
        name = c->directory.tenants[i_tenant]->id;
    pthread_rwlock_unlock(&c->lock);
    return name;
}
