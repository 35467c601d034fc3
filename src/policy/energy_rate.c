#include "policy/energy_rate.h"

__extension__ typedef __int128 wide;

static int64_t at_most(wide n, int64_t most)
{
    return n > most ? most : (int64_t)n;
}

int64_t energy_rates_uj(const struct energy_rates *k, int64_t prompt, int64_t output)
{
    wide nj = (wide)k->input_nj * prompt + (wide)k->output_nj * output;

    return k->input_nj < 0 ? -1 : at_most((nj + 999) / 1000, INT64_MAX);
}

int64_t energy_rates_afford(const struct energy_rates *k, int64_t prompt, int64_t uj)
{
    wide left = (wide)uj * 1000 - (wide)k->input_nj * prompt;

    if (k->input_nj < 0 || left < 0)
        return -1;
    return k->output_nj > 0 ? at_most(left / k->output_nj, ENERGY_TOKENS_MAX) : ENERGY_TOKENS_MAX;
}

void energy_rate_add(struct energy_rate *r, int64_t prompt, int64_t output, int64_t uj)
{
    wide work = (wide)prompt + (wide)output * ENERGY_RATE_OUTPUT, nj;

    if (work <= 0 || uj < 0)
        return;
    nj = ((wide)uj * 1000 + work - 1) / work;
    if (r->n == ENERGY_RATE_NEWEST)
        *r = (struct energy_rate){.before_nj = r->nj};
    r->n++;
    if (nj > r->nj)
        r->nj = at_most(nj, INT64_MAX / ENERGY_RATE_OUTPUT);
}

struct energy_rates energy_rate_look(const struct energy_rate *r)
{
    int64_t nj = r->nj > r->before_nj ? r->nj : r->before_nj;

    return r->n ? (struct energy_rates){nj, nj * ENERGY_RATE_OUTPUT}
                : (struct energy_rates){-1, -1};
}
