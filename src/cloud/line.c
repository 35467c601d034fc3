#include "cloud/line.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "policy/derate.h"
#include "policy/entitlement.h"

struct line {
    pthread_mutex_t lock; /* rank: a leaf */
    int32_t capacity;
    int32_t n_places;                    /* of these: that may be used; under the lock */
    int32_t n_kept, kept_ppm;            /* for those that go first, or that share of them ... */
    int32_t n_first;                     /* ... who have so many; under the lock */
    _Atomic int32_t n_inside, n_waiting; /* written under the lock */
    uint64_t n_begun;                    /* of those that waited: the clock of their ages */
    int64_t placed_us;                   /* when they were given their places */
    /* Those that wait are its jobs. Its one slot is always free: each takes it for the moment in
     * which it goes. */
    struct sched sched;
    struct sched_seq slot, *slots[1];
};

struct line *line_new(int32_t capacity)
{
    struct line *l = calloc(1, sizeof *l);

    CHECK(capacity >= 1);
    if (!l)
        return NULL;
    pthread_mutex_init(&l->lock, NULL);
    l->capacity = l->n_places = capacity;
    l->slots[0] = &l->slot;
    l->sched.slot = l->slots;
    l->sched.n_slots = 1;
    return l;
}

void line_free(struct line *l)
{
    if (!l)
        return;
    CHECK(!l->sched.first && !l->n_inside);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

int32_t line_capacity(const struct line *l)
{
    return l->capacity;
}

void line_look(const struct line *l, int32_t *ret_inside, int32_t *ret_waiting)
{
    *ret_inside = atomic_load_explicit(&l->n_inside, memory_order_relaxed);
    *ret_waiting = atomic_load_explicit(&l->n_waiting, memory_order_relaxed);
}

int line_has(const struct line_place *p)
{
    return atomic_load_explicit(&p->has, memory_order_acquire) > 0;
}

int line_is_closed(const struct line_place *p)
{
    return atomic_load_explicit(&p->has, memory_order_acquire) < 0;
}

int32_t line_before(struct line *l, const struct line_place *p, int64_t now_us)
{
    int32_t n = -1;

    pthread_mutex_lock(&l->lock);
    if (now_us - l->placed_us >= LINE_PLACED_US) {
        l->placed_us = now_us;
        sched_place(&l->sched);
    }
    if (p->state == LINE_WAITS)
        n = p->turn.n_before;
    pthread_mutex_unlock(&l->lock);
    return n;
}

/* Of the places kept for those that go first: that they do not have. One place is everybody's. */
static int32_t n_unused(const struct line *l)
{
    int32_t kept = entitlement_kept(l->n_places, l->n_kept, l->kept_ppm);

    return kept > l->n_first ? kept - l->n_first : 0;
}

/* Are there places for so many? */
static int fits(const struct line *l, int32_t n, int goes_first)
{
    int32_t kept = goes_first ? 0 : n_unused(l);

    return l->n_places && (!l->n_inside || l->n_inside + n + kept <= l->n_places);
}

static int rank_of(const struct line_place *p)
{
    return p->goes_first ? ROTA_CONTRACT : tier_rank(p->tier);
}

static void let_in(struct line *l, struct line_place *p)
{
    l->n_inside += p->n_seqs;
    l->n_first += p->goes_first ? p->n_seqs : 0;
    p->state = LINE_INSIDE;
    atomic_store_explicit(&p->has, 1, memory_order_release);
}

static struct line_place *place_of(struct sched_job *j)
{
    return (struct line_place *)(void *)((char *)j - offsetof(struct line_place, turn));
}

static void stop_waiting(struct line *l, struct line_place *p)
{
    sched_leave(&l->sched, &p->turn);
    l->n_waiting -= p->n_seqs;
}

static void tell(struct line_place *p)
{
    if (mbox_post(p->reader, p->item))
        mbox_wake(p->reader);
}

/* Who goes now; NULL: nobody can. Nobody overtakes one that needs more places than there are, but
 * those for whom places are kept. */
static struct line_place *next_in(struct line *l)
{
    struct sched_turn t;
    struct line_place *p;

    if (fits(l, 1, 0)) /* else nobody is passed over, but waits for a place that is not kept */
        sched_note_owed(&l->sched, l->n_begun);
    sched_next(&l->sched, 0, &t);
    p = t.job ? place_of(t.job) : NULL;
    if (!p || fits(l, p->n_seqs, p->goes_first))
        return p;
    for (struct sched_job *j = l->sched.first; j && !p->goes_first; j = j->next) {
        if (j->tier == ROTA_CONTRACT && fits(l, place_of(j)->n_seqs, 1))
            return place_of(j);
    }
    return NULL;
}

/* As far as there is room. Where all places are taken nobody is looked at, so that thousands may
 * leave who only waited. */
static void let_all_in(struct line *l)
{
    struct line_place *p;

    while (fits(l, 1, 1) && (p = next_in(l))) {
        sched_seat(&p->turn, &l->slot);
        sched_begin(&l->sched, &l->slot);
        sched_charge(&p->turn, p->n_tokens);
        sched_free(&l->slot);
        stop_waiting(l, p);
        l->n_begun++;
        let_in(l, p);
        tell(p);
    }
}

/* May it go before all that wait? Not before others that go first, and before one that is owed a
 * place only to a place that is kept. */
static int overtakes(const struct line *l, const struct line_place *p)
{
    if (!p->goes_first)
        return 0;
    for (const struct sched_job *j = l->sched.first; j; j = j->next) {
        if (j->tier == ROTA_CONTRACT || (j->is_owed && p->n_seqs > n_unused(l)))
            return 0;
    }
    return 1;
}

int line_enter(struct line *l, struct line_place *p)
{
    int has;

    CHECK(p->n_seqs > 0 && p->state == LINE_AWAY);
    pthread_mutex_lock(&l->lock);
    has = !l->n_places ? ERR_SITE_CLOSED
                       : fits(l, p->n_seqs, p->goes_first) && (!l->sched.first || overtakes(l, p));
    if (has > 0) {
        let_in(l, p);
    } else if (!has) {
        p->turn = (struct sched_job){.tier = rank_of(p), .tenant = p->tenant, .n_seqs = 1};
        sched_enter(&l->sched, &p->turn, l->n_begun);
        l->n_waiting += p->n_seqs;
        p->state = LINE_WAITS;
    }
    pthread_mutex_unlock(&l->lock);
    return has;
}

static void turn_all_away(struct line *l)
{
    while (l->sched.first) {
        struct line_place *p = place_of(l->sched.first);
        stop_waiting(l, p);
        p->state = LINE_TURNED;
        atomic_store_explicit(&p->has, -1, memory_order_release);
        tell(p);
    }
}

void line_derate(struct line *l, int32_t factor_ppm)
{
    pthread_mutex_lock(&l->lock);
    l->n_places = derate_places(l->capacity, factor_ppm);
    if (l->n_places)
        let_all_in(l);
    else
        turn_all_away(l);
    pthread_mutex_unlock(&l->lock);
}

void line_keep(struct line *l, int32_t n, int32_t share_ppm)
{
    pthread_mutex_lock(&l->lock);
    l->n_kept = n;
    l->kept_ppm = share_ppm;
    let_all_in(l);
    pthread_mutex_unlock(&l->lock);
}

void line_leave(struct line *l, struct line_place *p, int64_t n_tokens)
{
    pthread_mutex_lock(&l->lock);
    if (p->state == LINE_WAITS)
        stop_waiting(l, p);
    if (p->state == LINE_INSIDE) {
        l->n_inside -= p->n_seqs;
        l->n_first -= p->goes_first ? p->n_seqs : 0;
        sched_charge_late(&l->sched, p->tenant, rank_of(p), n_tokens);
    }
    p->state = LINE_AWAY;
    let_all_in(l);
    pthread_mutex_unlock(&l->lock);
}
