/* One allocation after the other fails: for tests that are linked with --wrap=malloc and its kin.
 *
 * Between fail_begin(n) and fail_end() the n-th call of the program's own code returns NULL,
 * whatever its thread; threads that say so, never. jansson is handed the program's malloc and so
 * counts, too. Other libraries do not: libevent, for one, ends the process where it has no memory.
 */
#ifndef TEST_FAIL_ALLOC_H
#define TEST_FAIL_ALLOC_H

#include <stdatomic.h>
#include <stddef.h>

static _Atomic int fail_on;
static _Atomic long fail_at, fail_n;
/* volatile: compilers know that malloc reads no variable of ours. */
static _Thread_local volatile int fail_never;

static void fail_begin(long n)
{
    atomic_store(&fail_at, n);
    atomic_store(&fail_n, 0);
    atomic_store(&fail_on, 1);
}

/* Did one fail? */
static int fail_end(void)
{
    atomic_store(&fail_on, 0);
    return atomic_load(&fail_n) >= atomic_load(&fail_at);
}

static int fail_now(void)
{
    return atomic_load(&fail_on) && !fail_never &&
           atomic_fetch_add(&fail_n, 1) + 1 == atomic_load(&fail_at);
}

#define WRAP(name, params, args)                                                                   \
    void *__real_##name params;                                                                    \
    void *__wrap_##name params;                                                                    \
    void *__wrap_##name params                                                                     \
    {                                                                                              \
        return fail_now() ? NULL : __real_##name args;                                             \
    }

WRAP(malloc, (size_t n), (n))
WRAP(calloc, (size_t n, size_t size), (n, size))
WRAP(realloc, (void *p, size_t n), (p, n))
WRAP(aligned_alloc, (size_t to, size_t n), (to, n))
WRAP(strdup, (const char *s), (s))

#endif
