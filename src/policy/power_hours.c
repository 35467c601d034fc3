#include "policy/power_hours.h"

#include <string.h>

/* ---- causes ---------------------------------------------------------------------------------- */

static const char *const names[POWER_CAUSES] = {[POWER_ENVIRONMENT] = "environment",
                                                [POWER_CURTAILMENT] = "curtailment",
                                                [POWER_MAINTENANCE] = "maintenance",
                                                [POWER_OPERATOR] = "operator",
                                                [POWER_FORCE_MAJEURE] = "force-majeure",
                                                [POWER_SUPPLIER] = "supplier",
                                                [POWER_CUSTOMER] = "customer"};

const char *power_cause_name(enum power_cause c)
{
    return names[c];
}

int power_cause_find(const char *word)
{
    for (int i = 0; i < POWER_CAUSES; i++) {
        if (!strcmp(names[i], word))
            return i;
    }
    return -1;
}

char *power_uj_show(power_uj v, char out[POWER_UJ_TEXT_MAX])
{
    char digits[POWER_UJ_TEXT_MAX];
    int n = 0, is_negative = v < 0;
    char *to = out;

    do {
        int digit = (int)(v % 10);
        digits[n++] = (char)('0' + (digit < 0 ? -digit : digit));
    } while (v /= 10);
    if (is_negative)
        *to++ = '-';
    while (n)
        *to++ = digits[--n];
    *to = 0;
    return out;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

void power_piece_begin(struct power_piece *p, int64_t at_us)
{
    *p = (struct power_piece){.from_us = at_us, .until_us = at_us};
}

int64_t power_piece_end(const struct power_piece *p, int64_t span_us)
{
    return (p->from_us / span_us + 1) * span_us;
}

static int watts_ok(int64_t w)
{
    return w >= 0 && w <= POWER_PIECE_WATTS;
}

/* Is there room for that much more? */
static int fits(int64_t uj, int64_t watts, int64_t us)
{
    return uj + (power_uj)watts * us <= POWER_PIECE_UJ;
}

int power_piece_add(struct power_piece *p, const struct power_state *s, int64_t until_us)
{
    int64_t us = until_us - p->until_us, rest, held = s->encumbered_w;

    if (p->from_us < 0 || us <= 0 || until_us > power_piece_end(p, POWER_HOUR_US) ||
        !watts_ok(s->contracted_w) || !watts_ok(s->energised_w) || !watts_ok(held) ||
        !watts_ok(s->ready_w) || s->factor_ppm < 0 || s->factor_ppm > POWER_PPM ||
        !fits(p->contracted_uj, s->contracted_w, us) ||
        !fits(p->energised_uj, s->energised_w, us) || !fits(p->ready_uj, s->ready_w, us))
        return -1;
    held = held < s->energised_w ? held : s->energised_w;
    rest = (s->energised_w - held) * us;
    p->contracted_uj += s->contracted_w * us;
    p->energised_uj += s->energised_w * us;
    p->encumbered_uj += held * us;
    p->ready_uj += s->ready_w * us;
    p->lost_uj[s->cause] += (int64_t)((power_uj)rest * (POWER_PPM - s->factor_ppm) / POWER_PPM);
    p->until_us = until_us;
    return 0;
}

static int64_t part(int64_t v, int64_t us, int64_t of_us)
{
    return (int64_t)((power_uj)v * us / of_us);
}

int power_piece_cut(const struct power_piece *p, int64_t from_us, int64_t until_us,
                    struct power_piece *ret)
{
    int64_t from = from_us > p->from_us ? from_us : p->from_us;
    int64_t until = until_us < p->until_us ? until_us : p->until_us;
    int64_t us = until - from, all = p->until_us - p->from_us;

    if (us <= 0)
        return -1;
    *ret = (struct power_piece){.from_us = from,
                                .until_us = until,
                                .contracted_uj = part(p->contracted_uj, us, all),
                                .energised_uj = part(p->energised_uj, us, all),
                                .encumbered_uj = part(p->encumbered_uj, us, all),
                                .ready_uj = part(p->ready_uj, us, all)};
    for (int i = 0; i < POWER_MEASURED; i++)
        ret->lost_uj[i] = part(p->lost_uj[i], us, all);
    return 0;
}

static power_uj lost(const int64_t *by_cause)
{
    power_uj sum = 0;

    for (int i = 0; i < POWER_MEASURED; i++)
        sum += by_cause[i];
    return sum;
}

int64_t power_piece_usable(const struct power_piece *p)
{
    return (int64_t)(p->energised_uj - p->encumbered_uj - lost(p->lost_uj));
}

int power_piece_ok(const struct power_piece *p)
{
    int64_t us = p->until_us - p->from_us;
    power_uj most = us < POWER_PIECE_US ? (power_uj)POWER_PIECE_WATTS * us : POWER_PIECE_UJ;
    int is_ok = p->from_us >= 0 && us > 0 && p->until_us <= power_piece_end(p, POWER_HOUR_US) &&
                p->contracted_uj >= 0 && p->contracted_uj <= most && p->energised_uj >= 0 &&
                p->energised_uj <= most && p->encumbered_uj >= 0 && p->ready_uj >= 0 &&
                p->ready_uj <= most;

    for (int i = 0; i < POWER_MEASURED; i++)
        is_ok = is_ok && p->lost_uj[i] >= 0;
    return is_ok && p->encumbered_uj + lost(p->lost_uj) <= p->energised_uj;
}

/* ---- spans ----------------------------------------------------------------------------------- */

void power_sum_add(struct power_sum *s, const struct power_piece *p)
{
    s->contracted += p->contracted_uj;
    s->energised += p->energised_uj;
    s->encumbered += p->encumbered_uj;
    s->ready += p->ready_uj;
    for (int i = 0; i < POWER_MEASURED; i++)
        s->lost[i] += p->lost_uj[i];
    s->watched_us += p->until_us - p->from_us;
}

/* As much of a wish as is left. */
static power_uj take(power_uj *left, power_uj want)
{
    power_uj got = want < *left ? want : *left;

    got = got > 0 ? got : 0;
    *left -= got;
    return got;
}

void power_parts(const struct power_sum *s, const struct power_use *u, struct power_parts *ret)
{
    power_uj left = s->energised, bought = u->taken > u->backstop ? u->taken : u->backstop;

    *ret = (struct power_parts){.energised = s->energised};
    ret->encumbered = take(&left, s->encumbered);
    for (int i = 0; i < POWER_MEASURED; i++)
        ret->curtailed += take(&left, s->lost[i]);
    ret->used = take(&left, u->own + u->other);
    ret->lent = take(&left, u->lent);
    ret->sold = take(&left, s->ready - u->own - u->lent);
    ret->backstop = take(&left, bought);
    ret->over = u->own + u->other + u->lent + bought - ret->used - ret->lent - ret->backstop;
    ret->idle = left;
}
