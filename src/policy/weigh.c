#include "policy/weigh.h"

int weigh_turn(int64_t *credit, const int32_t *weight, const unsigned char *may, int n)
{
    int64_t sum = 0;
    int best = -1;

    for (int i = 0; i < n; i++) {
        if (!may[i])
            continue;
        credit[i] += weight[i];
        sum += weight[i];
        if (best < 0 || credit[i] > credit[best])
            best = i;
    }
    if (best >= 0)
        credit[best] -= sum;
    return best;
}
