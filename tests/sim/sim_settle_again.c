/* A period of a contract settled once more, from the script of a world: an hour at a time and a
 * piece at a time, in whole numbers of 128 bits. docs/contracts.md is what this follows. */
#include <stdlib.h>
#include <string.h>

#include "sim_settle.h"

#define MWH INT64_C(3600000000) /* joules */

struct contract_of contract[CONTRACTS];
struct note_of note[NOTES_MAX];
struct use_of use[USES_MAX];
int n_notes, n_uses;

/* ---- days -------------------------------------------------------------------------------- */

static int is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && is_leap(year));
}

int day_number(int year, int month, int day)
{
    int n = day - 1;

    for (int y = 1970; y < year; y++)
        n += is_leap(y) ? 366 : 365;
    for (int m = 1; m < month; m++)
        n += days_of(year, m);
    return n;
}

void day_date(int n, int *ret_year, int *ret_month, int *ret_day)
{
    int year = 1970, month = 1;

    for (; n >= (is_leap(year) ? 366 : 365); year++)
        n -= is_leap(year) ? 366 : 365;
    for (; n >= days_of(year, month); month++)
        n -= days_of(year, month);
    *ret_year = year;
    *ret_month = month;
    *ret_day = n + 1;
}

/* The last Sunday of a month of 31 days; day 3 was one. */
static int last_sunday(int year, int month)
{
    int n = day_number(year, month, 31);

    return n - (n - 3) % 7;
}

/* In Paris clocks go to summer time on the last Sunday of March and back on that of October, at one
 * o'clock UTC: that day begins as the one before it did. */
int64_t day_s(const struct contract_of *c, int day)
{
    static int64_t found[1 << 16]; /* it is asked for again and again */
    int year, month, d, is_summer;

    if (!c->is_paris)
        return (int64_t)day * DAY;
    if (found[day])
        return found[day];
    day_date(day, &year, &month, &d);
    is_summer = day > last_sunday(year, 3) && day <= last_sunday(year, 10);
    found[day] = (int64_t)day * DAY - (is_summer ? 7200 : 3600);
    return found[day];
}

static int day_of(const struct contract_of *c, int64_t at_s)
{
    int day = (int)(at_s / DAY) + 1;

    while (day_s(c, day) > at_s)
        day--;
    return day;
}

int64_t next_month(const struct contract_of *c, int64_t at_s)
{
    int year, month, d, day = day_of(c, at_s);

    day_date(day, &year, &month, &d);
    return day_s(c, day - d + 1 + days_of(year, month));
}

/* ---- what holds -------------------------------------------------------------------------- */

const struct version_of *version_at(const struct contract_of *c, int n, int64_t at_s)
{
    const struct version_of *v = &c->version[0];

    for (int i = 0; i < n; i++) {
        if (c->version[i].effective_s <= at_s)
            v = &c->version[i];
    }
    return v;
}

/* How often prices have grown by then. */
static int growths(const struct contract_of *c, const struct version_of *v, int64_t at_s)
{
    int year, month, day, n = 0;

    if (!v->growth)
        return 0;
    day_date(v->growth_day ? v->growth_day : c->from, &year, &month, &day);
    while (day_s(c, day_number(year + n + 1, month, day)) <= at_s)
        n++;
    return n;
}

static wide half_up(wide v, wide by)
{
    return v < 0 ? -((-v + by / 2) / by) : (v + by / 2) / by;
}

static wide price_of(const struct contract_of *c, const struct version_of *v,
                     const struct tranche_of *t, int64_t at_s)
{
    wide price = t->price;

    for (int i = growths(c, v, at_s); i-- > 0;)
        price = half_up(price * (MILLION + v->growth), MILLION);
    return price;
}

enum { NOTHING, LATE, READY };
static int how(const struct contract_of *c, const struct tranche_of *t, int64_t made_s,
               int64_t at_s)
{
    int64_t due = day_s(c, t->target);
    int is_cancelled = t->cancelled && day_s(c, t->cancelled) <= made_s;

    if (t->is_option) {
        if (!t->exercised || day_s(c, t->exercised) > made_s)
            return NOTHING;
        due = day_s(c, t->exercised) > due ? day_s(c, t->exercised) : due;
    }
    if (at_s < due || at_s >= day_s(c, t->until ? t->until : c->until) ||
        (is_cancelled && at_s >= day_s(c, t->cancelled)))
        return NOTHING;
    if (!t->delivered || day_s(c, t->delivered) > made_s || at_s < day_s(c, t->delivered))
        return LATE;
    return READY;
}

/* ---- a part ------------------------------------------------------------------------------ */

struct part {
    const struct contract_of *c;
    const struct version_of *v;
    const struct known *k;
    int64_t from_s, until_s;
    wide ready[TRANCHES], late[TRANCHES], watched[TRANCHES], missing[TRANCHES][CAUSES],
        used[TRANCHES];
    wide paid, lent;
    int64_t n_paid, n_lent, n_unknown;
};

/* Hour by hour: days begin at whole ones. */
static void walk(struct part *p)
{
    int64_t next;

    for (int64_t at = p->from_s; at < p->until_s; at = next) {
        next = at / 3600 * 3600 + 3600;
        next = next < p->until_s ? next : p->until_s;
        for (int i = 0; i < p->v->n; i++) {
            const struct tranche_of *t = &p->v->tranche[i];
            int h = how(p->c, t, p->k->made_s, at);
            wide uj = (wide)t->watts * (next - at) * S;
            p->ready[i] += h == READY ? uj : 0;
            p->late[i] += h == LATE ? uj : 0;
        }
    }
}

static int noted(const struct part *p, const struct piece_of *x)
{
    for (int i = p->k->n_notes; i-- > 0;) { /* the last one holds */
        if (note[i].place == x->place && note[i].from_us <= x->from_us &&
            x->from_us < note[i].until_us)
            return note[i].cause;
    }
    return NOT_TOLD;
}

/* So much is missing: by what the piece lacks, each part rounded down, the rest to what it lacks
 * most of (the supplier's where nothing is more). */
static void blame(struct part *p, int i, wide missing, const wide *lacks)
{
    wide all = 0, left = missing;
    int most = POWER_SUPPLIER;

    for (int k = 0; k < CAUSES; k++)
        all += lacks[k];
    for (int k = 0; k < CAUSES; k++) {
        if (lacks[k] > lacks[most])
            most = k;
    }
    for (int k = 0; all && k < CAUSES; k++) {
        p->missing[i][k] += missing * lacks[k] / all;
        left -= missing * lacks[k] / all;
    }
    p->missing[i][most] += left;
}

/* Of a piece, or of the part of it that is within, in proportion to time. */
static void share(struct part *p, const struct piece_of *x)
{
    int64_t from = x->from_us > p->from_s * S ? x->from_us : p->from_s * S;
    int64_t until = x->until_us < p->until_s * S ? x->until_us : p->until_s * S;
    wide us = until - from, len = x->until_us - x->from_us, usable, all = 0, need[TRANCHES];
    wide lacks[CAUSES] = {0};

    if (us <= 0)
        return;
#define CUT(v) ((v) / len * us + (v) % len * us / len)
    usable = CUT(x->energised) - CUT(x->encumbered);
    for (int k = 0; k < LOST; k++) {
        lacks[k] = CUT(x->lost[k]);
        usable -= lacks[k];
    }
    for (int i = 0; i < p->v->n; i++) {
        const struct tranche_of *t = &p->v->tranche[i];
        int is_here = t->place == x->place && how(p->c, t, p->k->made_s, from / S) == READY;
        need[i] = is_here ? t->watts * us : 0;
        all += need[i];
    }
    if (x->place < SITES && basis[x->place].pue &&
        p->c->is_facility != basis[x->place].is_facility) {
        wide pue = basis[x->place].pue;
        all = p->c->is_facility ? half_up(all * 1000, pue) : half_up(all * pue, 1000);
        all -= all <= CUT(x->ready) + us ? us : 0; /* not more than by rounding to a watt */
    }
    all = all > CUT(x->ready) ? all : CUT(x->ready);
    lacks[POWER_SUPPLIER] =
        CUT(x->encumbered) + (all > CUT(x->energised) ? all - CUT(x->energised) : 0);
#undef CUT
    for (int i = 0; i < p->v->n; i++) {
        wide missing = usable < all ? need[i] - need[i] * usable / all : 0;
        p->watched[i] += need[i];
        if (missing && noted(p, x) != NOT_TOLD)
            p->missing[i][noted(p, x)] += missing;
        else if (missing)
            blame(p, i, missing, lacks);
    }
}

/* Of the tranches of one name, which follow each other, the one whose turn it is. */
static int turn(const struct part *p, int name, int64_t at_us)
{
    int found = -1;

    for (int i = 0; i < p->v->n; i++) {
        const struct tranche_of *t = &p->v->tranche[i];
        if (t->name != name)
            continue;
        if (found < 0 ||
            (day_s(p->c, t->target) * S <= at_us && t->target > p->v->tranche[found].target))
            found = i;
    }
    return found;
}

static void add_use(struct part *p, const struct use_of *u)
{
    wide charge = u->is_foreign ? 0 : u->charge;
    int i;

    if (u->at_us < p->from_s * S || u->at_us >= p->until_s * S)
        return;
    if (u->lent == OWN) {
        p->n_unknown += u->energy == NOT_TOLD && !u->is_correction;
        i = u->name < 0 || u->energy == NOT_TOLD ? -1 : turn(p, u->name, u->at_us);
        if (i >= 0)
            p->used[i] += u->energy;
    } else if (u->lent == PAID) {
        p->n_paid += !u->is_correction;
        p->paid += charge;
    } else if (!u->is_customer) {
        p->n_lent += !u->is_correction;
        p->lent += charge;
    }
}

/* ---- lines ------------------------------------------------------------------------------- */

static void put(struct again *a, const struct part *p, int kind, int i, int cause, wide joules,
                wide amount)
{
    if (a->n == LINES_MAX)
        fail("a statement of too many lines");
    a->line[a->n++] = (struct line_of){.kind = kind,
                                       .i_tranche = i,
                                       .cause = cause,
                                       .from_s = p->from_s,
                                       .until_s = p->until_s,
                                       .joules = joules,
                                       .amount = amount};
    a->total += amount;
}

/* sign * joules at the tranche's price, times a share of a million. */
static void put_energy(struct again *a, const struct part *p, int kind, int i, int cause,
                       wide joules, int64_t ppm, int sign)
{
    wide price = price_of(p->c, p->v, &p->v->tranche[i], p->from_s);

    if (joules)
        put(a, p, kind, i, cause, joules,
            sign * half_up(joules * price * ppm, (wide)MWH * MILLION));
}

static void put_true_up(struct again *a, const struct part *p, int i, wide delivered)
{
    wide declared = (wide)p->v->tranche[i].tokens * 1000, measured = p->c->measured[i], ppm;

    if (!declared || delivered <= 0)
        return;
    if (!measured) {
        put(a, p, SETTLE_TRUE_UP, i, -1, delivered, 0);
        a->line[a->n - 1].is_told = 1;
        return;
    }
    ppm = (measured - declared) * MILLION / declared;
    if (ppm < 0)
        put_energy(a, p, SETTLE_TRUE_UP, i, -1, delivered, (int64_t)-ppm, -1);
    if (ppm > 100 * MILLION)
        ppm = 100 * MILLION;
    if (ppm > 0 && p->v->gain == GAIN_SUPPLIER)
        put_energy(a, p, SETTLE_TRUE_UP, i, -1, delivered, (int64_t)ppm, 1);
    if (ppm > 0 && p->v->gain == GAIN_SHARED)
        put_energy(a, p, SETTLE_TRUE_UP, i, -1, delivered, (int64_t)(ppm / 2), 1);
}

static void put_tranche(struct again *a, const struct part *p, int i)
{
    const struct version_of *v = p->v;
    wide ready = p->ready[i] / S, delivered = ready - (p->ready[i] - p->watched[i]) / S, paid;

    put_energy(a, p, SETTLE_CAPACITY, i, -1, ready, MILLION, 1);
    put_energy(a, p, SETTLE_LATE, i, -1, p->late[i] / S, v->late, -1);
    for (int k = 0; k < CAUSES; k++) {
        int is_excused = k == POWER_FORCE_MAJEURE || k == POWER_CUSTOMER;
        delivered -= p->missing[i][k] / S;
        put_energy(a, p, SETTLE_SHORT, i, k, p->missing[i][k] / S, is_excused ? 0 : v->missing, -1);
    }
    if (v->take && v->take < MILLION && !p->n_unknown) {
        paid = (delivered * v->take + MILLION - 1) / MILLION;
        paid = p->used[i] / S > paid ? p->used[i] / S : paid;
        if (paid < delivered)
            put_energy(a, p, SETTLE_NOT_TAKEN, i, -1, delivered - paid, MILLION, -1);
    }
    put_true_up(a, p, i, delivered);
}

static void settle_part(struct again *a, struct part *p)
{
    walk(p);
    for (int i = 0; i < p->k->n_pieces; i++) {
        if (piece[i].is_written)
            share(p, &piece[i]);
    }
    for (int i = 0; i < p->k->n_uses; i++) {
        if (use[i].i_contract >= 0 && &contract[use[i].i_contract] == p->c)
            add_use(p, &use[i]);
    }
    for (int i = 0; i < p->v->n; i++) {
        put_tranche(a, p, i);
        a->ready[i] += p->ready[i];
        a->late[i] += p->late[i];
        a->watched[i] += p->watched[i];
        a->used[i] += p->used[i];
        for (int k = 0; k < CAUSES; k++)
            a->missing[i][k] += p->missing[i][k];
    }
    if (p->n_paid || p->paid)
        put(a, p, SETTLE_SPILLOVER, -1, -1, 0, p->paid);
    if (p->v->lend && (p->n_lent || p->lent))
        put(a, p, SETTLE_LENT, -1, -1, 0, -half_up(p->lent * p->v->lend, MILLION));
}

/* ---- a period ---------------------------------------------------------------------------- */

/* When another version or another price holds: the next of all moments at which one might. */
static int64_t next_cut(const struct contract_of *c, const struct known *k, int64_t at_s,
                        int64_t until_s)
{
    const struct version_of *v = version_at(c, k->n_versions, at_s);
    int n = growths(c, v, at_s), year, month, day;

    for (int i = 0; i < k->n_versions; i++) {
        int64_t t = c->version[i].effective_s;
        until_s = t > at_s && t < until_s ? t : until_s;
    }
    if (v->growth) {
        int64_t t;
        day_date(v->growth_day ? v->growth_day : c->from, &year, &month, &day);
        t = day_s(c, day_number(year + n + 1, month, day));
        until_s = t < until_s ? t : until_s;
    }
    return until_s;
}

static void settle(struct again *a, const struct contract_of *c, const struct known *k,
                   int64_t from_s, int64_t until_s, wide prepaid)
{
    struct part p = {0};
    wide fee = 0, credits = 0, cap;

    for (int64_t at = from_s; at < until_s; at = p.until_s) {
        p = (struct part){.c = c, .k = k, .from_s = at};
        p.v = version_at(c, k->n_versions, at);
        p.until_s = next_cut(c, k, at, until_s);
        settle_part(a, &p);
    }
    for (int i = 0; i < a->n; i++) {
        fee += a->line[i].kind == SETTLE_CAPACITY ? a->line[i].amount : 0;
        if (a->line[i].kind == SETTLE_LATE || a->line[i].kind == SETTLE_SHORT)
            credits -= a->line[i].amount;
    }
    cap = half_up(fee * p.v->cap, MILLION);
    if (p.v->cap && credits > cap)
        put(a, &p, SETTLE_CAP, -1, -1, 0, credits - cap);
    if (prepaid > 0 && a->total > 0)
        put(a, &p, SETTLE_PREPAID, -1, -1, 0, -(a->total < prepaid ? a->total : prepaid));
}

void again_make(struct again *a, const struct contract_of *c, const struct known *k, int64_t from_s,
                int64_t until_s)
{
    wide prepaid = version_at(c, k->n_versions, from_s)->prepayment;
    int64_t end;

    for (int64_t at = day_s(c, c->from); prepaid > 0 && at < from_s; at = end) {
        end = next_month(c, at);
        end = end < from_s ? end : from_s;
        memset(a, 0, sizeof *a);
        settle(a, c, k, at, end, 0);
        if (a->total > 0)
            prepaid -= a->total < prepaid ? a->total : prepaid;
    }
    memset(a, 0, sizeof *a);
    a->prepaid = prepaid;
    settle(a, c, k, from_s, until_s, prepaid);
}
