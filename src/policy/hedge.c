#include "policy/hedge.h"

void hedge_earn(struct hedge *h, int64_t n_tokens, int32_t percent)
{
    h->left += n_tokens * percent;
    if (h->left > (int64_t)HEDGE_SAVED_MAX * 100)
        h->left = (int64_t)HEDGE_SAVED_MAX * 100;
}

int hedge_take(struct hedge *h, int64_t n_tokens)
{
    if (h->left < n_tokens * 100)
        return 0;
    h->left -= n_tokens * 100;
    return 1;
}

void hedge_settle(struct hedge *h, int64_t n_taken, int64_t n_lost)
{
    h->left += (n_taken - n_lost) * 100;
}

/* Up by 19 parts when one is later, down by one when it is not: at rest where one of 20 is. */
void late_add(struct late *l, int64_t first_us)
{
    int64_t part = l->us / 200 + 1;

    if (!l->n)
        l->us = first_us;
    else if (first_us > l->us)
        l->us += 19 * part;
    else
        l->us -= l->us > part ? part : 0;
    if (l->n < INT32_MAX)
        l->n++;
}

int64_t late_us(const struct late *l)
{
    return l->n < LATE_SAMPLES ? -1 : l->us;
}
