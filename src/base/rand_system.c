/* A file of its own: tests put another in its place when they are linked.
 *
 * Each thread draws ahead: a request takes three times a few bytes, and a system call each time was
 * a good part of its cost. Bytes are wiped when they are handed out, so that what is left tells
 * nothing of them, and a fork's child does not have its parent's. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>

#include "base/err.h"
#include "base/rand.h"

#define AHEAD 1024

static _Thread_local struct {
    unsigned char bytes[AHEAD];
    size_t left; /* the last ones */
    int n_forks; /* when they were drawn */
} ahead;

static _Atomic int n_forks;

static void note_fork(void)
{
    atomic_fetch_add(&n_forks, 1);
}

static void watch_forks(void)
{
    /* without memory for it, which is when nothing else runs either, bytes are drawn ahead anyway:
     * no part of this program forks */
    (void)pthread_atfork(NULL, NULL, note_fork);
}

static int draw(unsigned char *q, size_t n)
{
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

static int draw_ahead(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int r;

    pthread_once(&once, watch_forks);
    ahead.left = 0;
    ahead.n_forks = atomic_load(&n_forks);
    r = draw(ahead.bytes, AHEAD);
    if (!r)
        ahead.left = AHEAD;
    return r;
}

int rand_system(void *p, size_t n)
{
    unsigned char *from;

    if (n > AHEAD / 8)
        return draw(p, n);
    if ((ahead.left < n || ahead.n_forks != atomic_load(&n_forks)) && draw_ahead())
        return ERR_IO;
    from = ahead.bytes + AHEAD - ahead.left;
    memcpy(p, from, n);
    explicit_bzero(from, n);
    ahead.left -= n;
    return 0;
}
