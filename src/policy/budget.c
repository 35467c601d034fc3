#include "policy/budget.h"

#define COUNT_MAX (INT64_C(1) << 60) /* more is no number that can be reached */

static int64_t add(int64_t a, int64_t b)
{
    return a + (b < COUNT_MAX - a ? b : COUNT_MAX - a);
}

void budget_turn(struct budget *b, int64_t from, int64_t until, int64_t settled)
{
    b->held_before += b->held;
    b->held = 0;
    b->settled = settled;
    b->from = from;
    b->until = until;
}

int64_t budget_left(const struct budget *b)
{
    int64_t taken = add(b->settled, b->held);

    if (b->amount < 0)
        return INT64_MAX;
    return taken < b->amount ? b->amount - taken : 0;
}

int budget_hold(struct budget *b, int64_t n, struct budget_held *ret)
{
    if (n > budget_left(b))
        return -1;
    n = add(b->held, n) - b->held;
    b->held += n;
    *ret = (struct budget_held){.from = b->from, .n = n, .is_held = 1};
    return 0;
}

void budget_hold_more(struct budget *b, struct budget_held *held, int64_t n)
{
    int64_t *sum = held->from == b->from ? &b->held : &b->held_before;

    if (!held->is_held)
        return;
    n = add(*sum, n) - *sum;
    *sum += n;
    held->n += n;
}

void budget_settle(struct budget *b, struct budget_held *held, int64_t used)
{
    if (held->is_held && held->from != b->from) {
        b->held_before -= held->n;
    } else {
        b->held -= held->is_held ? held->n : 0;
        b->settled = add(b->settled, used);
    }
    *held = (struct budget_held){0};
}

int budget_percent(const struct budget *b)
{
    double taken = (double)b->settled + (double)b->held;
    double percent = b->amount > 0 ? taken * 100 / (double)b->amount : b->amount ? 0 : 100;

    return percent < 999 ? (int)percent : 999;
}
