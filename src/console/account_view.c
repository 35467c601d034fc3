/* Writes what an account is told of itself (/v1/account), and budgets wherever they are shown. */
#include "console/account_view.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_member.h"
#include "base/json_write.h"
#include "base/money.h"
#include "base/watthour.h"
#include "console/console_int.h"

void account_put_money(struct buf *b, const char *name, int64_t nano)
{
    char text[MONEY_TEXT_MAX];

    json_member_text(b, name, money_show(nano, text));
}

static void put_budget(const struct budget_view *u, const char *currency, struct buf *b)
{
    const struct {
        const char *name;
        int64_t n;
    } parts[] = {{"amount", u->amount}, {"settled", u->settled}, {"held", u->held}};
    double used = (double)u->settled + (double)u->held;

    json_open(b, NULL, '{');
    json_member_text(b, "of", holds_kind_name(u->kind));
    json_member_text(b, "span", u->span);
    json_member_text(b, "currency", u->kind == OF_MONEY ? currency : NULL);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (u->kind == OF_ENERGY)
            json_member_real(b, parts[i].name, (double)parts[i].n / (double)WATTHOUR_UJ, 6);
        else if (u->kind == OF_MONEY)
            account_put_money(b, parts[i].name, parts[i].n);
        else
            json_member_int(b, parts[i].name, parts[i].n);
    }
    json_member_real(b, "percent", u->amount > 0 ? 100 * used / (double)u->amount : 100, 1);
    if (u->until_s < INT64_MAX)
        json_member_int(b, "until", u->until_s);
    else
        json_member_null(b, "until");
    buf_add_char(b, '}');
}

void account_put_budgets(const struct budget_view *list, int n, const char *currency, struct buf *b)
{
    json_open(b, "budgets", '[');
    for (int i = 0; i < n; i++)
        put_budget(&list[i], currency, b);
    buf_add_char(b, ']');
}

/* ---- one's own ------------------------------------------------------------------------------- */

static void put_max(struct buf *b, const char *name, int64_t max)
{
    if (max > 0)
        json_member_int(b, name, max);
    else
        json_member_null(b, name);
}

static void put_account(const struct cloud_account_view *a, struct buf *b)
{
    json_open(b, NULL, '{');
    json_member_text(b, "kind", account_kind_name(a->kind));
    json_member_text(b, "id", a->id);
    json_member_int(b, "running", a->n_inside);
    put_max(b, "concurrency", a->concurrency_max);
    put_max(b, "max_output_tokens", a->output_max);
    json_open(b, "rates", '[');
    for (int i = 0; i < a->n_rates; i++) {
        json_open(b, NULL, '{');
        json_member_text(b, "of", a->rate[i].of);
        json_member_text(b, "per", a->rate[i].per);
        json_member_int(b, "limit", a->rate[i].limit);
        json_member_int(b, "left", a->rate[i].left);
        json_member_real(b, "full_in_s", (double)a->rate[i].full_us / 1e6, 1);
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
    account_put_budgets(a->budget, a->n_budgets, a->currency, b);
    buf_add_char(b, '}');
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void put_keys(const struct console *c, int i_tenant, struct buf *b)
{
    char(*id)[ACCOUNT_NAME_MAX] = calloc(ACCOUNT_KEYS_SHOWN, sizeof *id);
    int n_all = id ? cloud_key_ids(c->setup.cloud, i_tenant, id, ACCOUNT_KEYS_SHOWN) : 0;
    int n = n_all < ACCOUNT_KEYS_SHOWN ? n_all : ACCOUNT_KEYS_SHOWN;

    if (n)
        qsort(id, (size_t)n, sizeof *id, by_name);
    json_member_int(b, "keys_total", n_all);
    json_open(b, "keys", '[');
    for (int i = 0; i < n; i++) {
        if (i)
            buf_add_char(b, ',');
        json_put_str(b, id[i]);
    }
    buf_add_char(b, ']');
    free(id);
}

int account_write(struct console *c, const struct cloud_own *o, struct buf *b)
{
    struct cloud_stats s;

    cloud_stats(c->setup.cloud, &s);
    json_open(b, NULL, '{');
    json_member_text(b, "object", "account");
    json_member_text(b, "tenant", o->tenant.id);
    json_member_text(b, "team", *o->team ? strchr(o->team, '/') + 1 : NULL);
    json_member_text(b, "key", *o->key_id ? o->key_id : NULL);
    json_member_int(b, "since", c->created);
    json_open(b, "used", '{');
    json_member_int(b, "requests", o->tenant.n_requests);
    json_member_int(b, "prompt_tokens", o->tenant.prompt_tokens);
    json_member_int(b, "completion_tokens", o->tenant.completion_tokens);
    account_put_money(b, "charge", o->tenant.charge_nano);
    json_member_text(b, "currency", *s.currency ? s.currency : NULL);
    buf_add_char(b, '}');
    json_open(b, "accounts", '[');
    for (int i = 0; i < o->n_accounts; i++)
        put_account(&o->account[i], b);
    buf_add_char(b, ']');
    put_keys(c, o->tenant.i_tenant, b);
    return buf_add_char(b, '}');
}
