#include "policy/settlement.h"

#include <string.h>

#define SECOND_US  INT64_C(1000000)
#define WEIGHT_MAX POWER_PIECE_UJ

const char *settlement_kind_name(enum settlement_kind k)
{
    static const char *const names[SETTLE_KINDS] = {
        [SETTLE_CAPACITY] = "capacity",   [SETTLE_LATE] = "late",
        [SETTLE_SHORT] = "shortfall",     [SETTLE_CAP] = "credit-cap",
        [SETTLE_NOT_TAKEN] = "not-taken", [SETTLE_TRUE_UP] = "true-up",
        [SETTLE_SPILLOVER] = "spillover", [SETTLE_LENT] = "lent-share",
        [SETTLE_PREPAID] = "prepayment",  [SETTLE_BACKSTOP] = "backstop"};

    return names[k];
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- energies -------------------------------------------------------------------------------- */

static power_uj energy(int64_t watts, int64_t from_s, int64_t until_s)
{
    return from_s < until_s ? (power_uj)watts * (until_s - from_s) * SECOND_US : 0;
}

void settlement_begin(struct settlement *s, const struct contract *c, int64_t now_s, int64_t from_s,
                      int64_t until_s)
{
    *s = (struct settlement){.c = c, .now_s = now_s, .from_s = from_s, .until_s = until_s};
    for (int i = 0; !c->backstop.is_there && i < c->n_tranches; i++) {
        struct tranche_span v;
        tranche_spans(c, &c->tranche[i], now_s, &v);
        s->tranche[i].ready =
            energy(c->tranche[i].watts, most(from_s, v.ready_s), least(until_s, v.end_s));
        s->tranche[i].late = energy(c->tranche[i].watts, most(from_s, v.due_s),
                                    least(until_s, least(v.ready_s, v.end_s)));
    }
}

/* How much of a piece a tranche is ready in, in microseconds of this part. */
static int64_t overlap_us(const struct settlement *s, const struct tranche *t,
                          const struct power_piece *p)
{
    struct tranche_span v;
    int64_t from, until;

    tranche_spans(s->c, t, s->now_s, &v);
    from = most(p->from_us, most(s->from_s, v.ready_s) * SECOND_US);
    until = least(p->until_us, least(s->until_s, v.end_s) * SECOND_US);
    return from < until ? until - from : 0;
}

static int is_at(const struct tranche *t, const char *site, const char *region)
{
    const char *a = site ? t->site : t->region, *b = site ? site : region;

    return a && b && !strcmp(a, b);
}

/* Share a short energy by what was missing: each cause its part, rounded down, and what is left to
 * the first of the largest. */
static void share_short(struct settlement_tranche *t, power_uj missing, const power_uj *weight)
{
    power_uj sum = 0, left = missing;
    int largest = POWER_SUPPLIER;

    for (int i = 0; i < POWER_CAUSES; i++) {
        sum += weight[i];
        if (weight[i] > weight[largest])
            largest = i;
    }
    for (int i = 0; sum && i < POWER_CAUSES; i++) {
        power_uj part = missing * weight[i] / sum;
        t->short_of[i] += part;
        left -= part;
    }
    t->short_of[largest] += left;
}

/* What was missing of a piece, of which so much should be there. */
static void weigh(const struct power_piece *p, power_uj all, power_uj *weight)
{
    for (int i = 0; i < POWER_CAUSES; i++)
        weight[i] = i < POWER_MEASURED ? p->lost_uj[i] : 0;
    weight[POWER_SUPPLIER] = p->encumbered_uj;
    if (all > p->energised_uj)
        weight[POWER_SUPPLIER] += all - p->energised_uj;
    if (weight[POWER_SUPPLIER] > WEIGHT_MAX) /* so that no product overflows */
        weight[POWER_SUPPLIER] = WEIGHT_MAX;
}

/* What is needed there at all: what was known as ready, or what this contract needs where that is
 * more, as it was recorded later. Up to a watt more is the rounding from one basis to another. */
static power_uj all_need(const struct settlement *s, const struct power_piece *p, power_uj own)
{
    power_uj slack = 0;

    if (s->own_watts) {
        own = (own * s->site_watts + s->own_watts / 2) / s->own_watts;
        slack = p->until_us - p->from_us;
    }
    return own > p->ready_uj + slack ? own : p->ready_uj;
}

/* A part begins where a version does, which may be within a minute: of the piece counts what is
 * within. */
void settlement_piece(struct settlement *s, const char *site, const char *region,
                      const struct power_piece *whole, enum power_cause note, int64_t seq)
{
    power_uj weight[POWER_CAUSES], own = 0, all, usable;
    struct power_piece cut, *p = &cut;

    if (power_piece_cut(whole, s->from_s * SECOND_US, s->until_s * SECOND_US, &cut))
        return;
    usable = power_piece_usable(p);
    for (int i = 0; !s->c->backstop.is_there && i < s->c->n_tranches; i++) {
        const struct tranche *t = &s->c->tranche[i];
        if (is_at(t, site, region))
            own += (power_uj)t->watts * overlap_us(s, t, p);
    }
    if (!own)
        return;
    all = all_need(s, p, own);
    weigh(p, all, weight);
    for (int i = 0; i < s->c->n_tranches; i++) {
        const struct tranche *t = &s->c->tranche[i];
        struct settlement_tranche *to = &s->tranche[i];
        power_uj need = is_at(t, site, region) ? (power_uj)t->watts * overlap_us(s, t, p) : 0;
        power_uj missing = usable < all ? need - need * usable / all : 0;
        if (!need)
            continue;
        to->watched += need;
        if (missing && note < POWER_CAUSES)
            to->short_of[note] += missing;
        else if (missing)
            share_short(to, missing, weight);
        to->first_seq = to->n_pieces ? least(to->first_seq, seq) : seq;
        to->last_seq = most(to->last_seq, seq);
        to->n_pieces++;
    }
}

power_uj settlement_short(const struct settlement_tranche *t, enum power_cause cause)
{
    return t->short_of[cause] / SETTLEMENT_UJ;
}

power_uj settlement_unknown(const struct settlement_tranche *t)
{
    return (t->ready - t->watched) / SETTLEMENT_UJ;
}

power_uj settlement_delivered(const struct settlement_tranche *t)
{
    power_uj left = t->ready / SETTLEMENT_UJ - settlement_unknown(t); /* ready is whole joules */

    for (int i = 0; i < POWER_CAUSES; i++)
        left -= settlement_short(t, (enum power_cause)i);
    return left;
}

int64_t settlement_availability(const struct settlement_tranche *t)
{
    power_uj left = t->watched;

    for (int i = 0; i < POWER_CAUSES; i++)
        left -= t->short_of[i];
    return t->watched ? (int64_t)(left * CONTRACT_PPM / t->watched) : -1;
}

int settlement_take_energy(struct settlement *s, int i_tranche, int64_t price, int64_t joules,
                           int64_t seq)
{
    struct settlement_taken *t = s->taken;

    while (t < s->taken + s->n_taken && (t->i_tranche != i_tranche || t->price != price))
        t++;
    if (t == s->taken + SETTLEMENT_TAKEN_MAX)
        return -1;
    if (t == s->taken + s->n_taken) {
        *t = (struct settlement_taken){.i_tranche = i_tranche, .price = price, .first_seq = seq};
        s->n_taken++;
    }
    t->joules += joules;
    t->first_seq = least(t->first_seq, seq);
    t->last_seq = most(t->last_seq, seq);
    t->n_rows++;
    return 0;
}

/* ---- amounts --------------------------------------------------------------------------------- */

contract_nano settlement_amount(power_uj joules, int64_t price, int64_t share_ppm)
{
    /* Whole megawatt-hours and the rest apart, so that nothing overflows: q below 2^40, price below
     * 2^57, share below 2^27. */
    contract_nano rate = (contract_nano)price * share_ppm;
    contract_nano whole = joules / CONTRACT_MWH_J * rate;
    contract_nano rest = whole % CONTRACT_PPM * CONTRACT_MWH_J + joules % CONTRACT_MWH_J * rate;
    contract_nano by = (contract_nano)CONTRACT_MWH_J * CONTRACT_PPM;

    return whole / CONTRACT_PPM + (rest + by / 2) / by;
}

static contract_nano share_of(contract_nano v, int64_t ppm)
{
    v *= ppm;
    return (v < 0 ? v - CONTRACT_PPM / 2 : v + CONTRACT_PPM / 2) / CONTRACT_PPM;
}

/* Who is at fault? Of these causes the supplier gives credit. */
static int gives_credit(enum power_cause c)
{
    return c != POWER_FORCE_MAJEURE && c != POWER_CUSTOMER;
}

/* ---- lines ----------------------------------------------------------------------------------- */

struct drafting {
    const struct settlement *s;
    int i_part;
    settlement_take *take;
    void *arg;
    int r;
};

static void put(struct drafting *d, struct settlement_line l)
{
    if (d->r)
        return;
    l.i_part = d->i_part;
    d->r = d->take(d->arg, &l);
}

/* A line of a tranche's energy; sign -1: a credit. */
static void put_energy(struct drafting *d, enum settlement_kind kind, int i, int cause,
                       power_uj joules, int64_t share_ppm, int sign)
{
    const struct settlement_tranche *t = &d->s->tranche[i];
    struct settlement_line l = {.kind = kind,
                                .i_tranche = i,
                                .cause = cause,
                                .joules = joules,
                                .price =
                                    contract_price(d->s->c, &d->s->c->tranche[i], d->s->from_s),
                                .share_ppm = share_ppm,
                                .n_rows = kind == SETTLE_LATE ? 0 : t->n_pieces,
                                .first_seq = kind == SETTLE_LATE ? 0 : t->first_seq,
                                .last_seq = kind == SETTLE_LATE ? 0 : t->last_seq};

    if (!joules)
        return;
    l.amount = sign * settlement_amount(joules, l.price, share_ppm);
    put(d, l);
}

static void put_shortfall(struct drafting *d, int i)
{
    for (int k = 0; k < POWER_CAUSES; k++) {
        enum power_cause c = (enum power_cause)k;
        put_energy(d, SETTLE_SHORT, i, k, settlement_short(&d->s->tranche[i], c),
                   gives_credit(c) ? d->s->c->short_credit_ppm : 0, -1);
    }
}

/* With a share, what is paid of a tranche's delivered energy is what was used of it, or that share
 * where it is more. Where it is not known of all requests what they used, nothing is taken off. */
static void put_not_taken(struct drafting *d, int i)
{
    const struct settlement_tranche *t = &d->s->tranche[i];
    power_uj delivered = settlement_delivered(t), used = t->used / SETTLEMENT_UJ, paid;

    if (!d->s->c->take_or_pay_ppm || d->s->c->take_or_pay_ppm == CONTRACT_PPM ||
        d->s->own.n_unmetered)
        return;
    paid = (delivered * d->s->c->take_or_pay_ppm + CONTRACT_PPM - 1) / CONTRACT_PPM;
    paid = used > paid ? used : paid;
    if (paid < delivered)
        put_energy(d, SETTLE_NOT_TAKEN, i, -1, delivered - paid, CONTRACT_PPM, -1);
}

/* What was measured is less than declared: so much of what was delivered is credited; more: whose
 * the gain is pays none, half or all of it. */
static void put_true_up(struct drafting *d, int i, int64_t measured)
{
    static const int64_t gain[] = {
        [GAIN_CUSTOMER] = 0, [GAIN_SUPPLIER] = CONTRACT_PPM, [GAIN_SHARED] = CONTRACT_PPM / 2};
    const struct contract *c = d->s->c;
    contract_nano declared = (contract_nano)c->tranche[i].tokens_per_s * 1000, ppm;
    power_uj delivered = settlement_delivered(&d->s->tranche[i]);

    if (!declared || delivered <= 0)
        return;
    if (!measured) {
        put(d, (struct settlement_line){.kind = SETTLE_TRUE_UP,
                                        .i_tranche = i,
                                        .cause = -1,
                                        .joules = delivered,
                                        .is_told = 1});
        return;
    }
    ppm = (measured - declared) * CONTRACT_PPM / declared;
    if (ppm < 0)
        put_energy(d, SETTLE_TRUE_UP, i, -1, delivered, (int64_t)-ppm, -1);
    ppm = ppm > CONTRACT_PPM * 100 ? CONTRACT_PPM * 100 : ppm;
    if (ppm > 0 && gain[c->gain])
        put_energy(d, SETTLE_TRUE_UP, i, -1, delivered,
                   (int64_t)(ppm * gain[c->gain] / CONTRACT_PPM), 1);
}

static void put_charges(struct drafting *d, enum settlement_kind kind,
                        const struct settlement_use *u, int64_t share_ppm, int sign)
{
    if (!u->n_requests && !u->charge)
        return;
    put(d, (struct settlement_line){.kind = kind,
                                    .i_tranche = -1,
                                    .cause = -1,
                                    .share_ppm = share_ppm,
                                    .base = u->charge,
                                    .amount = sign * share_of(u->charge, share_ppm),
                                    .n_rows = u->n_requests,
                                    .first_seq = u->first_seq,
                                    .last_seq = u->last_seq});
}

static void put_taken(struct drafting *d, const struct settlement_taken *t)
{
    put(d, (struct settlement_line){.kind = SETTLE_BACKSTOP,
                                    .i_tranche = t->i_tranche,
                                    .cause = -1,
                                    .joules = t->joules,
                                    .price = t->price,
                                    .share_ppm = CONTRACT_PPM,
                                    .amount = settlement_amount(t->joules, t->price, CONTRACT_PPM),
                                    .n_rows = t->n_rows,
                                    .first_seq = t->first_seq,
                                    .last_seq = t->last_seq});
}

int settlement_lines(const struct settlement *s, int i_part, const int64_t *measured,
                     settlement_take *take, void *arg)
{
    struct drafting d = {s, i_part, take, arg, 0};

    for (int i = 0; i < s->c->n_tranches; i++) {
        const struct settlement_tranche *t = &s->tranche[i];
        put_energy(&d, SETTLE_CAPACITY, i, -1, t->ready / SETTLEMENT_UJ, CONTRACT_PPM, 1);
        put_energy(&d, SETTLE_LATE, i, -1, t->late / SETTLEMENT_UJ, s->c->late_credit_ppm, -1);
        put_shortfall(&d, i);
        put_not_taken(&d, i);
        put_true_up(&d, i, measured ? measured[i] : 0);
    }
    for (int i = 0; i < s->n_taken; i++)
        put_taken(&d, &s->taken[i]);
    put_charges(&d, SETTLE_SPILLOVER, &s->paid, CONTRACT_PPM, 1);
    if (s->c->lend_share_ppm)
        put_charges(&d, SETTLE_LENT, &s->lent, s->c->lend_share_ppm, -1);
    return d.r;
}

/* ---- the period ------------------------------------------------------------------------------ */

void settlement_add(struct settlement_sum *sum, const struct settlement_line *l)
{
    sum->total += l->amount;
    if (l->kind == SETTLE_CAPACITY)
        sum->fee += l->amount;
    if (l->kind == SETTLE_LATE || l->kind == SETTLE_SHORT)
        sum->credits += l->amount;
}

int settlement_close(const struct contract *c, int i_part, contract_nano prepaid,
                     struct settlement_sum *sum, settlement_take *take, void *arg)
{
    contract_nano cap = share_of(sum->fee, c->credit_cap_ppm), over = -sum->credits - cap;
    struct drafting d = {NULL, i_part, take, arg, 0};
    struct settlement_line l = {
        .kind = SETTLE_CAP, .i_tranche = -1, .cause = -1, .share_ppm = c->credit_cap_ppm};

    if (c->credit_cap_ppm && over > 0) {
        l.base = sum->fee;
        l.amount = over;
        settlement_add(sum, &l);
        put(&d, l);
    }
    if (prepaid > 0 && sum->total > 0) {
        l = (struct settlement_line){
            .kind = SETTLE_PREPAID, .i_tranche = -1, .cause = -1, .base = prepaid};
        l.amount = -(sum->total < prepaid ? sum->total : prepaid);
        settlement_add(sum, &l);
        put(&d, l);
    }
    return d.r;
}
