/* A file of its own: tests put another in its place when they are linked. */
#include <errno.h>
#include <sys/random.h>

#include "base/err.h"
#include "base/rand.h"

int rand_system(void *p, size_t n)
{
    unsigned char *q = p;

    while (n) {
        ssize_t r = getrandom(q, n, 0);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return ERR_IO;
        q += r;
        n -= (size_t)r;
    }
    return 0;
}
