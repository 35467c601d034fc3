#include "cloud/asked_energy.h"

#include "cloud/asked_price.h"

struct energy_rates asked_energy(struct cloud_offer *of)
{
    const struct supplier_energy *agreed;
    struct energy_rates k = {-1, -1};

    if (!of)
        return k;
    agreed = &of->sup->terms.energy;
    pthread_mutex_lock(&of->lock);
    k = energy_rate_look(&of->energy);
    pthread_mutex_unlock(&of->lock);
    if (k.input_nj < 0 && agreed->is_agreed)
        k = (struct energy_rates){agreed->input_nj, agreed->output_nj};
    if (k.input_nj < 0 && asked_is_local(of->sup->id))
        k = (struct energy_rates){ASKED_ENERGY_FIRST_NJ,
                                  ASKED_ENERGY_FIRST_NJ * ENERGY_RATE_OUTPUT};
    return k;
}

void asked_energy_learn(struct cloud_offer *of, const struct cloud_use *u)
{
    if (!of || !u->energy.method || u->energy.method == ENERGY_CONTRACTED)
        return;
    pthread_mutex_lock(&of->lock);
    energy_rate_add(&of->energy, u->prompt_tokens - u->cached_tokens, u->completion_tokens,
                    u->energy.uj);
    pthread_mutex_unlock(&of->lock);
}
