#include "policy/allowance.h"

#define AGAIN_US INT64_C(2000000) /* after a window's end: so long until the next one is assumed   \
                                   */

int64_t allowance_look(const struct allowance *a, int64_t now_us)
{
    const int64_t need[LIMITS_KINDS] = {1, a->tokens_usual > 1 ? a->tokens_usual : 1};
    int64_t at = 0;

    for (int k = 0; k < LIMITS_KINDS; k++) {
        for (int s = 0; s < LIMITS_SPANS; s++) {
            const struct allowance_window *w = &a->window[k][s];
            /* A request larger than a full window is the service's to refuse. */
            int64_t full = w->limit > 0 && w->limit < need[k] ? w->limit : need[k];
            if (w->until_us > now_us && w->left < full && w->until_us > at)
                at = w->until_us;
        }
    }
    return at;
}

static void take(struct allowance_window *w, int64_t n, int64_t now_us)
{
    if (!w->until_us)
        return;
    if (now_us >= w->until_us) { /* the next window, of which nobody has said anything yet */
        w->left = w->limit > 0 ? w->limit : 1;
        w->until_us = now_us + AGAIN_US;
    }
    w->left -= n;
}

struct allowance_mark allowance_begin(struct allowance *a, int64_t n_tokens, int64_t now_us)
{
    for (int s = 0; s < LIMITS_SPANS; s++) {
        take(&a->window[LIMITS_REQUESTS][s], 1, now_us);
        take(&a->window[LIMITS_TOKENS][s], n_tokens, now_us);
    }
    a->begun.n++;
    a->begun.tokens += n_tokens;
    a->tokens_usual =
        a->tokens_usual ? a->tokens_usual + (n_tokens - a->tokens_usual) / 8 : n_tokens;
    return a->begun;
}

static void learn(struct allowance_window *w, const struct limit_told *t, int span, int64_t since,
                  int64_t now_us)
{
    static const int64_t spans_us[LIMITS_SPANS] = {
        [LIMITS_MINUTE] = INT64_C(60) * 1000000,
        [LIMITS_HOUR] = INT64_C(3600) * 1000000,
        [LIMITS_DAY] = INT64_C(86400) * 1000000,
    };
    int64_t us = t->reset_us >= 0 ? t->reset_us : spans_us[span];

    if (t->left < 0)
        return;
    if (us > ALLOWANCE_US_MAX)
        us = ALLOWANCE_US_MAX;
    w->limit = t->limit > 0 ? t->limit : w->limit;
    w->left = t->left - since;
    w->until_us = us ? now_us + us : 0;
}

void allowance_learn(struct allowance *a, const struct allowance_mark *of,
                     const struct limits_told *t, int64_t now_us)
{
    int64_t n = a->begun.n - of->n, tokens = a->begun.tokens - of->tokens;

    if (!t->any || of->n < a->n_learned)
        return;
    a->n_learned = of->n;
    for (int s = 0; s < LIMITS_SPANS; s++) {
        learn(&a->window[LIMITS_REQUESTS][s], &t->window[LIMITS_REQUESTS][s], s, n, now_us);
        learn(&a->window[LIMITS_TOKENS][s], &t->window[LIMITS_TOKENS][s], s, tokens, now_us);
    }
}
