/* sim_settlement [SEED [N]]: what power became and what is owed for it, in a simulated world, for N
 * seeds from SEED on.
 *
 * Sites change: sensors, files, orders, the grid and the dates of their lives take power away, more
 * is energised, some is held for others. Contracts with tranches at sites and in regions are
 * amended, delivered late, exercised and cancelled; notes tell causes and take them back; requests
 * draw power of their own, borrowed and above; servers end and are killed; clocks are set. Months
 * pass, watched at times. Clock, random numbers and disk are the simulation's; from the sites to
 * the statement all is the production code.
 *
 * What must hold: a statement is what sim_settle_again.c computes from the script alone, each line
 * to the joule and the billionth; one as it was known on a day is the same ever after; parts of a
 * period have its energies to the microjoule; hours sum to what was energised; and the audit finds
 * nothing. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "books/power_by_hour.h"
#include "cloud/accounts.h"
#include "cloud/cloud.h"
#include "cloud/power_watch.h"
#include "cloud/settled.h"
#include "fakes.h"
#include "sim_settle.h"

enum { WINDOWS = 8 };

static uint64_t seed, n_drawn;
static int64_t n_lines, n_credits, n_kinds[SETTLE_KINDS]; /* in all worlds */

int64_t below(int64_t n)
{
    uint32_t r[4];

    rand_philox(seed, n_drawn++, 92, r);
    return (int64_t)(((uint64_t)r[0] << 32 | r[1]) % (uint64_t)n);
}

static int64_t wall_s(void)
{
    return clock_wall_us() / S;
}

void fail(const char *what, ...)
{
    va_list ap;

    printf("not ok - seed %llu, %lld: ", (unsigned long long)seed, (long long)wall_s());
    va_start(ap, what);
    vprintf(what, ap);
    va_end(ap);
    printf("\n");
    exit(1);
}

static void must(int r, const struct err *e)
{
    if (r)
        fail("%s", e->text);
}

/* ---- sites ------------------------------------------------------------------------------- */

/* What each of those says that lower a factor; MILLION: nothing. Their last digits differ, so that
 * it can be told whose word holds. */
static struct site_of {
    int64_t file, order, sensors;
    int64_t call_from_us, call_until_us, call; /* of the grid, without a ramp */
    int64_t derated_s, full_s, off_s, on_s, derated;
    int64_t more_s; /* from then on the second row of power holds */
    struct power_row row[2];
    struct lifecycle_step step[5];
    struct site_terms terms;
} site[SITES];
static struct site_terms terms[SITES];
static struct cloud_sites sites = {terms, SITES};
static int64_t window_s[WINDOWS], window_end_s[WINDOWS];

static int64_t watts(int64_t most)
{
    return 1 + below(most);
}

static int64_t moment(void)
{
    int i = (int)below(WINDOWS);

    return window_s[i] + below(window_end_s[i] - window_s[i]);
}

static void order_moments(int64_t *v, int n)
{
    for (int i = 0; i < n; i++)
        v[i] = moment();
    for (int i = 0; i < n; i++) {
        for (int k = i + 1; k < n; k++) {
            int64_t least = v[i] < v[k] ? v[i] : v[k], most = v[i] < v[k] ? v[k] : v[i];
            v[i] = least;
            v[k] = most == least ? most + 1 : most;
        }
    }
}

static void draw_site(int i)
{
    struct site_of *s = &site[i];
    int64_t at[4];

    memset(s, 0, sizeof *s);
    order_moments(at, 4);
    for (int k = 1; k < 4; k++)
        at[k] = at[k] > at[k - 1] ? at[k] : at[k - 1] + 1;
    s->file = s->order = s->sensors = MILLION;
    s->derated = 100000 + below(80000) * 10 + 4;
    s->derated_s = at[0];
    s->full_s = at[1];
    s->off_s = at[2];
    s->on_s = at[3];
    s->step[0] = (struct lifecycle_step){LIFECYCLE_ACTIVE, LIFECYCLE_NO_DATE, 1, 0};
    s->step[1] =
        (struct lifecycle_step){LIFECYCLE_DERATED, LIFECYCLE_NO_DATE, at[0], (int32_t)s->derated};
    s->step[2] = (struct lifecycle_step){LIFECYCLE_ACTIVE, LIFECYCLE_NO_DATE, at[1], 0};
    s->step[3] = (struct lifecycle_step){LIFECYCLE_OFFLINE, at[2], LIFECYCLE_NO_DATE, 0};
    s->step[4] = (struct lifecycle_step){LIFECYCLE_ACTIVE, LIFECYCLE_NO_DATE, at[3], 0};
    basis[i] = (struct basis_of){(int)below(2), below(3) ? 1000 + below(1000) : 0};
    s->more_s = moment();
    for (int k = 0; k < 2; k++) {
        struct power_row *p = &s->row[k];
        p->from_s = k ? s->more_s : POWER_ALWAYS;
        p->energised_w = watts(6000000);
        p->contracted_w = p->energised_w + below(3) * 1000000;
        p->encumbered_w = below(2) ? 0 : below(p->energised_w / 2 + 1);
    }
    terms[i] = (struct site_terms){.name = place_name[i],
                                   .region = place_name[region_of[i]],
                                   .state = LIFECYCLE_ACTIVE,
                                   .basis = basis[i].is_facility ? POWER_FACILITY : POWER_IT,
                                   .pue_permille = (int32_t)basis[i].pue,
                                   .step = s->step,
                                   .n_steps = 5,
                                   .power = s->row,
                                   .n_power = 2,
                                   .factor_ppm = MILLION,
                                   .has_factor_file = 1,
                                   .has_environment = 1,
                                   .blind_ppm = MILLION,
                                   .curtail = {.calls_a_year = -1, .credit = -1, .clawback = -1},
                                   .carbon_mg = {-1, -1}};
}

static void lower(struct state_of *v, int64_t factor, int cause)
{
    if (factor < v->factor) {
        v->factor = factor;
        v->cause = cause;
    }
}

/* The site now, by the script. */
static struct state_of state_of(const struct site_of *s)
{
    int64_t now_s = wall_s(), now_us = clock_wall_us();
    const struct power_row *p = &s->row[now_s >= s->more_s];
    struct state_of v = {.contracted = p->contracted_w,
                         .energised = p->energised_w,
                         .encumbered = p->encumbered_w,
                         .factor = MILLION,
                         .cause = POWER_OPERATOR};

    lower(&v, s->file, POWER_OPERATOR);
    lower(&v, s->order, POWER_OPERATOR);
    lower(&v, s->sensors, POWER_ENVIRONMENT);
    if (now_us >= s->call_from_us && now_us < s->call_until_us)
        lower(&v, s->call, POWER_CURTAILMENT);
    if (now_s >= s->derated_s && now_s < s->full_s)
        lower(&v, s->derated, POWER_MAINTENANCE);
    if (now_s >= s->off_s && now_s < s->on_s) {
        v.factor = 0;
        v.cause = POWER_MAINTENANCE;
    }
    return v;
}

/* ---- a server ---------------------------------------------------------------------------- */

static struct cloud *cloud;
static struct books *books;
static struct power_watch *watch;
static int64_t n_ids;

static void open_server(void)
{
    const struct cloud_config config = {.accounts_path = "accounts.db",
                                        .sites = &sites,
                                        .currency = "EUR",
                                        .now_us = clock_now_us(),
                                        .wall_us = clock_wall_us()};
    struct err e = {0};

    must(books_open(&books, "ledger.db", 0, &e), &e);
    must(cloud_open(&cloud, &config, &e), &e);
    must(power_watch_open(&watch, cloud, "ledger.db", NULL, 1, &e), &e);
    for (int i = 0; i < SITES; i++) {
        struct site_environment v = {.factor_ppm = (int32_t)site[i].sensors};
        cloud_tell_site_environment(cloud, place_name[i], &v);
        cloud_tell_site_factor(cloud, place_name[i], (int32_t)site[i].file, NULL);
    }
    cloud_sync_accounts(cloud, clock_now_us());
    watch_begin();
}

static void look(void)
{
    struct state_of state[SITES];

    today_day = (int)(wall_s() / DAY);
    cloud_tell_wall(cloud, clock_now_us(), clock_wall_us());
    cloud_tick_sites(cloud, clock_wall_us());
    for (int i = 0; i < SITES; i++)
        state[i] = state_of(&site[i]);
    power_watch_look(watch, clock_now_us(), clock_wall_us());
    watch_look(clock_wall_us(), state);
}

static void close_server(int is_killed)
{
    if (is_killed)
        fake_disk_fail(FAKE_DEAD, 0, -1);
    else
        look();
    power_watch_close(watch, clock_wall_us());
    cloud_close(cloud);
    books_close(books);
    if (is_killed) {
        fake_disk_crash(seed + n_drawn);
        fake_disk_heal();
        watch_kill();
    } else {
        watch_end();
    }
}

/* Write all that was posted into the ledger. */
static void write_books(void)
{
    int64_t written, pending = 1, failures;

    while (pending || books_in_journal(books)) {
        books_step(books, clock_now_us());
        books_stats(books, &written, &pending, &failures);
        fake_clock_pass(S / 10);
    }
}

/* ---- what happens ------------------------------------------------------------------------ */

struct amendment {
    const char *text;
    int64_t effective_s;
};

static int amend(void *arg, struct accounts *a, struct err *e)
{
    struct amendment *m = arg;
    const struct account_who who = {"sim", wall_s()};
    struct contract_version v = {
        .name = "text", .text = m->text, .reason = "", .effective_s = m->effective_s};
    int r = accounts_amend(a, &who, &v, e);

    m->effective_s = v.effective_s;
    return r;
}

/* What the store refuses has not happened. */
static void put_version(struct contract_of *c, const struct version_of *v, int64_t effective_s)
{
    struct sheet x;
    struct amendment m = {x.at, effective_s};
    struct err e = {0};
    int r;

    write_contract(&x, c, v);
    r = cloud_with_accounts(cloud, clock_now_us(), amend, &m, &e);
    if (r && r != ERR_FORMAT && r != ERR_ARG)
        fail("%s", e.text);
    if (r)
        return;
    c->version[c->n] = *v;
    c->version[c->n].effective_s = m.effective_s;
    c->version[c->n++].recorded_s = wall_s();
}

static void amend_one(void)
{
    struct contract_of *c = &contract[below(CONTRACTS)];
    struct version_of v;
    int64_t effective_s = 0;

    if (!c->n || c->n == VERSIONS)
        return;
    v = c->version[c->n - 1];
    change_contract(&v);
    if (below(3) == 0)
        effective_s = wall_s() + (below(3) ? below(300) : below(5 * DAY));
    else if (below(3) == 0)
        effective_s = wall_s() - below(20 * DAY);
    put_version(c, &v, effective_s);
}

static void change_a_site(void)
{
    int i = (int)below(SITES);
    struct site_of *s = &site[i];
    const struct account_who who = {"sim", wall_s()};
    struct site_environment v = {0};
    struct site_order o = {SITE_KEEP, SITE_KEEP};
    struct site_call call = {.target = {.watts = -1}};
    int64_t to = below(3) ? below(100000) * 10 : MILLION;
    struct err e = {0};

    switch (below(4)) {
    case 0:
        s->file = to == MILLION ? to : to + 1;
        cloud_tell_site_factor(cloud, place_name[i], (int32_t)s->file, NULL);
        break;
    case 1:
        s->order = to == MILLION ? to : to + 2;
        o.factor_ppm = (int32_t)s->order;
        must(cloud_order_site(cloud, clock_now_us(), &who, place_name[i], &o, &e), &e);
        break;
    case 2:
        s->sensors = to == MILLION ? to : to + 3;
        v.factor_ppm = (int32_t)s->sensors;
        cloud_tell_site_environment(cloud, place_name[i], &v);
        break;
    default:
        if (s->call_until_us > clock_wall_us())
            return;
        snprintf(call.site, sizeof call.site, "%s", place_name[i]);
        call.from_s = wall_s() + 1 + below(60);
        call.until_s = call.from_s + 1 + below(200);
        call.target.ppm = (int32_t)(to == MILLION ? 0 : to + 5);
        must(cloud_call_site(cloud, clock_now_us(), &who, &call, &e), &e);
        s->call_from_us = call.from_s * S;
        s->call_until_us = call.until_s * S;
        s->call = call.target.ppm;
    }
}

static void write_note(void)
{
    struct power_entry row = {.at_us = clock_wall_us()};
    int cause = (int)below(CAUSES + 1) - 1, place = (int)below(PLACES);
    int64_t n = 0, from = clock_wall_us() / MINUTE * MINUTE - below(30) * MINUTE;
    struct err e = {0};

    if (n_notes == NOTES_MAX)
        return;
    row.piece.from_us = from;
    row.piece.until_us = from + (1 + below(40)) * MINUTE;
    snprintf(row.place, sizeof row.place, "%s%s", place < SITES ? "" : POWER_REGION,
             place_name[place]);
    snprintf(row.cause, sizeof row.cause, "%s",
             cause < 0 ? POWER_NO_CAUSE : power_cause_name((enum power_cause)cause));
    must(power_log_put("ledger.db", &row, 1, NULL, &n, &e), &e);
    if (n != 1)
        fail("a note was not written");
    note[n_notes++] = (struct note_of){place, cause, from, row.piece.until_us};
}

static void draw_use(struct use_of *u)
{
    *u = (struct use_of){.at_us = clock_wall_us(),
                         .i_contract = (int)below(CONTRACTS + 1) - 1,
                         .name = -1,
                         .energy = below(12) ? below(2000000000000) : NOT_TOLD,
                         .tokens = 1 + below(5000),
                         .site = (int)below(SITES)};
    if (u->i_contract < 0) {
        u->charge = below(1000000000000);
        return;
    }
    u->lent = (int)below(3);
    if (u->lent == OWN)
        u->name = (int)below(TRANCHES);
    u->is_customer = u->lent != LENT || below(4) == 0;
    u->charge = u->lent == OWN ? 0 : below(100000000000);
    u->is_foreign = u->charge && below(10) == 0;
}

static void post_use(void)
{
    struct use_of *u = &use[n_uses];
    struct books_row *r;

    if (n_uses >= USES_MAX || !(r = books_take(books)))
        return;
    if (n_uses && below(10) == 0) { /* what it costs is corrected */
        *u = use[below(n_uses)];
        if (u->is_correction)
            return;
        u->is_correction = 1;
        u->at_us = clock_wall_us();
        u->charge = u->lent == OWN && u->i_contract >= 0 ? 0 : below(2000000000) - 1000000000;
        u->energy = u->tokens = 0;
    } else {
        draw_use(u);
    }
    n_uses++;
    r->at_us = u->at_us;
    r->prompt_tokens = u->tokens;
    r->cached_tokens = r->completion_tokens = r->cache_write_tokens = r->reasoning_tokens = 0;
    r->lost_prompt_tokens = r->lost_cached_tokens = r->lost_completion_tokens = 0;
    r->energy_uj = u->energy == NOT_TOLD ? 0 : u->energy;
    r->energy_method = u->energy == NOT_TOLD || u->is_correction ? ENERGY_UNKNOWN : ENERGY_FEED;
    r->energy_boundary = ENERGY_IT;
    r->energy_uncertainty = r->usage_state = r->tier = 0;
    r->charge_nano = u->charge;
    r->cost_nano = 0;
    snprintf(r->currency, sizeof r->currency, "%s", u->is_foreign ? "USD" : "EUR");
    r->cost_currency[0] = r->team[0] = r->labels[0] = r->corrects[0] = 0;
    r->cost_own_nano = 0;
    r->status = 200;
    snprintf(r->request_id, sizeof r->request_id, "req_%08lld", (long long)n_ids++);
    if (u->is_correction)
        snprintf(r->corrects, sizeof r->corrects, "req_00000000");
    snprintf(r->tenant, sizeof r->tenant, "t%s",
             u->i_contract >= 0 && u->is_customer ? contract[u->i_contract].name : "other");
    snprintf(r->key_id, sizeof r->key_id, "k");
    snprintf(r->model, sizeof r->model, "m");
    snprintf(r->supplier, sizeof r->supplier, "a/m");
    snprintf(r->site, sizeof r->site, "%s", place_name[u->site]);
    r->contract[0] = r->tranche[0] = 0;
    if (u->i_contract >= 0)
        snprintf(r->contract, sizeof r->contract, "%s", contract[u->i_contract].name);
    if (u->name >= 0)
        snprintf(r->tranche, sizeof r->tranche, "p%d", u->name);
    r->lent = u->lent;
    r->weights[0] = r->engine[0] = r->sampling[0] = 0;
    r->prompt_hash[0] = r->output_hash[0] = r->price_book[0] = 0;
    books_post(books, r);
    books_step(books, clock_now_us());
}

static void set_clock(void)
{
    int64_t by = below(80 * S) - 40 * S;

    fake_clock_set(clock_now_us(), clock_wall_us() + by);
}

/* A time in which the sites are watched. */
static void live(int i)
{
    fake_clock_pass(window_s[i] * S - clock_wall_us() + below(S));
    if (below(3) == 0)
        fake_clock_pass(S - clock_wall_us() % S); /* a whole second */
    look();
    while (wall_s() < window_end_s[i]) {
        int what = (int)below(100);
        fake_clock_pass(below(40) ? below(9 * S) + 1 : below(90 * S));
        look();
        if (what < 12)
            change_a_site();
        else if (what < 16)
            amend_one();
        else if (what < 19)
            write_note();
        else if (what < 45)
            post_use();
        else if (what == 50 || what == 51) {
            write_books();
            close_server(what == 51);
            open_server();
        } else if (what == 52) {
            set_clock();
        }
    }
}

/* ---- what must hold ---------------------------------------------------------------------- */

static struct again again;

static struct known all_known(const struct contract_of *c)
{
    return (struct known){c->n, n_pieces, n_notes, n_uses, wall_s()};
}

static struct settled *settle(const struct contract_of *c, const struct known *k, int64_t from_s,
                              int64_t until_s)
{
    struct settled *s = settled_new();
    struct sheet x;
    struct err e = {0};

    s->from_s = from_s;
    s->until_s = until_s;
    s->made_s = s->known_s = k->made_s;
    for (int i = 0; i < k->n_versions; i++) {
        if (c->version[i].effective_s >= until_s)
            continue;
        write_contract(&x, c, &c->version[i]);
        must(settled_add(s, c->name, i + 1, c->version[i].effective_s, x.at, &e), &e);
        memcpy(s->version[s->n_versions - 1].measured, c->measured, sizeof c->measured);
    }
    must(settled_end(s, "ledger.db", &e), &e);
    must(settled_make(s, "ledger.db", &e), &e);
    return s;
}

static void show(const char *whose, int kind, int i, int cause, wide joules, wide amount,
                 int64_t from_s, int64_t until_s)
{
    char a[POWER_UJ_TEXT_MAX], b[POWER_UJ_TEXT_MAX];

    printf("# %s: %s tranche %d cause %d: %s J, %s, of %lld to %lld\n", whose,
           settlement_kind_name((enum settlement_kind)kind), i, cause, power_uj_show(joules, a),
           power_uj_show(amount, b), (long long)from_s, (long long)until_s);
}

static void compare(const struct contract_of *c, const struct settled *s)
{
    wide ready[TRANCHES] = {0}, watched[TRANCHES] = {0};

    for (int i = 0; i < s->n_lines && i < again.n; i++) {
        const struct settlement_line *l = &s->line[i];
        const struct line_of *o = &again.line[i];
        if ((int)l->kind == o->kind && l->i_tranche == o->i_tranche && l->cause == o->cause &&
            l->joules == o->joules && l->amount == o->amount && l->is_told == o->is_told &&
            s->part[l->i_part].until_s == o->until_s)
            continue;
        show("a statement has", (int)l->kind, l->i_tranche, l->cause, l->joules, l->amount,
             s->part[l->i_part].from_s, s->part[l->i_part].until_s);
        show("it should have", o->kind, o->i_tranche, o->cause, o->joules, o->amount, o->from_s,
             o->until_s);
        fail("line %d of %s", i, c->name);
    }
    if (s->n_lines != again.n || s->sum.total != again.total || s->prepaid != again.prepaid)
        fail("%s: %d lines and not %d, or another total", c->name, s->n_lines, again.n);
    for (int k = 0; k < s->n_parts; k++) {
        for (int i = 0; i < settled_contract_of(s, k)->n_tranches; i++) {
            ready[i] += s->part[k].tranche[i].ready;
            watched[i] += s->part[k].tranche[i].watched;
        }
    }
    for (int i = 0; i < TRANCHES; i++) {
        if (ready[i] != again.ready[i] || watched[i] != again.watched[i])
            fail("%s: other microjoules of tranche %d", c->name, i);
    }
    for (int i = 0; i < s->n_lines; i++) {
        n_lines++;
        n_kinds[s->line[i].kind]++;
        n_credits += s->line[i].kind == SETTLE_SHORT && s->line[i].amount;
    }
}

static void check_period(const struct contract_of *c, const struct known *k, int64_t from_s,
                         int64_t until_s)
{
    struct settled *s;

    until_s = until_s < k->made_s ? until_s : k->made_s;
    if (from_s >= until_s || until_s - from_s > 366 * DAY || from_s < c->version[0].effective_s)
        return;
    s = settle(c, k, from_s, until_s);
    again_make(&again, c, k, from_s, until_s);
    compare(c, s);
    settled_free(s);
}

/* A period cut anywhere at a minute has the energies of its parts. */
static void check_sums(const struct contract_of *c, const struct known *k, int64_t from_s,
                       int64_t until_s)
{
    static struct again whole, one, other;
    int64_t at = (from_s + below(until_s - from_s)) / 60 * 60;

    again_make(&whole, c, k, from_s, until_s);
    again_make(&one, c, k, from_s, at);
    again_make(&other, c, k, at, until_s);
    for (int i = 0; i < TRANCHES; i++) {
        int is_same = whole.ready[i] == one.ready[i] + other.ready[i] &&
                      whole.late[i] == one.late[i] + other.late[i] &&
                      whole.watched[i] == one.watched[i] + other.watched[i] &&
                      whole.used[i] == one.used[i] + other.used[i];
        for (int x = 0; x < CAUSES; x++)
            is_same = is_same && whole.missing[i][x] == one.missing[i][x] + other.missing[i][x];
        if (!is_same)
            fail("%s: a period has not the energies of its parts", c->name);
    }
    check_period(c, k, from_s, at);
    check_period(c, k, at, until_s);
}

static void check_contract(const struct contract_of *c)
{
    const struct known k = all_known(c);
    int64_t from = day_s(c, first_day), until;

    if (!c->n)
        return;
    for (int64_t at = next_month(c, from - 40 * DAY); at < k.made_s; at = until) {
        until = next_month(c, at);
        check_period(c, &k, at, until);
    }
    until = from + SPAN_DAYS * DAY < k.made_s ? from + SPAN_DAYS * DAY : k.made_s;
    if (until - from > 2 * DAY)
        check_sums(c, &k, from + below(DAY), until);
    for (int i = 0; i < 2; i++) {
        int64_t at = moment();
        check_period(c, &k, at, at + below(400));
    }
}

/* Each hour's parts are what was energised, and what was drawn. */
static void check_hours(int i)
{
    struct power_hour *hour = NULL;
    size_t n = 0;
    struct err e = {0};
    int64_t from_us = (int64_t)first_day * DAY * S;

    must(power_hours("ledger.db", place_name[i], from_us, clock_wall_us(), &hour, &n, &e), &e);
    for (size_t h = 0; h < n; h++) {
        wide energised = 0, drawn = 0, sum = 0, got;
        int64_t from = hour[h].from_us, until = from + HOUR;
        struct power_parts p;
        for (int k = 0; k < n_pieces; k++) {
            if (piece[k].is_written && piece[k].place == i && piece[k].from_us >= from &&
                piece[k].from_us < until)
                energised += piece[k].energised;
        }
        for (int k = 0; k < n_uses; k++) {
            if (use[k].site == i && !use[k].is_correction && use[k].energy != NOT_TOLD &&
                use[k].at_us >= from && use[k].at_us < until)
                drawn += use[k].energy;
        }
        power_parts(&hour[h].sum, &hour[h].use, &p);
        sum = p.encumbered + p.curtailed + p.used + p.lent + p.backstop + p.sold + p.idle;
        got = p.used + p.lent + p.backstop + p.over;
        if (p.energised != energised || sum != energised || got != drawn)
            fail("the parts of an hour of %s are not what it had", place_name[i]);
    }
    free(hour);
}

static void check_all(void)
{
    int64_t rows = 0;
    struct accounts *a = NULL;
    struct err e = {0};

    must(books_audit("ledger.db", &rows, &e), &e);
    must(accounts_open(&a, "accounts.db", &e), &e);
    must(accounts_audit_check(a, &rows, &e), &e);
    accounts_close(a);
    for (int k = 0; k < CONTRACTS; k++)
        check_contract(&contract[k]);
    for (int i = 0; i < SITES; i++)
        check_hours(i);
}

/* ---- as it was known on a day ------------------------------------------------------------ */

static struct {
    struct known k;
    int64_t from_s, until_s;
    char *text;
} before[CONTRACTS];

static char *as_text(const struct settled *s)
{
    json_t *j = settled_json(s);
    char *text;

    json_object_del(j, "upto"); /* rows of requests that ended later are not of the period */
    text = json_dumps(j, JSON_SORT_KEYS);
    json_decref(j);
    return text;
}

static void remember(int k)
{
    struct contract_of *c = &contract[k];
    struct settled *s;

    before[k].k = all_known(c);
    before[k].until_s = wall_s();
    before[k].from_s = wall_s() - 20 * DAY;
    s = settle(c, &before[k].k, before[k].from_s, before[k].until_s);
    before[k].text = as_text(s);
    settled_free(s);
}

static void check_before(int k)
{
    struct contract_of *c = &contract[k];
    struct settled *s;
    char *text;
    int n = 0;

    while (n < c->n && c->version[n].recorded_s <= before[k].k.made_s)
        n++;
    if (n != before[k].k.n_versions)
        fail("the clock went back by too much");
    s = settle(c, &before[k].k, before[k].from_s, before[k].until_s);
    text = as_text(s);
    if (strcmp(text, before[k].text) != 0 && getenv("SIM_DUMP"))
        fprintf(stderr, "%s\n%s\n", before[k].text, text);
    if (strcmp(text, before[k].text) != 0)
        fail("%s: what was known on a day has changed since", c->name);
    again_make(&again, c, &before[k].k, before[k].from_s, before[k].until_s);
    compare(c, s);
    settled_free(s);
    free(text);
    free(before[k].text);
}

/* ---- a world ----------------------------------------------------------------------------- */

/* Years begin, clocks change, February has 28 and 29 days. */
static int draw_day(void)
{
    static const int day[][3] = {{2027, 1, 20}, {2027, 2, 20}, {2027, 3, 10}, {2027, 10, 12},
                                 {2027, 12, 5}, {2028, 2, 2},  {2028, 6, 1},  {2099, 12, 20}};
    const int *d = day[below(8)];

    return day_number(d[0], d[1], d[2]) + (int)below(10);
}

static void draw_windows(void)
{
    int64_t each = (int64_t)SPAN_DAYS * DAY / WINDOWS;

    for (int i = 0; i < WINDOWS; i++) {
        int64_t at = (int64_t)first_day * DAY + i * each + below(each - DAY);
        if (below(2)) /* about the beginning of a day */
            at = (at / DAY + 1) * DAY - below(3) * 3600 - below(180);
        window_s[i] = at;
        window_end_s[i] = at + 60 + below(420);
    }
}

static void begin(void)
{
    n_drawn = 0;
    n_notes = n_uses = 0;
    n_ids = 0;
    fake_disk_reset();
    fake_rand_seed(seed);
    watch_forget();
    first_day = draw_day();
    today_day = first_day;
    fake_clock_set(5 * S, ((int64_t)first_day * DAY - 3600) * S);
    draw_windows();
    for (int i = 0; i < SITES; i++)
        draw_site(i);
    open_server();
    for (int k = 0; k < CONTRACTS; k++) {
        draw_contract(k);
        for (int tries = 0; !contract[k].n; tries++) {
            struct version_of v = contract[k].version[0];
            put_version(&contract[k], &v, 0);
            if (!contract[k].n)
                draw_contract(k);
            if (tries > 1000)
                fail("no contract can be drawn");
        }
    }
}

static void world(void)
{
    begin();
    for (int i = 0; i < WINDOWS; i++) {
        live(i);
        if (i != WINDOWS / 2)
            continue;
        write_books();
        close_server(0);
        fake_clock_pass(3600 * S); /* the clock was set back: what is written is of before */
        for (int k = 0; k < CONTRACTS; k++)
            remember(k);
        fake_clock_pass(300 * S);
        open_server();
    }
    write_books();
    close_server(0);
    fake_clock_pass(below(40) * DAY * S + 1);
    check_all();
    for (int k = 0; k < CONTRACTS; k++)
        check_before(k);
}

int main(int argc, char **argv)
{
    uint64_t from = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;

    log_setup(LOG_OFF, 0);
    printf("1..1\n");
    for (seed = from; seed < from + n; seed++)
        world();
    for (int i = 0; i <= SETTLE_PREPAID; i++) {
        if (n >= 10 && !n_kinds[i])
            fail("no statement has a line of %s", settlement_kind_name((enum settlement_kind)i));
    }
    printf("ok 1 - %llu worlds: %lld lines of statements, %lld credits for what was missing\n",
           (unsigned long long)n, (long long)n_lines, (long long)n_credits);
    return 0;
}
