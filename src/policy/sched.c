#include "policy/sched.h"

#include <stddef.h>
#include <string.h>

#include "base/check.h"

static int tier_of(const struct sched_job *j)
{
    return j->is_owed ? ROTA_OWED : j->tier;
}

static int holds_pages(const struct sched_seq *q)
{
    return q->state == SEQ_PREFILL || q->state == SEQ_DECODE;
}

/* In which round its tenant is. */
static int64_t round_of(const struct sched_job *j)
{
    return j->share && !j->is_owed ? j->share->used[j->tier] / SCHED_QUANTUM : 0;
}

struct rota_one sched_one(const struct sched_seq *q)
{
    return (struct rota_one){.tier = tier_of(q->job),
                             .resumed = q->resumed,
                             .tenant = q->job->tenant,
                             .order = q->order,
                             .round = round_of(q->job)};
}

/* ---- shares ---------------------------------------------------------------------------------- */

static int is_idle(const struct sched_share *h)
{
    for (int i = 0; i < ROTA_OWED; i++) {
        if (h->n_jobs[i])
            return 0;
    }
    return 1;
}

/* The tenant's row; or a free one; or that of a tenant which has no job; or that of all others. */
static struct sched_share *find_share(struct sched *s, int32_t tenant)
{
    struct sched_share *idle = NULL;

    for (int i = 0; i < SCHED_SHARES; i++) {
        struct sched_share *h = &s->share[(uint32_t)(tenant + i) % SCHED_SHARES];
        if (h->is_known && h->tenant == tenant)
            return h;
        if (!idle && is_idle(h))
            idle = h;
        if (!h->is_known)
            break;
    }
    if (!idle)
        return &s->share[SCHED_SHARES];
    s->n_tenants += !idle->is_known;
    *idle = (struct sched_share){.tenant = tenant, .is_known = 1};
    return idle;
}

/* Whoever comes to a tier has used no more than SCHED_NEW less than those that are there. */
static void join_share(struct sched *s, struct sched_job *j)
{
    struct sched_share *h = j->share = find_share(s, j->tenant);
    int64_t least = INT64_MAX;

    if (h->n_jobs[j->tier]++)
        return;
    for (const struct sched_job *o = s->first; o; o = o->next) {
        if (o != j && o->tier == j->tier && o->share != h && o->share->used[o->tier] < least)
            least = o->share->used[o->tier];
    }
    if (least == INT64_MAX && h->used[j->tier] < s->clock[j->tier])
        h->used[j->tier] = s->clock[j->tier]; /* those who had it alone owe nothing for that */
    if (least == INT64_MAX || h->used[j->tier] >= least - SCHED_NEW)
        return;
    h->used[j->tier] = least > SCHED_NEW ? least - SCHED_NEW : 0;
    h->new_until[j->tier] = least;
}

int sched_is_new(const struct sched_job *j)
{
    return j->share && !j->is_owed && j->share->used[j->tier] < j->share->new_until[j->tier];
}

void sched_charge(struct sched_job *j, int64_t tokens)
{
    CHECK(tokens >= 0);
    j->share->used[j->tier] += tokens;
}

static void note_used(struct sched *s, const struct sched_share *h, int tier)
{
    if (h->used[tier] > s->clock[tier])
        s->clock[tier] = h->used[tier];
}

void sched_charge_late(struct sched *s, int32_t tenant, int tier, int64_t tokens)
{
    CHECK(tokens >= 0 && tier >= 0 && tier < ROTA_OWED);
    for (int i = 0; i < SCHED_SHARES; i++) {
        struct sched_share *h = &s->share[(uint32_t)(tenant + i) % SCHED_SHARES];
        if (!h->is_known)
            return;
        if (h->tenant == tenant) {
            h->used[tier] += tokens;
            note_used(s, h, tier);
            return;
        }
    }
}

/* ---- jobs ------------------------------------------------------------------------------------ */

void sched_enter(struct sched *s, struct sched_job *j, uint64_t step)
{
    CHECK(j->tier >= 0 && j->tier < ROTA_OWED);
    CHECK(j->n_seqs > 0 && j->n_seqs <= SCHED_SEQS_MAX);
    j->order = ++s->n_entered;
    j->n_before = -1;
    j->served_step = step;
    j->prev = s->last;
    j->next = NULL;
    if (s->last)
        s->last->next = j;
    else
        s->first = j;
    s->last = j;
    join_share(s, j);
}

void sched_leave(struct sched *s, struct sched_job *j)
{
    j->share->n_jobs[j->tier]--;
    note_used(s, j->share, j->tier);
    if (j->prev)
        j->prev->next = j->next;
    else
        s->first = j->next;
    if (j->next)
        j->next->prev = j->prev;
    else
        s->last = j->prev;
}

void sched_forget(struct sched_job *j)
{
    j->aside = NULL;
    j->n_begun = j->n_seqs;
}

void sched_note_owed(struct sched *s, uint64_t step)
{
    struct sched_job *longest = NULL;
    int n_owed = 0, highest = 0;

    for (const struct sched_job *j = s->first; j; j = j->next) {
        if (!j->paused_us && j->tier > highest)
            highest = j->tier;
    }
    for (struct sched_job *j = s->first; j; j = j->next) {
        if (j->paused_us)
            j->is_owed = 0;
        if (j->paused_us || j->tier == highest)
            j->served_step = step;
        n_owed += j->is_owed;
        if (!longest || j->served_step < longest->served_step)
            longest = j;
    }
    if (longest && !n_owed && step - longest->served_step >= SCHED_STEPS)
        longest->is_owed = 1;
}

/* ---- who goes next --------------------------------------------------------------------------- */

/* Is there a sequence of the job that wants a slot? */
static int wants_slot(const struct sched_job *j, struct rota_one *ret)
{
    if (j->paused_us)
        return 0;
    if (j->aside) {
        *ret = sched_one(j->aside);
        return 1;
    }
    *ret = (struct rota_one){.tier = tier_of(j),
                             .tenant = j->tenant,
                             .order = j->order * SCHED_SEQS_MAX + (uint64_t)j->n_begun,
                             .round = round_of(j)};
    return j->n_begun < j->n_seqs && (!j->n_begun || j->is_shared);
}

/* Has its tenant a slot, in its tier or above? */
static int has_slot(const struct sched *s, const struct rota_one *one)
{
    for (int i = 0; i < s->n_slots; i++) {
        const struct sched_seq *q = s->slot[i];
        if (q->state != SEQ_FREE && q->job->tenant == one->tenant && tier_of(q->job) >= one->tier)
            return 1;
    }
    return 0;
}

/* Does a sequence of that tier take what another has, because that fills what is idle, or because
 * the place is its contract's? */
static int displaces(int tier, int other)
{
    return other < (tier == ROTA_CONTRACT ? ROTA_CONTRACT : ROTA_FIRM) && tier > other &&
           tier < ROTA_OWED;
}

/* May a slot be taken from another one for it? */
static int is_poor(const struct sched *s, const struct rota_one *one)
{
    for (int i = 0; i < s->n_slots; i++) {
        const struct sched_seq *q = s->slot[i];
        if (q->state != SEQ_FREE && displaces(one->tier, tier_of(q->job)))
            return 1;
    }
    return !has_slot(s, one);
}

/* May one that is no contract's have a slot more? */
static int is_open(const struct sched *s)
{
    int n = 0;

    for (int i = 0; s->n_others_max && i < s->n_slots; i++)
        n += s->slot[i]->state != SEQ_FREE && s->slot[i]->job->tier != ROTA_CONTRACT;
    return !s->n_others_max || n < s->n_others_max;
}

enum whose { ANYBODY, CONTRACTS, POOR }; /* POOR: those for which a slot may be taken */

/* The job of these whose next sequence goes before all others without a slot. */
static struct sched_job *next_job(const struct sched *s, enum whose of, struct rota_one *ret)
{
    struct sched_job *best = NULL;

    for (struct sched_job *j = s->first; j; j = j->next) {
        struct rota_one one;
        if (!wants_slot(j, &one))
            continue;
        if ((of == CONTRACTS && j->tier != ROTA_CONTRACT) ||
            (best && !rota_before(&s->rota, &one, ret)) || (of == POOR && !is_poor(s, &one)))
            continue;
        best = j;
        *ret = one;
    }
    return best;
}

/* ---- places ---------------------------------------------------------------------------------- */

static struct rota_one placed(const struct sched_job *j)
{
    return (struct rota_one){.tier = tier_of(j),
                             .nth = j->n_before,
                             .tenant = j->tenant,
                             .order = j->order,
                             .round = round_of(j)};
}

/* Two lists in the order of their turns become one. */
static struct sched_job *merge(const struct sched *s, struct sched_job *a, struct sched_job *b)
{
    struct sched_job *first = NULL, **end = &first;

    while (a && b) {
        const struct rota_one x = placed(a), y = placed(b);
        struct sched_job **least = rota_before(&s->rota, &y, &x) ? &b : &a;
        *end = *least;
        end = &(*end)->behind;
        *least = *end;
    }
    *end = a ? a : b;
    return first;
}

void sched_place(struct sched *s)
{
    enum { RUNS = 32 };
    struct sched_job *run[RUNS] = {NULL}, *all = NULL; /* run[i] is of 2^i jobs, or none */

    for (int i = 0; i <= SCHED_SHARES; i++)
        memset(s->share[i].n_placed, 0, sizeof s->share[i].n_placed);
    for (struct sched_job *j = s->first; j; j = j->next) {
        struct sched_job *one = j;
        int i = 0;
        if (j->has_begun)
            continue;
        j->n_before = j->share->n_placed[tier_of(j)]++; /* of its tenant's, for now */
        for (j->behind = NULL; run[i]; i++) {
            one = merge(s, run[i], one);
            run[i] = NULL;
        }
        run[i] = one;
    }
    for (int i = 0; i < RUNS; i++)
        all = run[i] ? merge(s, run[i], all) : all;
    for (int32_t n = 0; all; all = all->behind)
        all->n_before = n++;
}

static struct sched_seq *next_seq(const struct sched *s, struct rota_one *ret)
{
    struct sched_seq *best = NULL;

    for (int i = 0; i < s->n_slots; i++) {
        struct sched_seq *q = s->slot[i];
        struct rota_one one;
        if (q->state != SEQ_WAIT || q->job->paused_us)
            continue;
        one = sched_one(q);
        if (best && !rota_before(&s->rota, &one, ret))
            continue;
        best = q;
        *ret = one;
    }
    return best;
}

/* ---- who gives way --------------------------------------------------------------------------- */

static int holds(const struct sched_seq *q, int pages)
{
    return pages ? holds_pages(q) : q->state != SEQ_FREE;
}

/* The one whose reader has paused longest, and for so long that it gives way. */
static struct sched_seq *longest_paused(const struct sched *s, int pages, int64_t now_us)
{
    int64_t since = now_us - s->give_way_us;
    struct sched_seq *best = NULL;

    for (int i = 0; i < s->n_slots; i++) {
        struct sched_seq *q = s->slot[i];
        if (!holds(q, pages) || !q->job->paused_us || q->job->paused_us > since)
            continue;
        if (!best || q->job->paused_us < best->job->paused_us)
            best = q;
    }
    return best;
}

/* Of the lowest tier the tenant that holds most, of its ones the newest. */
static struct sched_seq *richest(const struct sched *s, int pages, int *ret_n)
{
    struct sched_seq *best = NULL;
    int lowest = ROTA_TIERS;

    *ret_n = 0;
    for (int i = 0; i < s->n_slots; i++) {
        const struct sched_seq *q = s->slot[i];
        if (holds(q, pages) && tier_of(q->job) < lowest)
            lowest = tier_of(q->job);
    }
    for (int i = 0; i < s->n_slots; i++) {
        struct sched_seq *q = s->slot[i];
        int n = 0;
        if (!holds(q, pages) || tier_of(q->job) != lowest)
            continue;
        for (int k = 0; k < s->n_slots; k++) {
            const struct sched_seq *o = s->slot[k];
            n += holds(o, pages) && tier_of(o->job) == lowest && o->job->tenant == q->job->tenant;
        }
        if (n > *ret_n || (n == *ret_n && q->order > best->order)) {
            *ret_n = n;
            best = q;
        }
    }
    return best;
}

/* Who must give way to `who`: one that fills to one that does not; else only to a tenant that has
 * nothing in that tier or above, from a lower tier, or in its own from a tenant that has several.
 */
static struct sched_seq *gives_way(const struct sched *s, const struct rota_one *who, int pages)
{
    int n;
    struct sched_seq *q = richest(s, pages, &n);

    if (q && displaces(who->tier, tier_of(q->job)))
        return q;
    if (!q || tier_of(q->job) > who->tier)
        return NULL;
    /* One in an earlier round would take it back at once. */
    if (tier_of(q->job) == who->tier && (n < 2 || round_of(q->job) < who->round))
        return NULL;
    for (int i = 0; i < s->n_slots; i++) {
        const struct sched_seq *o = s->slot[i];
        if (holds(o, pages) && o->job->tenant == who->tenant && tier_of(o->job) >= who->tier)
            return NULL;
    }
    return q;
}

static struct sched_seq *free_slot(const struct sched *s)
{
    for (int i = 0; i < s->n_slots; i++) {
        if (s->slot[i]->state == SEQ_FREE)
            return s->slot[i];
    }
    return NULL;
}

void sched_next(const struct sched *s, int64_t now_us, struct sched_turn *ret)
{
    struct rota_one first, one;
    enum whose of = is_open(s) ? ANYBODY : CONTRACTS; /* others then only from each other */

    *ret = (struct sched_turn){.seq = next_seq(s, &first), .job = next_job(s, of, &one)};
    if (ret->job ? ret->seq && !rota_before(&s->rota, &one, &first) : of == ANYBODY) {
        ret->job = NULL;
        return;
    }
    ret->slot = ret->job ? free_slot(s) : NULL;
    if (ret->job && !ret->slot)
        ret->slot = longest_paused(s, 0, now_us);
    if (!ret->slot) {
        ret->job = next_job(s, POOR, &one);
        if (ret->job && ret->seq && !rota_before(&s->rota, &one, &first))
            ret->job = NULL;
        ret->slot = ret->job ? gives_way(s, &one, 0) : NULL;
    }
    if (!ret->slot)
        ret->job = NULL;
}

struct sched_seq *sched_yielder(const struct sched *s, const struct sched_seq *who, int64_t now_us)
{
    struct rota_one one = sched_one(who);
    struct sched_seq *q = longest_paused(s, 1, now_us);

    return q ? q : gives_way(s, &one, 1);
}

struct sched_seq *sched_victim(const struct sched *s)
{
    int n;

    for (int i = 0; i < s->n_slots; i++) {
        if (holds_pages(s->slot[i]) && s->slot[i]->job->rests)
            return s->slot[i];
    }
    return richest(s, 1, &n);
}

/* ---- what was done --------------------------------------------------------------------------- */

struct sched_seq *sched_seat(struct sched_job *j, struct sched_seq *slot)
{
    struct sched_seq *a = j->aside;

    CHECK(slot->state == SEQ_FREE);
    if (a) {
        j->aside = a->next;
        *slot = *a;
        slot->next = NULL;
        return a;
    }
    *slot = (struct sched_seq){
        .job = j, .state = SEQ_WAIT, .order = j->order * SCHED_SEQS_MAX + (uint64_t)j->n_begun++};
    return NULL;
}

void sched_begin(struct sched *s, struct sched_seq *q)
{
    struct rota_one one = sched_one(q);

    rota_took(&s->rota, &one);
    q->round = one.round;
    q->state = SEQ_PREFILL;
    q->job->has_begun = 1;
}

void sched_preempt(struct sched_seq *q)
{
    q->state = SEQ_WAIT;
    q->resumed = 1;
    q->take = 0;
}

void sched_put_aside(struct sched_seq *q, struct sched_seq *aside)
{
    CHECK(q->state == SEQ_WAIT);
    *aside = *q;
    aside->next = q->job->aside;
    q->job->aside = aside;
    sched_free(q);
}

void sched_free(struct sched_seq *q)
{
    *q = (struct sched_seq){.state = SEQ_FREE};
}
