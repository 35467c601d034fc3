#include <string.h>

#include "base/rand.h"
#include "fakes.h"

static uint64_t key, counter;

void fake_rand_seed(uint64_t seed)
{
    key = seed;
    counter = 0;
}

int rand_system(void *p, size_t n)
{
    unsigned char *q = p;
    uint32_t r[4];

    for (size_t k; n; q += k, n -= k) {
        k = n < sizeof r ? n : sizeof r;
        rand_philox(key, counter++, 1, r);
        memcpy(q, r, k);
    }
    return 0;
}
