/* gaufre bill --concentration: on whom the cloud depends. The share of each supplier, and of each
 * owner of suppliers, in what is owed; the share of each tenant in what is earned; and the index of
 * Herfindahl and Hirschman of each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/money.h"
#include "cmd/cmd.h"
#include "cmd/concentrated.h"

/* One name, in one currency. */
struct part {
    char name[BOOKS_LABELS_MAX], currency[4];
    int64_t amount;
};

struct table {
    const struct concentrated *c;
    enum { OF_SUPPLIERS, OF_OWNERS, OF_TENANTS } of;
    struct part *part;
    int n, cap;
    int64_t n_unpriced;
};

static int add(struct table *t, const char *name, size_t n, const char *currency, int64_t amount)
{
    int i = 0;

    if (amount <= 0) /* the platform's own, or nothing */
        return 0;
    while (i < t->n && (strlen(t->part[i].name) != n || memcmp(t->part[i].name, name, n) ||
                        strcmp(t->part[i].currency, currency)))
        i++;
    if (i == t->cap) {
        int cap = t->cap ? 2 * t->cap : 64;
        struct part *more = realloc(t->part, (size_t)cap * sizeof *more);
        if (!more)
            return ERR_NOMEM;
        t->part = more;
        t->cap = cap;
    }
    if (i == t->n) {
        t->part[t->n++] = (struct part){0};
        memcpy(t->part[i].name, name, n);
        memcpy(t->part[i].currency, currency, sizeof t->part[i].currency);
    }
    t->part[i].amount += amount;
    return 0;
}

/* The owner of a supplier, as the configuration says; else it is its own. */
static const char *owner_of(const struct concentrated *c, const char *supplier, size_t n)
{
    for (int i = 0; i < c->n_owners; i++) {
        if (strlen(c->owner[i].supplier) == n && !memcmp(c->owner[i].supplier, supplier, n))
            return c->owner[i].owner;
    }
    return NULL;
}

static int take(void *arg, const struct books_sum *s)
{
    const char *supplier = s->key[BOOKS_BY_SUPPLIER], *owner;
    struct table *t = arg;
    size_t n = strcspn(supplier, "/"); /* NAME/MODEL */

    t->n_unpriced += s->n_unpriced;
    if (t->of == OF_TENANTS)
        return add(t, s->key[BOOKS_BY_TENANT], strlen(s->key[BOOKS_BY_TENANT]), s->currency,
                   s->charge_nano);
    owner = t->of == OF_OWNERS ? owner_of(t->c, supplier, n) : NULL;
    return add(t, owner ? owner : supplier, owner ? strlen(owner) : n, s->currency, s->cost_nano);
}

/* By currency, the largest first. */
static int order(const void *a, const void *b)
{
    const struct part *x = a, *y = b;
    int c = strcmp(x->currency, y->currency);

    if (c)
        return c;
    return x->amount != y->amount ? (x->amount < y->amount ? 1 : -1) : strcmp(x->name, y->name);
}

static const char *const titles[] = {"supplier", "owner", "tenant"};

static int print_part(const struct table *t, const struct part *p, double share)
{
    char amount[MONEY_TEXT_MAX];

    money_show(p->amount, amount);
    if (t->c->json)
        return cmd_json(json_pack("{s:s, s:o, s:s, s:s, s:f}", "of", titles[t->of], "name",
                                  cmd_json_str(p->name), "currency", p->currency, "amount", amount,
                                  "share", share),
                        JSON_COMPACT);
    cmd_line(stdout, "%-28s %7.1f %% %20s %s", p->name, share * 100, amount, p->currency);
    return 0;
}

static int print_index(const struct table *t, const char *currency, int32_t hhi)
{
    if (t->c->json)
        return cmd_json(json_pack("{s:s, s:s, s:i}", "of", titles[t->of], "currency", currency,
                                  "hhi", (int)hhi),
                        JSON_COMPACT);
    cmd_line(stdout, "%-28s %7d", "HHI", (int)hhi);
    return 0;
}

/* The parts from..to are of one currency. */
static int print_group(const struct table *t, int from, int to)
{
    int64_t *amount = calloc((size_t)(to - from), sizeof *amount);
    double all = 0;
    int r = 0;

    if (!amount)
        return ERR_NOMEM;
    for (int i = from; i < to; i++) {
        amount[i - from] = t->part[i].amount;
        all += (double)t->part[i].amount;
    }
    if (!t->c->json)
        cmd_line(stdout, "%-28s %9s %20s", titles[t->of], "share",
                 t->of == OF_TENANTS ? "charged" : "owed");
    for (int i = from; i < to && !r; i++)
        r = print_part(t, &t->part[i], (double)t->part[i].amount / all);
    if (!r)
        r = print_index(t, t->part[from].currency, books_hhi(amount, to - from));
    free(amount);
    return r;
}

static int print_table(struct table *t)
{
    int r = 0;

    if (t->n)
        qsort(t->part, (size_t)t->n, sizeof *t->part, order);
    for (int from = 0, to; from < t->n && !r; from = to) {
        to = from + 1;
        while (to < t->n && !strcmp(t->part[to].currency, t->part[from].currency))
            to++;
        r = print_group(t, from, to);
    }
    if (!t->n)
        cmd_note("%ss: nothing was %s", titles[t->of], t->of == OF_TENANTS ? "charged" : "owed");
    return r;
}

int concentrated_print(const struct concentrated *c, const char *path, const struct books_where *w,
                       struct err *e)
{
    int64_t n_unpriced = 0;
    int r = 0;

    for (int of = OF_SUPPLIERS; of <= OF_TENANTS && !r; of++) {
        struct table t = {.c = c, .of = of};
        if (of == OF_OWNERS && !c->n_owners)
            continue;
        r = path ? books_bill(path,
                              BOOKS_PART(of == OF_TENANTS ? BOOKS_BY_TENANT : BOOKS_BY_SUPPLIER), w,
                              take, &t, e)
                 : 0;
        if (!r)
            r = print_table(&t);
        n_unpriced = t.n_unpriced;
        free(t.part);
    }
    if (!r && n_unpriced)
        cmd_note("requests without a price, which count nothing: %lld", (long long)n_unpriced);
    if (r && !e->code)
        err_set(e, r, "out of memory");
    return r;
}
