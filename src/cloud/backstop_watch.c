#include "cloud/backstop_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/money.h"
#include "base/put.h"
#include "books/power_by_hour.h"
#include "books/taken_log.h"
#include "cloud/accounts.h"
#include "cloud/contract_file.h"

#define SECOND_US  INT64_C(1000000)
#define HOUR_S     3600
#define DAY_S      86400
#define GRACE_S    120 /* answers that ended in an hour are in the ledger by then */
#define HOURS_MAX  25  /* settled at a look */
#define BUYERS_MAX 64
#define ASKS_MAX   4096 /* of an hour */
#define PARTS_MAX  BACKSTOP_MINUTES
#define PLACES_MAX SITES_MAX

struct backstop_watch {
    struct cloud *cloud;
    const char *ledger;
    int64_t next_s;  /* the first hour that is not settled; 0: not known */
    int64_t stamp;   /* of the contracts by which it is known */
    int64_t until_s; /* what is read of them holds until then */
    struct contract_file *buyer[BUYERS_MAX];
    int n_buyers;
    int64_t wall_s;
    struct err *e;
};

/* Of a region: what its tranches that name no site have sold is idle at none of its sites. */
struct region_hours {
    const char *name;
    struct power_hour *hours; /* its rows' */
    power_uj left;            /* of an hour */
};

/* An hour that is being settled. */
struct settling {
    struct backstop_watch *w;
    const struct backstop_place *place;
    int n_places;
    struct power_hour *hours[PLACES_MAX]; /* of each place: the chunk's; NULL: nobody asks */
    struct region_hours region[PLACES_MAX];
    int n_regions;
    int64_t hour_s;
    int i_hour;                    /* of those that were read */
    int64_t part_s[PARTS_MAX + 1]; /* where its parts begin, and its end */
    int n_parts;
    power_uj hour_left[PLACES_MAX], part_left[PARTS_MAX][PLACES_MAX];
    int64_t most[ASKS_MAX]; /* of a tranche in a part */
    int n_most;
    struct taken_ask ask[ASKS_MAX];
    int n_asks;
    struct err *e;
};

/* ---- contracts ------------------------------------------------------------------------------- */

static void drop_buyers(struct backstop_watch *w)
{
    while (w->n_buyers)
        contract_file_close(w->buyer[--w->n_buyers]);
}

static const struct contract *buyer(const struct backstop_watch *w, int i)
{
    return contract_file_contract(w->buyer[i]);
}

static int add_buyer(void *arg, const struct contract_version *v)
{
    struct backstop_watch *w = arg;
    struct contract_file *f = NULL;
    struct err why = {0};

    if (!strstr(v->text, "backstop") ||
        contract_file_parse(&f, v->name, v->text, strlen(v->text), &why))
        return 0; /* of a later version of this program: others count */
    if (!contract_file_contract(f)->backstop.is_there || w->n_buyers == BUYERS_MAX) {
        if (w->n_buyers == BUYERS_MAX)
            LOG_EVENT(LOG_ERROR, "backstop left out", LOG_STR("contract", v->name));
        contract_file_close(f);
        return 0;
    }
    w->buyer[w->n_buyers++] = f;
    return 0;
}

static int by_age(const void *a, const void *b)
{
    const struct contract *x = contract_file_contract(*(struct contract_file *const *)a);
    const struct contract *y = contract_file_contract(*(struct contract_file *const *)b);

    if (x->from_s != y->from_s)
        return x->from_s < y->from_s ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Where to begin: behind the last hour that was taken, or with the first that is known. */
static int find_next(struct backstop_watch *w, struct err *e)
{
    int64_t seq, until_us = 0, first_us = 0, at_us;
    int r = taken_log_end(w->ledger, INT64_MAX, &seq, &until_us, &first_us, e);

    at_us = until_us ? until_us + POWER_HOUR_US - 1 : first_us; /* an hour is settled as a whole */
    if (!r && at_us)
        w->next_s = at_us / POWER_HOUR_US * HOUR_S;
    return r;
}

/* Those that hold at the hour that is next, and until when. */
static int read_buyers(void *arg, struct accounts *a, struct err *e)
{
    struct backstop_watch *w = arg;
    int64_t stamp = 0, next_s = INT64_MAX;
    int r = a ? accounts_contracts_stamp(a, &stamp, e) : ERR_UNSUPPORTED; /* there is no store */

    if (!r && stamp != w->stamp)
        w->next_s = 0;
    if (!r && !w->next_s)
        r = find_next(w, e);
    if (r || !w->next_s || (stamp == w->stamp && w->next_s < w->until_s))
        return r;
    w->stamp = stamp;
    drop_buyers(w);
    r = accounts_contracts(a, w->next_s, INT64_MAX, add_buyer, w, e);
    if (!r)
        r = accounts_contracts_next(a, w->next_s, &next_s, e);
    qsort((void *)w->buyer, (size_t)w->n_buyers, sizeof *w->buyer, by_age);
    w->until_s = next_s;
    return r;
}

/* ---- an hour --------------------------------------------------------------------------------- */

static power_uj idle_of(const struct power_hour *h)
{
    struct power_parts p;
    struct power_use use = h->use;

    use.taken = use.backstop = 0; /* what it would be without them */
    power_parts(&h->sum, &use, &p);
    return p.idle;
}

static void cut_hour(struct settling *x)
{
    uint64_t cuts = 1;

    x->n_parts = 0;
    for (int i = 0; i < x->w->n_buyers; i++)
        cuts |= backstop_cuts(buyer(x->w, i), x->w->wall_s, x->hour_s);
    for (int m = 0; m < BACKSTOP_MINUTES; m++) {
        if (cuts >> m & 1)
            x->part_s[x->n_parts++] = x->hour_s + m * (HOUR_S / BACKSTOP_MINUTES);
    }
    x->part_s[x->n_parts] = x->hour_s + HOUR_S;
}

/* What is left idle of each place, in the hour and in its parts. */
static int look_at_places(struct settling *x)
{
    int r = 0;

    for (int i = 0; !r && i < x->n_places; i++) {
        x->hour_left[i] = x->hours[i] ? idle_of(&x->hours[i][x->i_hour]) : 0;
        for (int p = 0; !r && p < x->n_parts; p++) {
            struct power_hour part;
            x->part_left[p][i] = x->hour_left[i];
            if (x->n_parts == 1 || !x->hour_left[i])
                continue;
            r = power_span(x->w->ledger, x->place[i].site, x->part_s[p] * SECOND_US,
                           x->part_s[p + 1] * SECOND_US, &part, x->e);
            x->part_left[p][i] = r ? 0 : idle_of(&part);
        }
    }
    return r;
}

/* What all of a region had and drew; where nobody watched it as one, its sites alone count. */
static void look_at_regions(struct settling *x, int i_hour)
{
    for (int k = 0; k < x->n_regions; k++) {
        struct power_hour all = {.sum = x->region[k].hours[i_hour].sum};
        for (int i = 0; i < x->n_places; i++) {
            const struct power_use *u = x->hours[i] ? &x->hours[i][i_hour].use : NULL;
            if (!u || !x->place[i].region || strcmp(x->place[i].region, x->region[k].name) != 0)
                continue;
            all.use.own += u->own;
            all.use.other += u->other;
            all.use.lent += u->lent;
        }
        x->region[k].left = idle_of(&all);
    }
}

static power_uj *region_left(struct settling *x, int i_place, int i_hour)
{
    for (int k = 0; x->place[i_place].region && k < x->n_regions; k++) {
        if (!strcmp(x->region[k].name, x->place[i_place].region) &&
            x->region[k].hours[i_hour].sum.watched_us)
            return &x->region[k].left;
    }
    return NULL;
}

static int is_at(const struct tranche *t, const struct backstop_place *p)
{
    return t->site ? !strcmp(t->site, p->site) : p->region && !strcmp(t->region, p->region);
}

static void ask(struct settling *x, const struct contract *c, const struct tranche *t, int i_part,
                int i_place)
{
    struct taken_ask *a = &x->ask[x->n_asks];
    int64_t from_s = x->part_s[i_part];

    if (x->n_asks == ASKS_MAX || x->part_left[i_part][i_place] <= 0)
        return;
    x->n_asks++;
    *a = (struct taken_ask){.row = {.at_us = x->w->wall_s * SECOND_US,
                                    .from_us = from_s * SECOND_US,
                                    .until_us = x->part_s[i_part + 1] * SECOND_US,
                                    .price = contract_price(c, t, from_s)},
                            .caps = c->backstop,
                            .part = &x->part_left[i_part][i_place],
                            .hour = &x->hour_left[i_place],
                            .region = region_left(x, i_place, x->i_hour),
                            .most = &x->most[x->n_most - 1]};
    put_text(a->row.contract, sizeof a->row.contract, c->name);
    put_text(a->row.tranche, sizeof a->row.tranche, t->name);
    put_text(a->row.site, sizeof a->row.site, x->place[i_place].site);
    put_text(a->row.currency, sizeof a->row.currency, c->currency);
    backstop_year(c, from_s, &a->year);
}

/* Part after part, contracts by age, their tranches, places by name. */
static void ask_all(struct settling *x)
{
    x->n_asks = x->n_most = 0;
    for (int p = 0; p < x->n_parts; p++) {
        for (int i = 0; i < x->w->n_buyers; i++) {
            const struct contract *c = buyer(x->w, i);
            for (int k = 0; k < c->n_tranches; k++) {
                const struct tranche *t = &c->tranche[k];
                if (!backstop_is_open(c, t, x->w->wall_s, x->part_s[p]) || x->n_most == ASKS_MAX)
                    continue;
                x->most[x->n_most++] = t->watts * (x->part_s[p + 1] - x->part_s[p]);
                for (int n = 0; n < x->n_places; n++) {
                    if (is_at(t, &x->place[n]))
                        ask(x, c, t, p, n);
                }
            }
        }
    }
}

static void tell_spent(const struct taken_ask *a)
{
    char text[MONEY_TEXT_MAX];

    LOG_EVENT(LOG_INFO, "backstop has taken its year's cap", LOG_STR("contract", a->row.contract),
              LOG_INT("year_from", a->year.from_s), LOG_INT("yearly_mwh", a->caps.yearly_mwh),
              LOG_STR("yearly_money", money_show(a->caps.yearly_money, text)));
}

static int settle_hour(struct settling *x)
{
    int64_t n = 0;
    int r;

    cut_hour(x);
    r = look_at_places(x);
    look_at_regions(x, x->i_hour);
    if (!r)
        ask_all(x);
    if (!r && x->n_asks)
        r = taken_log_put(x->w->ledger, x->ask, x->n_asks, &n, x->e);
    for (int i = 0; !r && i < x->n_asks; i++) {
        const struct taken_ask *a = &x->ask[i];
        if (a->is_spent && a->row.joules)
            tell_spent(a);
        cloud_note_spent(x->w->cloud, a->row.contract, a->is_spent ? a->year.until_s : 0);
    }
    return r;
}

/* ---- a day ----------------------------------------------------------------------------------- */

static int is_wanted(const struct settling *x, int i_place)
{
    for (int i = 0; i < x->w->n_buyers; i++) {
        const struct contract *c = buyer(x->w, i);
        for (int k = 0; k < c->n_tranches; k++) {
            if (is_at(&c->tranche[k], &x->place[i_place]))
                return 1;
        }
    }
    return 0;
}

/* Is any site of that region asked for? */
static int is_region_wanted(const struct settling *x, const char *region)
{
    for (int i = 0; region && i < x->n_places; i++) {
        if (x->place[i].region && !strcmp(x->place[i].region, region) && is_wanted(x, i))
            return 1;
    }
    return 0;
}

static int read_place(struct settling *x, const char *place, int64_t until_s,
                      struct power_hour **ret)
{
    size_t n;

    return power_hours(x->w->ledger, place, x->w->next_s * SECOND_US, until_s * SECOND_US, ret, &n,
                       x->e);
}

/* The hours of all sites that are asked for, of those beside them in their regions, and of these.
 */
static int read_hours(struct settling *x, int64_t until_s)
{
    int r = 0;

    for (int i = 0; !r && i < x->n_places; i++) {
        const char *region = x->place[i].region;
        char name[POWER_PLACE_MAX];
        int k = 0;
        if (!is_wanted(x, i) && !is_region_wanted(x, region))
            continue;
        r = read_place(x, x->place[i].site, until_s, &x->hours[i]);
        while (region && k < x->n_regions && strcmp(x->region[k].name, region) != 0)
            k++;
        if (r || !region || k < x->n_regions)
            continue;
        snprintf(name, sizeof name, "%s%s", POWER_REGION, region);
        r = read_place(x, name, until_s, &x->region[k].hours);
        x->region[k].name = region;
        x->n_regions += !r;
    }
    return r;
}

static int settle_hours(struct settling *x, int64_t until_s)
{
    struct backstop_watch *w = x->w;
    int64_t from_s = w->next_s;
    int r = read_hours(x, until_s), n_hours = (int)((until_s - from_s) / HOUR_S);

    for (int i = 0; !r && i < n_hours; i++) {
        x->hour_s = from_s + (int64_t)i * HOUR_S;
        x->i_hour = i;
        r = settle_hour(x);
        if (!r)
            w->next_s = x->hour_s + HOUR_S;
    }
    for (int i = 0; i < x->n_places; i++)
        free(x->hours[i]);
    for (int k = 0; k < x->n_regions; k++)
        free(x->region[k].hours);
    return r;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int backstop_watch_look(struct backstop_watch *w, const struct backstop_place *places, int n,
                        int64_t now_us, int64_t wall_us, int *ret_more, struct err *e)
{
    int64_t last_s, until_s;
    struct settling *x;
    int r;

    *ret_more = 0;
    w->wall_s = wall_us / SECOND_US;
    last_s = (w->wall_s - GRACE_S) / HOUR_S * HOUR_S;
    r = cloud_with_accounts(w->cloud, now_us, read_buyers, w, e);
    if (r == ERR_UNSUPPORTED)
        return 0;
    if (r || !w->next_s || w->next_s >= last_s)
        return r;
    /* A version that comes within an hour counts from the next one on. */
    until_s =
        least(last_s, w->until_s < last_s ? (w->until_s + HOUR_S - 1) / HOUR_S * HOUR_S : last_s);
    if (!w->n_buyers) {
        w->next_s = until_s;
        *ret_more = w->next_s < last_s;
        return 0;
    }
    until_s = least(until_s, w->next_s + (int64_t)(HOURS_MAX - 1) * HOUR_S);
    x = calloc(1, sizeof *x);
    if (!x)
        return err_set(e, ERR_NOMEM, "out of memory");
    x->w = w;
    x->place = places;
    x->n_places = n < PLACES_MAX ? n : PLACES_MAX;
    x->e = e;
    r = settle_hours(x, until_s);
    free(x);
    *ret_more = !r && w->next_s < last_s;
    return r;
}

int backstop_watch_open(struct backstop_watch **ret, struct cloud *c, const char *ledger,
                        struct err *e)
{
    struct backstop_watch *w = calloc(1, sizeof *w);

    if (!w)
        return err_set(e, ERR_NOMEM, "out of memory");
    w->cloud = c;
    w->ledger = ledger;
    *ret = w;
    return 0;
}

void backstop_watch_close(struct backstop_watch *w)
{
    if (w)
        drop_buyers(w);
    free(w);
}
