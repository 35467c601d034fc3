#include "policy/draft.h"

#define COST_EMA    0.15
#define COST_CLIP   3.0  /* longer than so many means: the step was interrupted; this counts then */
#define COST_GUESS  0.15 /* cost of one more token, before it was measured, in one-token steps */
#define COST_LEAST  0.01
#define COST_FORGET 0.9995 /* factor per step on costs not measured again, so that outliers fade   \
                            */
#define TRUST_DECAY 0.97
#define TRUST_PRIOR 4.0 /* the first guess of p weighs as much as so many tokens */
#define GAIN_LEAST  1.04

static int point_of(int32_t tokens)
{
    int i = 0;
    for (int32_t top = 1; top < tokens && i < DRAFT_COST_POINTS - 1; top *= 2)
        i++;
    return i;
}

void draft_cost_see(struct draft_cost *c, int32_t tokens, double us)
{
    int i = point_of(tokens);

    for (int k = 0; k < DRAFT_COST_POINTS; k++) {
        if (k != i)
            c->us[k] *= COST_FORGET;
    }
    if (!(c->us[i] > 0)) {
        c->tokens[i] = tokens;
        c->us[i] = us;
        return;
    }
    if (us > COST_CLIP * c->us[i])
        us = COST_CLIP * c->us[i];
    c->tokens[i] += COST_EMA * (tokens - c->tokens[i]);
    c->us[i] += COST_EMA * (us - c->us[i]);
}

double draft_cost_us(const struct draft_cost *c, double tokens)
{
    double x0 = 0, y0 = 0, first = 0, slope = 0; /* x0, y0: the last known point before `tokens` */

    for (int i = 0; i < DRAFT_COST_POINTS; i++) {
        if (!(c->us[i] > 0))
            continue;
        double x = c->tokens[i], y = c->us[i];
        if (first == 0) {
            first = y / (1 + COST_GUESS * (x - 1));
            x0 = 1;
            y0 = first;
            slope = COST_GUESS * first;
        }
        if (y < y0) /* measurement noise: a step of more tokens costs no less */
            y = y0;
        if (x > x0) {
            slope = (y - y0) / (x - x0);
            if (slope < COST_LEAST * first)
                slope = COST_LEAST * first;
        }
        if (x >= tokens && x > x0)
            break;
        x0 = x;
        y0 = y;
    }
    return tokens > x0 ? y0 + slope * (tokens - x0) : y0;
}

static int length_of(int32_t match)
{
    return match < 4 ? 0 : match < 8 ? 1 : match < 16 ? 2 : 3;
}

static const double guess[DRAFT_TRUST_LENGTHS] = {0.3, 0.5, 0.7, 0.85};

void draft_trust_init(struct draft_trust *t)
{
    for (int i = 0; i < DRAFT_TRUST_LENGTHS; i++) {
        t->tried[i] = TRUST_PRIOR;
        t->right[i] = TRUST_PRIOR * guess[i];
    }
}

void draft_trust_inherit(struct draft_trust *t, const struct draft_trust *from)
{
    for (int i = 0; i < DRAFT_TRUST_LENGTHS; i++) {
        double p = draft_trust_p(from, 2 << i);
        t->tried[i] = TRUST_PRIOR;
        t->right[i] = TRUST_PRIOR * (p > guess[i] / 2 ? p : guess[i] / 2);
    }
}

void draft_trust_see(struct draft_trust *t, int32_t match, int32_t drafted, int32_t right)
{
    int i = length_of(match);

    t->tried[i] = TRUST_DECAY * t->tried[i] + right + (right < drafted);
    t->right[i] = TRUST_DECAY * t->right[i] + right;
}

double draft_trust_p(const struct draft_trust *t, int32_t match)
{
    int i = length_of(match);
    double p = t->tried[i] > 0 ? t->right[i] / t->tried[i] : 0;

    return p > 0.995 ? 0.995 : p;
}

int32_t draft_length(const struct draft_cost *c, const struct draft_trust *t, int32_t match,
                     int32_t most, int32_t tokens, double *io_gain)
{
    double p = draft_trust_p(t, match), gain = *io_gain, add = 0, term = 1;
    double now = draft_cost_us(c, tokens), best = GAIN_LEAST * gain / now, best_add = 0;
    int32_t length = 0;

    if (!(now > 0))
        return 0;
    for (int32_t d = 1; d <= most; d++) {
        double rate;
        term *= p;
        add += term;
        rate = (gain + add) / draft_cost_us(c, tokens + d);
        if (rate > best) {
            best = rate;
            best_add = add;
            length = d;
        }
    }
    *io_gain += best_add;
    return length;
}
