#include "policy/backoff.h"

int64_t backoff_pause(int n_failed, int64_t first, int64_t most, uint32_t random)
{
    int64_t pause = first > 0 ? first : 1;

    while (--n_failed > 0 && pause < most)
        pause = pause > most / 2 ? most : 2 * pause;
    if (pause > most)
        pause = most;
    return pause - (int64_t)((double)(pause / 2) * random / 4294967296.0);
}
