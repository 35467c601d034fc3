#include "cloud/holds.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/money.h"
#include "base/put.h"
#include "base/watthour.h"

static const int64_t period_s[N_PERIODS] = {60, 3600, 86400};
static const char *const period_name[N_PERIODS] = {"minute", "hour", "day"};
static const enum zone_span spans[N_SPANS - 1] = {ZONE_DAY, ZONE_WEEK, ZONE_MONTH};
static const char *const span_name[N_SPANS] = {"a day", "a week", "a month", "in all"};
static const char *const span_word[N_SPANS] = {"day", "week", "month", "all"};

/* ---- accounts -------------------------------------------------------------------------------- */

_Static_assert(TALLY_RATES == 3 * N_PERIODS && TALLY_BUDGETS == N_BUDGETS, "a row has all");

/* What others made of its budgets. A window that one of them has begun ends this process's own. */
static void pull(struct holds_account *a)
{
    for (int b = 0; b < N_BUDGETS; b++) {
        const struct tally_budget *s = &a->row->budget[b];
        struct budget *u = &a->budget[b];
        if (u->from != s->from || u->until != s->until) {
            budget_turn(u, s->from, s->until, s->settled);
            u->held_before -= a->others[b]; /* as it was when the lock was had last */
            a->own[b] = 0;
            a->told[b] = 0;
        }
        a->others[b] = 0;
        for (int i = 0; i < TALLY_PROCESSES; i++)
            a->others[b] += i == a->slot ? 0 : s->held[i];
        u->settled = s->settled;
        u->held = a->own[b] + a->others[b];
    }
}

static void push(struct holds_account *a)
{
    for (int b = 0; b < N_BUDGETS; b++) {
        struct tally_budget *s = &a->row->budget[b];
        struct budget *u = &a->budget[b];
        if (u->from != s->from || u->until != s->until) { /* it was turned just now */
            u->held_before -= a->others[b];
            a->others[b] = 0;
            memset(s->held, 0, sizeof s->held);
            s->from = u->from;
            s->until = u->until;
        }
        a->own[b] = u->held - a->others[b];
        s->held[a->slot] = a->own[b];
        s->settled = u->settled;
        s->counted &= ~(1u << a->slot);
        s->counted |= (unsigned)(u->amount >= 0) << a->slot;
    }
}

static void lock(struct holds_account *a)
{
    pthread_mutex_lock(&a->lock);
    if (a->row) {
        tally_lock(a->row);
        pull(a);
    }
}

static void unlock(struct holds_account *a)
{
    if (a->row) {
        push(a);
        tally_unlock(a->row);
    }
    pthread_mutex_unlock(&a->lock);
}

/* Does this process, or another one, keep count of a budget? Under the account's lock. */
static int is_counted(const struct holds_account *a, int b)
{
    return a->budget[b].amount >= 0 || (a->row && a->row->budget[b].counted);
}

static int span_of(int b)
{
    return b % N_SPANS;
}

static int kind_of(int b)
{
    return b / N_SPANS;
}

const char *holds_kind_name(int kind)
{
    static const char *const names[N_KINDS] = {
        [OF_TOKENS] = "tokens", [OF_MONEY] = "money", [OF_ENERGY] = "energy"};

    return names[kind];
}

/* "5000 tokens", "50.00 EUR", "1.5 Wh". */
static void budget_text(const struct holds_account *a, int b, int64_t n, char *ret, size_t cap)
{
    char amount[MONEY_TEXT_MAX], energy[WATTHOUR_TEXT_MAX];

    if (kind_of(b) == OF_MONEY)
        snprintf(ret, cap, "%s %s", money_show(n, amount), a->currency);
    else if (kind_of(b) == OF_ENERGY)
        snprintf(ret, cap, "%s Wh", watthour_show(n, energy));
    else
        snprintf(ret, cap, "%lld tokens", (long long)n);
}

/* Tell its owner, once in a window. Under the account's lock. */
static void tell(struct holds_account *a, int b, enum notice_type type, int64_t now_s)
{
    const struct budget *u = &a->budget[b];
    struct notice n = {.type = type,
                       .kind = a->kind,
                       .at_s = now_s,
                       .span = span_word[span_of(b)],
                       .of = kind_of(b),
                       .warn = a->warn,
                       .limit = u->amount,
                       .used = u->settled + u->held,
                       .from_s = u->from,
                       .until_s = u->until};

    if (a->told[b] & 1u << type)
        return;
    a->told[b] |= 1u << type;
    put_text(n.account, sizeof n.account, a->name);
    put_text(n.currency, sizeof n.currency, n.of == OF_MONEY ? a->currency : "");
    notices_put(a->notices, &n);
}

void holds_account_init(struct holds_account *a, enum account_kind kind, const char *name,
                        const char *currency)
{
    *a = (struct holds_account){
        .kind = kind, .name = name, .currency = currency ? currency : "", .warn = -1};
    pthread_mutex_init(&a->lock, NULL);
    for (int p = 0; p < N_PERIODS; p++)
        a->requests[p].period_s = a->tokens[p].period_s = a->uncached[p].period_s = period_s[p];
    for (int b = 0; b < N_BUDGETS; b++)
        a->budget[b].amount = -1;
}

void holds_account_share(struct holds_account *a, struct tally *t)
{
    struct quota_bucket *const buckets[] = {a->requests, a->tokens, a->uncached};
    static const char letters[ACCOUNT_KINDS] = {'t', 'g', 'k'};
    char letter = letters[a->kind];

    a->row = t ? tally_row(t, letter, a->name) : NULL;
    if (!a->row)
        return;
    a->slot = tally_slot(t);
    for (int i = 0; i < 3 * N_PERIODS; i++)
        buckets[i / N_PERIODS][i % N_PERIODS].shared = &a->row->paid_ns[i];
}

void holds_account_done(struct holds_account *a)
{
    zone_free(a->zone);
    pthread_mutex_destroy(&a->lock);
}

/* Does that budget limit anything now? A fixed span limits nothing outside of it. Begins the window
 * that it is time for. Under the account's lock. */
static int is_due(struct holds_account *a, int b, int64_t now_s)
{
    struct budget *u = &a->budget[b];
    int64_t from, until;

    if (u->amount < 0)
        return 0;
    if (span_of(b) == BUDGET_SPAN)
        return now_s >= u->from && now_s < u->until;
    if (now_s >= u->until) {
        zone_window(a->zone, spans[span_of(b)], now_s, &from, &until);
        budget_turn(u, from, until, 0);
        a->told[b] = 0;
    }
    return 1;
}

static void set_rates(struct holds_account *a, const struct account_settings *s, int64_t now_us)
{
    const int64_t rates[3][N_PERIODS] = {
        {s->requests_per_minute, s->requests_per_hour, s->requests_per_day},
        {s->tokens_per_minute, s->tokens_per_hour, s->tokens_per_day},
        {s->uncached_tokens_per_minute, s->uncached_tokens_per_hour, s->uncached_tokens_per_day}};
    struct quota_bucket *const buckets[3] = {a->requests, a->tokens, a->uncached};

    for (int i = 0; i < 3; i++) {
        for (int p = 0; p < N_PERIODS; p++)
            quota_limit(&buckets[i][p], rates[i][p] > 0 ? rates[i][p] : 0, now_us);
    }
    atomic_store(&a->concurrency_max, s->concurrency > 0 ? s->concurrency : 0);
    atomic_store(&a->overshoot_max, s->overshoot > 0 ? s->overshoot : 0);
    atomic_store(&a->output_max, s->max_output_tokens > 0 ? s->max_output_tokens : 0);
}

/* What settings make of a budget: its window, and what was settled there. */
struct wanted {
    int64_t amount, from, until, settled;
    int is_kept; /* that is counted already */
};

static int is_same(const struct budget *b, const struct wanted *w)
{
    return b->from == w->from && b->until == w->until;
}

/* A clock that was set back reopens no window: the one that runs is kept. */
static void keep_later(struct holds_account *a, int b, int64_t now_s, struct wanted *w)
{
    const struct budget *u = &a->budget[b];

    lock(a);
    if (u->amount >= 0 && u->from > now_s) {
        w->from = u->from;
        w->until = u->until;
    }
    unlock(a);
}

/* Ask the past about each window that the account has not kept count of. */
static int want_budgets(struct holds_account *a, const struct holds_past *past,
                        struct wanted w[N_BUDGETS], struct err *e)
{
    int r = 0;

    for (int b = 0; !r && past && b < N_BUDGETS; b++) {
        int64_t used[N_KINDS] = {0};
        lock(a);
        w[b].is_kept = is_counted(a, b) && is_same(&a->budget[b], &w[b]);
        unlock(a);
        if (w[b].amount >= 0 && !w[b].is_kept)
            r = past->used(past->ctx, a, w[b].from, w[b].until, used, e);
        w[b].settled = used[kind_of(b)];
    }
    return r;
}

/* Under the account's lock. */
static void put_budget(struct holds_account *a, int b, const struct wanted *w)
{
    struct budget *u = &a->budget[b];
    int is_same_still = is_same(u, w) && u->amount == w->amount;

    if (w->amount >= 0 && !is_same(u, w)) {
        budget_turn(u, w->from, w->until, w->settled);
    } else if (w->amount >= 0 && u->amount < 0 &&
               !w->is_kept) { /* it was away, and its holders are not */
        u->settled = w->settled;
    }
    if (!is_same_still)
        a->told[b] = 0;
    u->amount = w->amount;
}

int holds_set(struct holds_account *a, const struct account_settings *s,
              const struct holds_past *past, int64_t now_us, int64_t now_s, struct err *e)
{
    const int64_t amount[N_BUDGETS] = {s->token_budget_per_day,    s->token_budget_per_week,
                                       s->token_budget_per_month,  s->token_budget,
                                       s->budget_per_day,          s->budget_per_week,
                                       s->budget_per_month,        s->budget,
                                       s->energy_budget_per_day,   s->energy_budget_per_week,
                                       s->energy_budget_per_month, s->energy_budget};
    struct wanted w[N_BUDGETS] = {{0}};
    struct zone *zone = NULL, *old;
    int n = 0, r = s->budget_zone ? zone_load(&zone, ZONE_DIR, s->budget_zone, e) : 0;

    for (int b = 0; b < N_BUDGETS; b++) {
        w[b].amount = amount[b];
        if (span_of(b) < BUDGET_SPAN) {
            zone_window(zone, spans[span_of(b)], now_s, &w[b].from, &w[b].until);
            keep_later(a, b, now_s, &w[b]);
        } else {
            w[b].from = s->budget_from > 0 ? s->budget_from : 0;
            w[b].until = s->budget_until > 0 ? s->budget_until : INT64_MAX;
        }
        n += w[b].amount >= 0;
    }
    if (!r)
        r = want_budgets(a, past, w, e);
    if (r) {
        zone_free(zone);
        return r;
    }
    set_rates(a, s, now_us);
    lock(a);
    for (int b = 0; b < N_BUDGETS; b++)
        put_budget(a, b, &w[b]);
    old = a->zone;
    a->zone = zone;
    for (int b = 0; a->warn != s->budget_warn && b < N_BUDGETS; b++)
        a->told[b] &= ~(1u << NOTICE_SOFT_LIMIT);
    a->warn = s->budget_warn;
    unlock(a);
    atomic_store(&a->n_budgets, n);
    zone_free(old);
    return 0;
}

/* ---- requests and sequences ------------------------------------------------------------------ */

static int refuse_sequences(const struct holds_account *a, struct holds_refusal *ret)
{
    ret->retry_us = 1000000;
    return err_set_param(ret->e, ERR_QUEUE_FULL, "quota",
                         "Too many sequences of this %s are under way (limit %lld).",
                         account_kind_name(a->kind), (long long)atomic_load(&a->concurrency_max));
}

static int refuse_requests(const struct holds_account *a, int period, struct holds_refusal *ret)
{
    return err_set_param(ret->e, ERR_RATE_REQUESTS, "quota",
                         "Requests per %s limit exceeded (%lld) - too many requests sent.",
                         period_name[period], (long long)atomic_load(&a->requests[period].limit));
}

/* Count one request in all rates, or in none. */
static int count_request(struct holds *h, int64_t now_us, struct holds_refusal *ret)
{
    struct quota_held held[HOLDS_PATH_MAX * N_PERIODS];
    int n = 0, n_all = h->n_path * N_PERIODS;

    while (n < n_all && !quota_hold(&h->path[n / N_PERIODS]->requests[n % N_PERIODS], 1, now_us,
                                    &held[n], &ret->retry_us))
        n++;
    if (n == n_all)
        return 0;
    for (int i = 0; i < n; i++)
        quota_settle(&h->path[i / N_PERIODS]->requests[i % N_PERIODS], held[i], 0, now_us);
    return refuse_requests(h->path[n / N_PERIODS], n % N_PERIODS, ret);
}

int holds_enter(struct holds *h, int64_t now_us, struct holds_refusal *ret)
{
    int r = count_request(h, now_us, ret);

    if (r)
        return r;
    for (int i = 0; i < h->n_path; i++) {
        struct holds_account *a = h->path[i];
        if (quota_enter(&a->n_inside, atomic_load(&a->concurrency_max))) {
            while (i-- > 0)
                quota_leave(&h->path[i]->n_inside, 1);
            return refuse_sequences(a, ret);
        }
        for (int p = 0; p < N_PERIODS; p++) { /* of one that never holds any */
            h->tokens[i][p].limit = atomic_load(&a->tokens[p].limit);
            h->uncached[i][p].limit = atomic_load(&a->uncached[p].limit);
        }
    }
    h->n_seqs = 1;
    return 0;
}

int holds_widen(struct holds *h, int32_t n_jobs, int32_t n_choices, int32_t *ret_at_once,
                struct holds_refusal *ret)
{
    int64_t n = n_jobs, got;

    for (int i = 0; i < h->n_path; i++) {
        int64_t max = atomic_load(&h->path[i]->concurrency_max);
        if (max > 0 && n_choices > max)
            return err_set_param(ret->e, ERR_LIMIT, "n",
                                 "n: %d choices are more than this %s may have under way "
                                 "together (limit %lld).",
                                 n_choices, account_kind_name(h->path[i]->kind), (long long)max);
    }
    for (int i = 0; i < h->n_path; i++) {
        struct holds_account *a = h->path[i];
        got = quota_widen(&a->n_inside, atomic_load(&a->concurrency_max), h->n_seqs, n, n_choices);
        for (int k = 0; k < i; k++) /* those before give back what this one has not */
            quota_leave(&h->path[k]->n_inside, n * n_choices - (got ? got * n_choices : h->n_seqs));
        if (!got)
            return refuse_sequences(a, ret);
        n = got;
    }
    h->n_seqs = n * n_choices;
    *ret_at_once = (int32_t)n;
    return 0;
}

void holds_leave(struct holds *h)
{
    for (int i = 0; i < h->n_path; i++)
        quota_leave(&h->path[i]->n_inside, h->n_seqs);
    h->n_seqs = 0;
}

int holds_double(const struct holds *h, struct holds *ret)
{
    for (int i = 0; i < h->n_path; i++) {
        struct holds_account *a = h->path[i];
        if (!quota_widen(&a->n_inside, atomic_load(&a->concurrency_max), 0, 1, h->n_seqs)) {
            ret->n_seqs = h->n_seqs;
            holds_leave(ret);
            ret->n_path = 0;
            return -1;
        }
        ret->path[ret->n_path++] = a;
    }
    ret->n_seqs = h->n_seqs;
    return 0;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static int64_t less(int64_t room, int64_t of)
{
    return room > 0 && room < of ? room : of;
}

int64_t holds_output_max(const struct holds *h)
{
    int64_t least = 0;

    for (int i = 0; i < h->n_path; i++) {
        int64_t max = atomic_load(&h->path[i]->output_max);
        least = max > 0 ? less(least, max) : least;
    }
    return least;
}

/* What is left of an account's budgets of a kind. */
static int64_t budgets_left(struct holds_account *a, int kind, int64_t now_s)
{
    int64_t least = INT64_MAX, left;

    if (!atomic_load(&a->n_budgets))
        return least;
    lock(a);
    for (int b = kind * N_SPANS; b < (kind + 1) * N_SPANS; b++) {
        left = is_due(a, b, now_s) ? budget_left(&a->budget[b]) : INT64_MAX;
        least = left < least ? left : least;
    }
    unlock(a);
    return least;
}

int64_t holds_budget(const struct holds *h, int kind, int64_t now_s)
{
    int64_t least = INT64_MAX;

    for (int i = 0; i < h->n_path; i++) {
        int64_t left = budgets_left(h->path[i], kind, now_s);
        least = left < least ? left : least;
    }
    return least;
}

int64_t holds_room(const struct holds *h, int64_t now_s)
{
    int64_t room = 0, left;

    for (int i = 0; i < h->n_path; i++) {
        struct holds_account *a = h->path[i];
        for (int p = 0; p < N_PERIODS; p++) {
            int64_t all = atomic_load(&a->tokens[p].limit),
                    some = atomic_load(&a->uncached[p].limit);
            room = all > 0 ? less(room, all) : room;
            room = some > 0 ? less(room, some) : room;
        }
        left = budgets_left(a, OF_TOKENS, now_s);
        if (left < INT64_MAX)
            room = less(room, left > 0 ? left : 1);
    }
    return room;
}

int64_t holds_left(const struct holds *h, int64_t now_us)
{
    int64_t least = INT64_MAX, left, full_us;

    for (int i = 0; i < h->n_path * N_PERIODS; i++) {
        struct holds_account *a = h->path[i / N_PERIODS];
        struct quota_bucket *const both[] = {&a->tokens[i % N_PERIODS],
                                             &a->uncached[i % N_PERIODS]};
        for (int k = 0; k < 2; k++) {
            if (atomic_load(&both[k]->limit) <= 0)
                continue;
            quota_look(both[k], now_us, &left, &full_us);
            least = left < least ? left : least;
        }
    }
    return least;
}

static int is_limited(struct holds_account *a)
{
    int any = atomic_load(&a->n_budgets) > 0;

    for (int p = 0; !any && p < N_PERIODS; p++)
        any = atomic_load(&a->tokens[p].limit) > 0 || atomic_load(&a->uncached[p].limit) > 0;
    return any;
}

/* Take as much as is free, up to that. */
static int64_t take_risk(struct holds_account *a, int64_t want)
{
    int64_t max = atomic_load(&a->overshoot_max), now = atomic_load(&a->risked), n;

    do {
        n = max - now < want ? max - now : want;
        if (n <= 0)
            return 0;
    } while (!atomic_compare_exchange_weak(&a->risked, &now, now + n));
    return n;
}

static void give_risk(struct holds *h, int i, int64_t n)
{
    atomic_fetch_sub(&h->path[i]->risked, n);
    h->risked[i] -= n;
}

int64_t holds_risk(struct holds *h, int64_t want)
{
    int any = 0;

    for (int i = 0; want > 0 && i < h->n_path; i++) {
        if (!is_limited(h->path[i]))
            continue;
        any = 1;
        want = h->risked[i] = take_risk(h->path[i], want);
    }
    for (int i = 0; i < h->n_path; i++) { /* those before give back what a later one had not */
        if (h->risked[i] > want)
            give_risk(h, i, h->risked[i] - want);
    }
    return any ? want : 0;
}

int holds_may_risk(const struct holds *h)
{
    for (int i = 0; i < h->n_path; i++) {
        if (atomic_load(&h->path[i]->overshoot_max))
            return 1;
    }
    return 0;
}

static int refuse_tokens(int never, int uncached, int period, int64_t limit, int64_t n,
                         struct holds_refusal *ret)
{
    const char *what = uncached ? "Uncached tokens" : "Tokens";

    if (never)
        return err_set_param(
            ret->e, ERR_QUOTA, "quota",
            "%s per %s limit exceeded (%lld) - this request may use %lld tokens, more than that "
            "limit ever allows. Please reduce the length of the messages or of the completion.",
            what, period_name[period], (long long)limit, (long long)n);
    return err_set_param(ret->e, ERR_RATE_TOKENS, "quota",
                         "%s per %s limit exceeded (%lld) - too many tokens processed.", what,
                         period_name[period], (long long)limit);
}

static int hold_rates(struct holds *h, int i, int64_t now_us, int64_t n, struct holds_refusal *ret)
{
    struct holds_account *a = h->path[i];

    for (int k = 0; k < 2 * N_PERIODS; k++) {
        int p = k % N_PERIODS, uncached = k >= N_PERIODS;
        struct quota_bucket *b = uncached ? &a->uncached[p] : &a->tokens[p];
        int r = quota_hold(b, n, now_us, uncached ? &h->uncached[i][p] : &h->tokens[i][p],
                           &ret->retry_us);
        if (r)
            return refuse_tokens(r == QUOTA_NEVER, uncached, p, atomic_load(&b->limit), n, ret);
    }
    return 0;
}

static int refuse_budget(const struct holds_account *a, int b, int64_t n, const struct budget *was,
                         struct holds_refusal *ret)
{
    char amount[64], left[64], may[64];

    if (n < 0 && kind_of(b) == OF_ENERGY)
        return err_set_param(ret->e, ERR_BUDGET, "quota",
                             "How much energy this model takes is not known, and the budget is one "
                             "of energy.");
    if (n < 0)
        return err_set_param(ret->e, ERR_BUDGET, "quota",
                             "This model has no price, and the budget is one of money.");
    budget_text(a, b, was->amount, amount, sizeof amount);
    budget_text(a, b, budget_left(was), left, sizeof left);
    budget_text(a, b, n, may, sizeof may);
    return err_set_param(ret->e, ERR_BUDGET, "quota",
                         "The budget of %s %s has %s left, and this request may use %s.", amount,
                         span_name[span_of(b)], left, may);
}

static int hold_budgets(struct holds *h, int i, int64_t now_s, const int64_t n[N_KINDS],
                        struct holds_refusal *ret)
{
    struct holds_account *a = h->path[i];
    struct budget was = {0};
    int b, r = 0;

    if (!atomic_load(&a->n_budgets))
        return 0;
    lock(a);
    for (b = 0; b < N_BUDGETS; b++) {
        if (!is_due(a, b, now_s))
            continue;
        was = a->budget[b];
        r = n[kind_of(b)] < 0 ? -1 : budget_hold(&a->budget[b], n[kind_of(b)], &h->budget[i][b]);
        if (r && n[kind_of(b)] >= 0)
            tell(a, b, NOTICE_EXHAUSTED, now_s);
        if (r)
            break;
    }
    unlock(a);
    return r ? refuse_budget(a, b, n[kind_of(b)], &was, ret) : 0;
}

int holds_reserve(struct holds *h, int64_t now_us, int64_t now_s, const int64_t n[N_KINDS],
                  struct holds_refusal *ret)
{
    static const struct holds_use nothing = {0};
    int r = 0;

    for (int i = 0; !r && i < h->n_path; i++) {
        r = hold_rates(h, i, now_us, n[OF_TOKENS], ret);
        if (!r)
            r = hold_budgets(h, i, now_s, n, ret);
    }
    if (r)
        holds_settle(h, now_us, now_s, &nothing);
    return r;
}

static int holds_any(const struct holds *h, int i)
{
    for (int b = 0; b < N_BUDGETS; b++) {
        if (h->budget[i][b].is_held)
            return 1;
    }
    return atomic_load(&h->path[i]->n_budgets) > 0;
}

void holds_more(struct holds *h, int kind, int64_t n)
{
    for (int i = 0; i < h->n_path; i++) {
        struct holds_account *a = h->path[i];
        if (!holds_any(h, i))
            continue;
        lock(a);
        for (int b = kind * N_SPANS; b < (kind + 1) * N_SPANS; b++)
            budget_hold_more(&a->budget[b], &h->budget[i][b], n);
        unlock(a);
    }
}

/* Put the truth in place of what is held of an account's budgets. Returns those whose owner is to
 * be warned now, as bits. */
static unsigned settle_budgets(struct holds *h, int i, int64_t now_s, const int64_t booked[N_KINDS],
                               int percent[N_BUDGETS])
{
    struct holds_account *a = h->path[i];
    unsigned warn = 0;

    lock(a);
    for (int b = 0; b < N_BUDGETS; b++) {
        struct budget *u = &a->budget[b];
        if (is_due(a, b, now_s) || h->budget[i][b].is_held)
            budget_settle(u, &h->budget[i][b], booked[kind_of(b)]);
        percent[b] = budget_percent(u);
        if (u->amount < 0)
            continue;
        if (a->warn >= 0 && percent[b] >= a->warn) {
            warn |= a->told[b] & 1u << NOTICE_SOFT_LIMIT ? 0 : 1u << b;
            tell(a, b, NOTICE_SOFT_LIMIT, now_s);
        }
        if (u->settled >= u->amount)
            tell(a, b, NOTICE_EXHAUSTED, now_s);
    }
    unlock(a);
    return warn;
}

void holds_settle(struct holds *h, int64_t now_us, int64_t now_s, const struct holds_use *u)
{
    for (int i = 0; i < h->n_path; i++) {
        struct holds_account *a = h->path[i];
        int percent[N_BUDGETS];
        unsigned warn;
        for (int p = 0; p < N_PERIODS; p++) {
            quota_settle(&a->tokens[p], h->tokens[i][p], u->tokens, now_us);
            quota_settle(&a->uncached[p], h->uncached[i][p], u->uncached, now_us);
            h->tokens[i][p].ns = h->uncached[i][p].ns = 0;
        }
        give_risk(h, i, h->risked[i]);
        warn = holds_any(h, i) ? settle_budgets(h, i, now_s, u->booked, percent) : 0;
        for (int b = 0; b < N_BUDGETS; b++) {
            if (warn & 1u << b)
                LOG_EVENT(LOG_WARN, "budget", LOG_STR("account", a->name),
                          LOG_STR("of", holds_kind_name(kind_of(b))),
                          LOG_STR("span", span_name[span_of(b)]), LOG_INT("percent", percent[b]));
        }
    }
}

/* ---- looking --------------------------------------------------------------------------------- */

static struct holds_rate tighter(struct holds_rate was, const struct quota_bucket *b,
                                 struct quota_held held, int64_t used, int64_t now_us)
{
    struct holds_rate one = {.limit = atomic_load(&b->limit)};

    if (one.limit <= 0)
        return was;
    if (used >= 0)
        quota_look_after(b, held, used, now_us, &one.left, &one.full_us);
    else
        quota_look(b, now_us, &one.left, &one.full_us);
    return was.limit < 0 || one.left < was.left ? one : was;
}

struct holds_rate holds_look_requests(const struct holds *h, int period, int64_t now_us)
{
    struct holds_rate r = {.limit = -1};

    for (int i = 0; i < h->n_path; i++)
        r = tighter(r, &h->path[i]->requests[period], (struct quota_held){0, 0}, -1, now_us);
    return r;
}

struct holds_rate holds_look_tokens(const struct holds *h, int period, int64_t used, int64_t now_us)
{
    struct holds_rate r = {.limit = -1};

    for (int i = 0; i < h->n_path; i++)
        r = tighter(r, &h->path[i]->tokens[period], h->tokens[i][period], used, now_us);
    return r;
}

int holds_warning(const struct holds *h, int64_t now_s, char *ret, size_t cap)
{
    char amount[64];
    int most = -1;

    for (int i = 0; i < h->n_path; i++) {
        struct holds_account *a = h->path[i];
        if (!atomic_load(&a->n_budgets))
            continue;
        lock(a);
        for (int b = 0; b < N_BUDGETS; b++) {
            int percent = is_due(a, b, now_s) ? budget_percent(&a->budget[b]) : -1;
            if (a->warn < 0 || percent < a->warn || percent <= most)
                continue;
            most = percent;
            budget_text(a, b, a->budget[b].amount, amount, sizeof amount);
            snprintf(ret, cap, "%d%% of %s %s", percent, amount, span_name[span_of(b)]);
        }
        unlock(a);
    }
    return most >= 0;
}

int holds_view(struct holds_account *a, int64_t now_s, struct budget_view ret[N_BUDGETS])
{
    int n = 0;

    if (!atomic_load(&a->n_budgets))
        return 0;
    lock(a);
    for (int b = 0; b < N_BUDGETS; b++) {
        const struct budget *u = &a->budget[b];
        if (is_due(a, b, now_s))
            ret[n++] = (struct budget_view){.kind = kind_of(b),
                                            .span = span_word[span_of(b)],
                                            .amount = u->amount,
                                            .settled = u->settled,
                                            .held = u->held,
                                            .until_s = u->until};
    }
    unlock(a);
    return n;
}

int holds_view_rates(const struct holds_account *a, int64_t now_us, struct rate_view ret[N_RATES])
{
    static const char *const period[N_PERIODS] = {"minute", "hour", "day"};
    const struct {
        const char *of;
        const struct quota_bucket *list;
    } kinds[] = {
        {"requests", a->requests}, {"tokens", a->tokens}, {"uncached_tokens", a->uncached}};
    int n = 0;

    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        for (int p = 0; p < N_PERIODS; p++) {
            const struct quota_bucket *b = &kinds[k].list[p];
            struct rate_view v = {
                .of = kinds[k].of, .per = period[p], .limit = atomic_load(&b->limit)};
            if (v.limit <= 0)
                continue;
            quota_look(b, now_us, &v.left, &v.full_us);
            ret[n++] = v;
        }
    }
    return n;
}

void holds_sum(struct holds_account *a, int kind, int64_t now_s, int64_t *settled, int64_t *held)
{
    lock(a);
    for (int b = kind * N_SPANS; b < (kind + 1) * N_SPANS; b++) {
        int is_running = is_due(a, b, now_s);
        *settled += is_running ? a->budget[b].settled : 0;
        *held += (is_running ? a->budget[b].held : 0) + a->budget[b].held_before;
    }
    unlock(a);
}
