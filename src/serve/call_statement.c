/* The admin API's statement of a contract, as `gaufre contract statement` makes it: from the ledger
 * and the versions of the contract. Runs on prep threads, as it waits for databases. */
#include <string.h>

#include "base/clock.h"
#include "cloud/settled_stored.h"
#include "serve/server.h"

#define DAY_TEXT 32

struct asked {
    struct settled *s;
    const char *name;
    struct settled_wish wish;
    int64_t known_s;
    struct contract_file *now; /* as it holds, for its zone */
    struct err *e;
};

static int take_now(void *arg, const struct contract_version *v)
{
    struct asked *x = arg;

    return contract_file_parse(&x->now, v->name, v->text, strlen(v->text), x->e);
}

static int gather(void *arg, struct accounts *a, struct err *e)
{
    struct asked *x = arg;
    int64_t now_s = clock_wall_us() / 1000000;
    int r;

    x->e = e;
    r = accounts_contract(a, x->name, 0, now_s, x->known_s, take_now, x, e);
    if (!r)
        r = settled_period(x->s, &x->wish, contract_file_zone(x->now), now_s, x->known_s, e);
    return r < 0 ? r : settled_add_stored(x->s, a, x->name, NULL, e);
}

/* By the caller, one at a time: it may read all rows of a year. */
static int make(struct call *c, struct asked *x, struct err *e)
{
    const char *ledger = c->s->config->ledger;
    int r = cloud_with_accounts(c->s->cloud, clock_now_us(), gather, x, e);

    if (!r)
        r = settled_end(x->s, ledger, e);
    if (!r)
        r = settled_make(x->s, ledger, e);
    return r;
}

static int answer(struct call *c, const struct settled *s, struct err *e)
{
    json_t *j = settled_json(s);

    if (json_object_set_new(j, "object", json_string("contract.statement"))) {
        json_decref(j);
        return err_set(e, ERR_NOMEM, "No memory for the answer.");
    }
    return call_admin_answer(c, 200, j, e);
}

int call_admin_statement(struct call *c, struct err *e)
{
    struct asked x = {.name = c->route.arg, .known_s = INT64_MAX};
    char month[DAY_TEXT], from[DAY_TEXT], until[DAY_TEXT];
    const char *ledger = c->s->config->ledger;
    int r;

    if (!*ledger || !strcmp(ledger, "off"))
        return err_set(e, ERR_UNSUPPORTED, "This server keeps no ledger.");
    r = call_admin_text(c, "month", month, sizeof month, &x.wish.month, e);
    if (!r)
        r = call_admin_text(c, "from", from, sizeof from, &x.wish.from, e);
    if (!r)
        r = call_admin_text(c, "until", until, sizeof until, &x.wish.until, e);
    if (!r)
        r = call_admin_day(c, "known_on", &x.known_s, e);
    if (r)
        return r;
    if (atomic_exchange(&c->s->settling, 1))
        return err_set(e, ERR_AGAIN, "A statement is being made; please try again shortly.");
    x.s = settled_new();
    r = x.s ? make(c, &x, e) : err_set(e, ERR_NOMEM, "No memory for the statement.");
    if (!r)
        r = answer(c, x.s, e);
    settled_free(x.s);
    contract_file_close(x.now);
    atomic_store(&c->s->settling, 0);
    return r;
}
