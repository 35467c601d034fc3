#include "sim_cloud.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/disk.h"
#include "base/map.h"
#include "base/rand.h"
#include "base/zone.h"
#include "books/upkeep.h"

#define SETTLED_MAX 20000
#define MINUTE_US   INT64_C(60000000)

/* Limits as the keys file has them; 0: none. */
static const struct {
    const char *name;
    int64_t requests, tokens, concurrency;
    int64_t budget; /* of a day in ZONE, or of this world */
    int is_daily;
    int64_t overshoot; /* tokens */
} tenant[SIM_TENANTS + 1] = {{SIM_DEDICATED, 0, 0, 0, 0, 0, 0},
                             {"bold", 8, 0, 0, 4000, 1, 0},
                             {"calm", 0, 600, 0, 0, 0, 0},
                             {"deep", 20, 900, 4, 9000, 0, 60},
                             {"echo", 0, 0, 2, 3000, 1, 150},
                             {CLOUD_PLATFORM, 0, 0, 0, 0, 0, 0}}; /* the last: of hedges */
#define ZONE "Europe/Berlin"

static struct {
    char text[CLOUD_KEY_TEXT_MAX];
} keys[SIM_TENANTS];

/* Every row that was posted, in order: of earlier lives those that are in the ledger. */
static struct sim_use settled[SETTLED_MAX];
static int n_settled, n_before, n_safe; /* n_before: of earlier lives; n_safe: written for sure */
static int32_t n_inside[SIM_TENANTS];
static int64_t entered[SIM_TENANTS][SETTLED_MAX];
static int n_entered[SIM_TENANTS];
static struct {
    double tokens, at_us;
} owed[SIM_TENANTS];
/* Budgets: what was settled in the window, and is held in it; and in those before. */
static struct {
    int64_t from_s, until_s, settled, held, held_before;
} spent[SIM_TENANTS];
static int64_t energy_settled, energy_held; /* of SIM_ENERGY's budget */
static int n_pruned_to;                     /* only rows before this one may have been taken out */
static int64_t risked[SIM_TENANTS];         /* may be used, and is not held */
static struct zone *zone;
static uint64_t sum;

/* The window that it is time for; clocks that are set back change nothing. */
static void turn(int i, int is_start)
{
    int64_t now_s = clock_wall_us() / 1000000;

    if (!tenant[i].budget || (!is_start && (!tenant[i].is_daily || now_s < spent[i].until_s)))
        return;
    if (tenant[i].is_daily)
        zone_window(zone, ZONE_DAY, now_s, &spent[i].from_s, &spent[i].until_s);
    spent[i].held_before += spent[i].held;
    spent[i].settled = spent[i].held = 0;
}

/* A process starts: it knows what is in the ledger. */
static void start_budgets(void)
{
    memset(spent, 0, sizeof spent);
    energy_settled = energy_held = 0;
    for (int i = 0; i < SIM_TENANTS; i++)
        turn(i, 1);
    for (int k = 0; k < n_settled; k++) {
        const struct sim_use *u = &settled[k];
        int i = u->i_tenant;
        if (i == SIM_TENANTS)
            continue;
        if (i == SIM_ENERGY && u->uj > 0)
            energy_settled += u->uj;
        if (!tenant[i].is_daily || (u->ended_s >= spent[i].from_s && u->ended_s < spent[i].until_s))
            spent[i].settled += u->prompt + u->completion;
    }
}

void sim_enforced(int64_t *ret_settled, int64_t *ret_held)
{
    *ret_settled = *ret_held = 0;
    for (int i = 0; i < SIM_TENANTS; i++) {
        if (!tenant[i].budget)
            continue;
        turn(i, 0);
        *ret_settled += spent[i].settled;
        *ret_held += spent[i].held + spent[i].held_before;
    }
}

void sim_enforced_energy(int64_t *ret_settled, int64_t *ret_held)
{
    *ret_settled = energy_settled;
    *ret_held = energy_held;
}

static void hold_energy(const struct sim_use *u)
{
    if (u->uj_held < 0)
        sim_fail("a request is let in whose energy nobody knows");
    energy_held += u->uj_held;
    if (energy_settled + energy_held > SIM_UJ)
        sim_fail("a budget of energy lets in more than there is room for");
}

static void hold_budget(struct sim_use *u)
{
    int i = u->i_tenant;

    turn(i, 0);
    u->window_s = spent[i].from_s;
    spent[i].held += u->held;
    risked[i] += u->most - u->held;
    if (risked[i] > tenant[i].overshoot)
        sim_fail("more is risked than its tenant allows");
    if (tenant[i].budget && spent[i].settled + spent[i].held > tenant[i].budget)
        sim_fail("a budget is overshot");
}

static void settle_budget(const struct sim_use *u, int64_t used)
{
    int i = u->i_tenant;

    turn(i, 0);
    risked[i] -= u->most - u->held;
    if (u->window_s != spent[i].from_s) {
        spent[i].held_before -= u->held;
        return;
    }
    spent[i].held -= u->held;
    spent[i].settled += used;
    if (tenant[i].budget &&
        spent[i].settled + spent[i].held + risked[i] > tenant[i].budget + tenant[i].overshoot)
        sim_fail("a budget is overshot by more than its tenant allows");
}

void sim_begin(void)
{
    struct err e = {0};
    struct buf text;

    n_settled = n_before = n_safe = n_pruned_to = 0;
    if (!zone)
        CHECK(!zone_load(&zone, ZONE_DIR, ZONE, &e));
    start_budgets();
    sum = 0;
    memset(n_inside, 0, sizeof n_inside);
    memset(n_entered, 0, sizeof n_entered);
    memset(owed, 0, sizeof owed);
    memset(risked, 0, sizeof risked);
    buf_init(&text, 1 << 16);
    buf_add_str(&text, "salt 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n");
    for (int i = 0; i < SIM_TENANTS; i++) {
        buf_addf(&text, "tenant %s", tenant[i].name);
        if (tenant[i].requests)
            buf_addf(&text, " requests_per_minute=%lld", (long long)tenant[i].requests);
        if (tenant[i].tokens)
            buf_addf(&text, " tokens_per_minute=%lld", (long long)tenant[i].tokens);
        if (tenant[i].concurrency)
            buf_addf(&text, " concurrency=%lld", (long long)tenant[i].concurrency);
        if (tenant[i].budget)
            buf_addf(&text, " token_budget%s=%lld budget_zone=" ZONE " budget_warn=50",
                     tenant[i].is_daily ? "_per_day" : "", (long long)tenant[i].budget);
        if (!i)
            buf_add_str(&text, " budget=0.0008EUR");
        if (i == SIM_ENERGY)
            buf_add_str(&text, " energy_budget=0.00005Wh");
        if (tenant[i].overshoot)
            buf_addf(&text, " overshoot=%lld", (long long)tenant[i].overshoot);
        buf_add_str(&text, i == 1 || i == 2 ? " on_exceed=downgrade"
                           : !i || i == 3   ? " on_exceed=fallback fallback_model=" SIM_FALLBACK
                                            : "");
        buf_add_char(&text, '\n');
    }
    fake_disk_put("keys", text.data);
    for (int i = 0; i < SIM_TENANTS; i++) {
        snprintf(keys[i].text, sizeof keys[i].text, "a key of %s", tenant[i].name);
        CHECK(!cloud_key_line("keys", tenant[i].name, tenant[i].name, keys[i].text, &text, &e));
    }
    fake_disk_put("keys", text.data);
    buf_done(&text);
}

const char *sim_key(int i_tenant)
{
    return keys[i_tenant].text;
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* Never more than a full bucket and what a minute adds to it, within any minute. */
static void check_rate(int i)
{
    int first = n_entered[i];

    while (first && entered[i][first - 1] > clock_now_us() - MINUTE_US)
        first--;
    if (tenant[i].requests && n_entered[i] - first > 2 * tenant[i].requests)
        sim_fail("a tenant sent more requests in a minute than it may");
}

void sim_began(struct sim_use *u)
{
    unsigned char r[12];
    int i = u->i_tenant;

    CHECK(!rand_system(r, sizeof r));
    strcpy(u->id, "req_");
    for (size_t k = 0; k < sizeof r; k++)
        snprintf(u->id + 4 + 2 * k, 3, "%02x", r[k]);
    n_inside[i]++;
    if (tenant[i].concurrency && n_inside[i] > tenant[i].concurrency)
        sim_fail("a tenant has more requests under way than it may");
    CHECK(n_entered[i] < SETTLED_MAX);
    entered[i][n_entered[i]++] = clock_now_us();
    check_rate(i);
}

/* What a tenant owes of its full bucket: what it holds and has used, less what time has added. */
static double debt(int i)
{
    double now = (double)clock_now_us();

    owed[i].tokens -= (now - owed[i].at_us) / (double)MINUTE_US * (double)tenant[i].tokens;
    owed[i].tokens = owed[i].tokens > 0 ? owed[i].tokens : 0;
    owed[i].at_us = now;
    return owed[i].tokens;
}

void sim_held(struct sim_use *u)
{
    int i = u->i_tenant;

    CHECK(!u->is_held);
    u->is_held = 1;
    if (tenant[i].tokens && debt(i) + (double)u->held > (double)tenant[i].tokens + 0.01)
        sim_fail("a tenant holds more tokens than it may");
    owed[i].tokens += (double)u->held;
    if (i == SIM_ENERGY)
        hold_energy(u);
    hold_budget(u);
}

void sim_holds_energy(struct sim_use *u, int64_t uj)
{
    CHECK(u->is_held);
    if (uj < u->uj_held)
        sim_fail("what is used of energy made a hold smaller");
    if (u->i_tenant == SIM_ENERGY)
        energy_held += uj - u->uj_held;
    u->uj_held = uj;
}

void sim_back(struct sim_use *u, int64_t used)
{
    if (!u->is_held)
        return;
    u->is_held = 0;
    if (used > u->most)
        sim_fail("more was used than might be");
    settle_budget(u, used);
    if (u->i_tenant == SIM_ENERGY)
        energy_held -= u->uj_held;
    debt(u->i_tenant);
    owed[u->i_tenant].tokens -= (double)(u->held - used);
}

void sim_ended(struct sim_use *u, int is_settled)
{
    n_inside[u->i_tenant]--;
    sum = map_hash(u->id, strlen(u->id), sum + (uint64_t)clock_now_us());
    sim_back(u, is_settled ? u->prompt + u->completion : 0);
    if (!is_settled)
        return;
    CHECK(n_settled < SETTLED_MAX);
    u->ended_s = clock_wall_us() / 1000000;
    if (u->i_tenant == SIM_ENERGY) /* what nobody measured counts as it was held, until a restart */
        energy_settled += u->uj >= 0 ? u->uj : u->uj_held;
    settled[n_settled++] = *u;
}

void sim_hedged(const char *id, int64_t prompt, int64_t completion, int64_t uj)
{
    struct sim_use *u = &settled[n_settled];

    CHECK(n_settled < SETTLED_MAX);
    *u = (struct sim_use){
        .i_tenant = SIM_TENANTS, .prompt = prompt, .completion = completion, .uj = uj};
    snprintf(u->id, sizeof u->id, "%s", id);
    n_settled++;
}

/* ---- the ledger ------------------------------------------------------------------------------ */

void sim_written(int64_t n)
{
    if (n_before + n > n_settled)
        sim_fail("more rows were written than were settled");
    n_safe = n_before + (int)n;
}

static int64_t number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *st = NULL;
    int64_t n;

    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) || sqlite3_step(st) != SQLITE_ROW)
        sim_fail(sqlite3_errmsg(db));
    n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return n;
}

static int is_written(sqlite3_stmt *st, const struct sim_use *u)
{
    int found;

    sqlite3_bind_text(st, 1, u->id, -1, SQLITE_STATIC);
    found = sqlite3_step(st) == SQLITE_ROW;
    if (found &&
        (sqlite3_column_int64(st, 0) != u->prompt || sqlite3_column_int64(st, 1) != u->cached ||
         sqlite3_column_int64(st, 2) != u->completion || sqlite3_column_int64(st, 6) != u->lost ||
         sqlite3_column_int64(st, 7) != (u->uj < 0 ? 0 : u->uj) ||
         (sqlite3_column_int64(st, 8) == ENERGY_UNKNOWN) != (u->uj < 0) ||
         strcmp((const char *)sqlite3_column_text(st, 3), tenant[u->i_tenant].name)))
        sim_fail("a row is not what was settled");
    if (found && u->is_corrected &&
        (sqlite3_column_int64(st, 4) != u->charge_nano ||
         sqlite3_column_int64(st, 5) != u->cost_nano))
        sim_fail("a correction is not what was decided");
    sqlite3_reset(st);
    return found;
}

/* Every row that is safe is there, or was taken out; of the others those that are there stay. */
static void match_rows(sqlite3 *db, int64_t n_lost)
{
    sqlite3_stmt *st = NULL;
    int n = 0, n_there = 0;

    CHECK(!sqlite3_prepare_v2(
        db,
        "SELECT prompt_tokens, cached_tokens, completion_tokens, tenant, max(charge_nano, 0)"
        " + (SELECT total(charge_nano) FROM usage WHERE corrects = ?1), max(cost_nano, 0)"
        " + (SELECT total(cost_nano) FROM usage WHERE corrects = ?1), lost_completion_tokens,"
        " energy_uj, energy_method"
        " FROM usage WHERE request_id = ?1",
        -1, &st, NULL));
    for (int i = 0; i < n_settled; i++) {
        int there = is_written(st, &settled[i]);
        if (there && settled[i].is_pruned)
            sim_fail("a row that was taken out is there again");
        settled[i].is_pruned = !there && i < n_pruned_to;
        if (!there && !settled[i].is_pruned && i < n_safe)
            sim_fail("a request that was written is not in the ledger");
        n_there += there;
        if (there || settled[i].is_pruned)
            settled[n++] = settled[i];
    }
    sqlite3_finalize(st);
    /* What could not be written for sure may be there all the same. */
    if (n_lost >= 0 && n_settled - n > n_lost)
        sim_fail("more requests are lost than the books said");
    n_settled = n_before = n_safe = n;
    start_budgets();
    memset(owed, 0, sizeof owed); /* the next process begins with full buckets */
    memset(n_entered, 0, sizeof n_entered);
    if (number(db, "SELECT count(*) FROM usage WHERE corrects = ''") != n_there)
        sim_fail("the ledger has rows that nobody settled");
}

/* Balances are of all that was ever settled, also of what was taken out since. */
static void match_balances(sqlite3 *db)
{
    struct {
        int64_t n, prompt, completion, uj;
    } want[SIM_TENANTS + 1] = {0}, *w;
    sqlite3_stmt *st = NULL;
    int n_seen = 0, n_want = 0;

    for (int i = 0; i < n_settled; i++) {
        w = &want[settled[i].i_tenant];
        n_want += !w->n++;
        w->prompt += settled[i].prompt;
        w->completion += settled[i].completion;
        w->uj += settled[i].uj > 0 ? settled[i].uj : 0;
    }
    CHECK(!sqlite3_prepare_v2(
        db,
        "SELECT tenant, n_requests, prompt_tokens, completion_tokens, energy_uj,"
        " (SELECT amount FROM account WHERE account = 'tenant:' || tenant AND unit = 'energy')"
        " FROM balance",
        -1, &st, NULL));
    for (; sqlite3_step(st) == SQLITE_ROW; n_seen++) {
        int i = 0;
        while (strcmp(tenant[i].name, (const char *)sqlite3_column_text(st, 0)))
            CHECK(++i <= SIM_TENANTS);
        if (sqlite3_column_int64(st, 1) != want[i].n ||
            sqlite3_column_int64(st, 2) != want[i].prompt ||
            sqlite3_column_int64(st, 3) != want[i].completion ||
            sqlite3_column_int64(st, 4) != want[i].uj || sqlite3_column_int64(st, 5) != want[i].uj)
            sim_fail("a balance is not the sum of what was settled");
    }
    sqlite3_finalize(st);
    if (n_seen != n_want)
        sim_fail("a tenant's balance is missing");
}

void sim_correct(int64_t nth, int64_t charge_nano, int64_t cost_nano)
{
    const struct books_wish wish = {
        .charge_nano = &charge_nano, .cost_nano = &cost_nano, .at_us = clock_wall_us()};
    struct sim_use *u;
    struct books_row row;
    struct err e = {0};

    if (!n_safe)
        return;
    u = &settled[nth % n_safe];
    switch (books_correct("ledger.db", u->id, &wish, &row, &e)) {
    case 0:
        u->is_corrected = 1;
        u->charge_nano = charge_nano;
        u->cost_nano = cost_nano;
        break;
    case ERR_IO: /* nobody knows whether it was written */
        u->is_corrected = 0;
        break;
    default: /* it was taken out */
        break;
    }
}

void sim_prune(int64_t nth, int with_pending)
{
    int64_t n;
    int to, r;
    struct err e = {0};

    if (!n_safe)
        return;
    to = (int)(nth % n_safe);
    if (settled[to].is_pruned || to < n_pruned_to)
        return;
    /* That row is not of before its own end, so none after it goes either. */
    r = books_prune("ledger.db", settled[to].ended_s * 1000000, with_pending, &n, &e);
    if (!r || r == ERR_IO)
        n_pruned_to = to;
    else if (r != ERR_AGAIN)
        sim_fail(e.text);
}

void sim_judge(int64_t n_lost)
{
    sqlite3 *db = NULL;
    struct err e = {0};
    int64_t n;

    for (int i = 0; i < SIM_TENANTS; i++) {
        if (n_inside[i])
            sim_fail("a request has not ended");
    }
    if (books_audit("ledger.db", &n, &e)) /* which settles what is in the journal */
        sim_fail(e.text);
    if (sqlite3_open_v2("ledger.db", &db, SQLITE_OPEN_READWRITE, disk_vfs()))
        sim_fail("the ledger cannot be opened");
    match_rows(db, n_lost);
    match_balances(db);
    if (number(db, "SELECT count(*) FROM (SELECT sum(amount) AS s FROM account GROUP BY unit)"
                   " WHERE s <> 0"))
        sim_fail("the accounts do not sum to zero");
    sqlite3_close(db);
}

uint64_t sim_sum(void)
{
    return sum;
}
