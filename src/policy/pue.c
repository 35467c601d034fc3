#include "policy/pue.h"

__extension__ typedef __int128 wide;

static int before(int i)
{
    return (i + PUE_SAMPLES - 1) % PUE_SAMPLES;
}

void pue_take(struct pue_meter *m, int64_t at_us, int64_t apart_us, int64_t it, int64_t facility,
              int64_t window_us)
{
    int64_t step_us = window_us / (PUE_SAMPLES - 2);
    int i = m->last;

    if (apart_us > window_us / 64 || apart_us < -window_us / 64 || it < 0 || facility < 0)
        return;
    if (m->n && at_us <= m->sample[i].at_us)
        return;
    if (m->n && (it < m->sample[i].it || facility < m->sample[i].facility))
        m->n = 0;
    /* The last one is moved on until it is a step after the one before it. */
    if (m->n < 2 || m->sample[i].at_us - m->sample[before(i)].at_us >= step_us) {
        i = m->n ? (i + 1) % PUE_SAMPLES : 0;
        m->n += m->n < PUE_SAMPLES;
    }
    m->sample[i].at_us = at_us;
    m->sample[i].it = it;
    m->sample[i].facility = facility;
    m->last = i;
}

int32_t pue_permille(const struct pue_meter *m, int64_t now_us, int64_t window_us)
{
    int last = m->last, first = last;
    int64_t it, facility;
    wide permille;

    if (m->n < 2 || now_us - m->sample[last].at_us > window_us / 2)
        return PUE_UNKNOWN;
    for (int k = 1; k < m->n; k++) {
        int i = before(first);
        if (m->sample[last].at_us - m->sample[i].at_us > window_us)
            break;
        first = i;
    }
    it = m->sample[last].it - m->sample[first].it;
    facility = m->sample[last].facility - m->sample[first].facility;
    if (m->sample[last].at_us - m->sample[first].at_us < window_us / 2 || it < PUE_LEAST_IT)
        return PUE_UNKNOWN;
    permille = ((wide)facility * 1000 + it / 2) / it;
    return permille < 1000 || permille > PUE_MOST ? PUE_UNKNOWN : (int32_t)permille;
}
