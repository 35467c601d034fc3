/* What a request holds on the accounts of its path: key, team, tenant. Each account has rates
 * (requests, tokens, uncached tokens of a minute, an hour, a day), a ceiling of sequences, and
 * budgets of tokens, money and energy of its calendar's days, weeks and months or of a fixed span.
 *
 * A request gets all that it asks for on all of its accounts, or nothing: what it cannot hold it
 * does not use, so no limit is ever overshot, and every ending puts the truth in place of the hold,
 * once. Rates are atomics; budgets are under a short lock of their account, which one without
 * budgets never takes. All functions: any thread; but holds_set, one at a time for an account.
 *
 * now_us is monotonic; now_s the wall clock's unix seconds. A budget's window goes forward only: a
 * clock that is set back reopens none. */
#ifndef CLOUD_HOLDS_H
#define CLOUD_HOLDS_H

#include <pthread.h>

#include "base/err.h"
#include "base/zone.h"
#include "cloud/account.h"
#include "cloud/notices.h"
#include "cloud/quota.h"
#include "cloud/tally.h"
#include "policy/budget.h"

#define HOLDS_PATH_MAX 3

enum { PERIOD_MINUTE, PERIOD_HOUR, PERIOD_DAY, N_PERIODS };
enum { BUDGET_DAY, BUDGET_WEEK, BUDGET_MONTH, BUDGET_SPAN, N_SPANS };
/* Budgets: first those of tokens, then those of money (nano-units of the account's currency), then
 * those of energy (microjoules). */
enum { OF_TOKENS, OF_MONEY, OF_ENERGY, N_KINDS };
const char *holds_kind_name(int kind); /* "tokens", "money", "energy" */
#define N_BUDGETS (N_KINDS * N_SPANS)

struct holds_account {
    enum account_kind kind;
    const char *name; /* stable: budgets hang on it */
    const char *currency;
    struct quota_bucket requests[N_PERIODS], tokens[N_PERIODS], uncached[N_PERIODS];
    _Atomic int64_t concurrency_max, n_inside;
    _Atomic int64_t output_max;            /* tokens of one choice; 0: any */
    _Atomic int64_t overshoot_max, risked; /* tokens; see holds_risk */
    _Atomic int n_budgets;                 /* that have an amount */
    pthread_mutex_t lock;                  /* what follows; rank: a leaf */
    struct budget budget[N_BUDGETS];
    unsigned told[N_BUDGETS]; /* bits 1 << NOTICE_*: its owner was told so, in this window */
    struct zone *zone;
    int64_t warn;                              /* percent; < 0: never */
    struct notices *notices;                   /* NULL: nobody is told; set before it is used */
    struct tally_row *row;                     /* what other processes count, too; NULL: none do */
    int slot;                                  /* this process's there */
    int64_t own[N_BUDGETS], others[N_BUDGETS]; /* held, while the lock is had */
};

/* What an account used in a time, by the books, of each kind: in requests that ended in
 * [from, until). */
struct holds_past {
    int (*used)(void *ctx, const struct holds_account *a, int64_t from_s, int64_t until_s,
                int64_t ret[N_KINDS], struct err *e);
    void *ctx;
};

void holds_account_init(struct holds_account *a, enum account_kind kind, const char *name,
                        const char *currency);
/* Count together with the processes that have this tally (may be NULL), from before its first use.
 */
void holds_account_share(struct holds_account *a, struct tally *t);
void holds_account_done(struct holds_account *a);
/* Use these settings (-1: not said). Running windows go on; what was settled in a window that is
 * new to the account is asked of the past. On failure nothing has changed. */
int holds_set(struct holds_account *a, const struct account_settings *s,
              const struct holds_past *past, int64_t now_us, int64_t now_s, struct err *e);

/* ---- a request ------------------------------------------------------------------------------- */

struct holds {
    int n_path;
    struct holds_account *path[HOLDS_PATH_MAX];
    int64_t n_seqs; /* counted in each concurrency */
    struct quota_held tokens[HOLDS_PATH_MAX][N_PERIODS], uncached[HOLDS_PATH_MAX][N_PERIODS];
    struct budget_held budget[HOLDS_PATH_MAX][N_BUDGETS];
    int64_t risked[HOLDS_PATH_MAX];
};

/* Why a request was refused: a code, a sentence, and when to come back (0: unknown). */
struct holds_refusal {
    struct err *e;
    int64_t retry_us;
};

/* With its path filled: count one request and one sequence. ERR_RATE_REQUESTS, ERR_QUEUE_FULL. */
int holds_enter(struct holds *h, int64_t now_us, struct holds_refusal *ret);
/* Count n_jobs times n_choices sequences instead, or fewer whole jobs: *ret_at_once. ERR_LIMIT:
 * n_choices are more than an account may ever have; ERR_QUEUE_FULL. */
int holds_widen(struct holds *h, int32_t n_jobs, int32_t n_choices, int32_t *ret_at_once,
                struct holds_refusal *ret);
/* The most tokens that one choice may have; 0: any. */
int64_t holds_output_max(const struct holds *h);
/* The most tokens that a request can hold: of full rates, and of budgets what is left; 0: any. */
int64_t holds_room(const struct holds *h, int64_t now_s);
/* The tokens that its rates have now; INT64_MAX: it has none. */
int64_t holds_left(const struct holds *h, int64_t now_us);
/* What is left of its budgets of a kind; INT64_MAX: it has none. */
int64_t holds_budget(const struct holds *h, int kind, int64_t now_s);
/* Take up to `want` tokens of the overshoot that each account of its path with limits of tokens
 * allows. By so many fewer than the request may use it may hold, until it is settled; 0: it has to
 * hold all. What is settled, held and risked together is so never more than a limit and its
 * overshoot when a request is let in, and a request's end only lowers it: that is the bound. */
int64_t holds_risk(struct holds *h, int64_t want);
int holds_may_risk(const struct holds *h); /* does any allow some? */
/* Hold so many tokens, the most that they can cost and the energy that they will probably take; of
 * a kind that nobody knows (< 0) who has a budget is refused. ERR_RATE_TOKENS; ERR_QUOTA: more than
 * a rate ever allows; ERR_BUDGET. */
int holds_reserve(struct holds *h, int64_t now_us, int64_t now_s, const int64_t n[N_KINDS],
                  struct holds_refusal *ret);

/* It has used so much more of a kind than it holds: its budgets have it, also where they have not.
 */
void holds_more(struct holds *h, int kind, int64_t n);

/* What a request used. `booked`: so much of each kind as its row in the ledger has: what budgets
 * count. */
struct holds_use {
    int64_t tokens, uncached, booked[N_KINDS];
};
/* In place of what is held; sequences stay counted. */
void holds_settle(struct holds *h, int64_t now_us, int64_t now_s, const struct holds_use *u);
void holds_leave(struct holds *h); /* its sequences */
/* Count as many sequences once more, in a zeroed *ret, on which only holds_leave may be called. -1:
 * there is no room for them. */
int holds_double(const struct holds *h, struct holds *ret);

/* ---- looking --------------------------------------------------------------------------------- */

/* The tightest bucket of a kind on the path as it will be when `used` is charged for its hold (< 0:
 * as it is); -1: none. */
struct holds_rate {
    int64_t limit, left, full_us;
};
struct holds_rate holds_look_requests(const struct holds *h, int period, int64_t now_us);
struct holds_rate holds_look_tokens(const struct holds *h, int period, int64_t used,
                                    int64_t now_us);
/* A sentence about the budget nearest to its end, if one is past its account's warning: 1, or 0. */
int holds_warning(const struct holds *h, int64_t now_s, char *ret, size_t cap);
/* How far a budget is used: settled in its window, and held by requests under way. */
struct budget_view {
    int kind;                      /* OF_x */
    const char *span;              /* "day", "week", "month", "all" */
    int64_t amount, settled, held; /* of its window, which ends at ... */
    int64_t until_s;               /* ... unix seconds */
};
/* The budgets that limit an account now. Returns how many. */
int holds_view(struct holds_account *a, int64_t now_s, struct budget_view ret[N_BUDGETS]);
/* The rates that limit an account. Returns how many. */
struct rate_view {
    const char *of, *per; /* "requests", "tokens", "uncached_tokens"; "minute", "hour", "day" */
    int64_t limit, left, full_us; /* full_us: until all of it is left again */
};
#define N_RATES (3 * N_PERIODS)
int holds_view_rates(const struct holds_account *a, int64_t now_us, struct rate_view ret[N_RATES]);
/* Add up what is settled and held in an account's budgets of a kind; held includes windows that
 * ended. */
void holds_sum(struct holds_account *a, int kind, int64_t now_s, int64_t *settled, int64_t *held);

#endif
