/* What operators say of sites, in the store of accounts: a row a site, and a line of the audit log
 * for each change. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "cloud/accounts_sql.h"

struct reading {
    int (*each)(void *arg, const char *site, const struct site_order *o);
    void *arg;
};

/* What another version wrote and this one does not know counts as not said. */
static struct site_order read_order(const struct sql_row *r, int i)
{
    struct site_order o = {lifecycle_find(sql_text(r, i)), -1};
    struct err none;

    if (site_factor_parse(sql_text(r, i + 1), &o.factor_ppm, &none))
        o.factor_ppm = -1;
    return o;
}

static int take(void *arg, const struct sql_row *r)
{
    struct reading *x = arg;
    struct site_order o = read_order(r, 1);

    return x->each(x->arg, sql_text(r, 0), &o);
}

int accounts_sites(struct accounts *a,
                   int (*each)(void *arg, const char *site, const struct site_order *o), void *arg,
                   struct err *e)
{
    struct reading x = {each, arg};

    return sql_each(a->db, "SELECT name, state, factor FROM site ORDER BY name", NULL, 0, take, &x,
                    e);
}

static int take_one(void *arg, const struct sql_row *r)
{
    *(struct site_order *)arg = read_order(r, 0);
    return 0;
}

static const char *state_text(const struct site_order *o)
{
    return o->state < 0 ? "" : lifecycle_name((enum lifecycle_state)o->state);
}

/* As a line of the log has it. */
static void show(const struct site_order *o, char ret[ACCOUNTS_AUDIT_MAX])
{
    char factor[SITE_FACTOR_TEXT];
    int n = snprintf(ret, ACCOUNTS_AUDIT_MAX, "{");

    if (o->state >= 0)
        n += snprintf(ret + n, ACCOUNTS_AUDIT_MAX - (size_t)n, "\"state\":\"%s\"%s", state_text(o),
                      o->factor_ppm >= 0 ? "," : "");
    if (o->factor_ppm >= 0)
        n += snprintf(ret + n, ACCOUNTS_AUDIT_MAX - (size_t)n, "\"capacity_factor\":%s",
                      site_factor_show(o->factor_ppm, factor));
    snprintf(ret + n, ACCOUNTS_AUDIT_MAX - (size_t)n, "}");
}

static int put(struct accounts *a, const char *site, const struct site_order *o, struct err *e)
{
    char factor[SITE_FACTOR_TEXT] = "";

    if (o->factor_ppm >= 0)
        site_factor_show(o->factor_ppm, factor);
    return sql_run(a->db,
                   "INSERT INTO site (name, state, factor) VALUES ($1, $2, $3) ON CONFLICT (name)"
                   " DO UPDATE SET state = excluded.state, factor = excluded.factor",
                   (struct sql_value[]){SQL_TEXT(site), SQL_TEXT(state_text(o)), SQL_TEXT(factor)},
                   3, NULL, e);
}

int accounts_site_set(struct accounts *a, const struct account_who *w, const char *site,
                      const struct site_order *o, struct err *e)
{
    char before[ACCOUNTS_AUDIT_MAX], after[ACCOUNTS_AUDIT_MAX];
    struct site_order was = {-1, -1}, next;
    int64_t generation;
    int r;

    if (!site_name_ok(site))
        return err_set(e, ERR_ARG, "a site's name is letters, digits and - _ . (at most %d)",
                       SITE_NAME_MAX - 1);
    r = accounts_sql_begin(a->db, &generation, e);
    if (r)
        return r;
    r = sql_each(a->db, "SELECT state, factor FROM site WHERE name = $1",
                 (struct sql_value[]){SQL_TEXT(site)}, 1, take_one, &was, e);
    next = (struct site_order){o->state == SITE_KEEP ? was.state : o->state,
                               o->factor_ppm == SITE_KEEP ? was.factor_ppm : o->factor_ppm};
    show(&was, before);
    show(&next, after);
    if (!r)
        r = put(a, site, &next, e);
    if (!r)
        r = accounts_sql_log(a->db, w, "set", ACCOUNT_OF_SITE, site, before, after, e);
    if (!r)
        return sql_commit(a->db, e);
    sql_rollback(a->db);
    return r;
}
