/* The ring: what goes in comes out, whole and in order, at every place of the buffer and between
 * two threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "base/ring.h"

#define CAP 256

static _Alignas(8) unsigned char data[CAP];
static struct ring ring;

/* The length and the bytes of the i-th record follow from i. */
static uint32_t length_of(uint32_t i)
{
    return i * 2654435761u % (CAP / 2 - 8 + 1);
}

static void fill(unsigned char *p, uint32_t i)
{
    for (uint32_t k = 0; k < length_of(i); k++)
        p[k] = (unsigned char)(i + k);
}

static int is_record(const unsigned char *p, uint32_t n, uint32_t i)
{
    uint32_t k = 0;

    while (k < n && p[k] == (unsigned char)(i + k))
        k++;
    return n == length_of(i) && k == n;
}

static int push(uint32_t i)
{
    unsigned char *p = ring_push_begin(&ring, length_of(i));

    if (!p)
        return 0;
    fill(p, i);
    ring_push_commit(&ring, length_of(i));
    return 1;
}

/* As long as something fits it is taken, and nothing else is lost or changed. */
static void test_full_and_empty(void **state)
{
    uint32_t in = 0, out = 0, n;
    const void *p;

    ring_init(&ring, data, CAP);
    for (int round = 0; round < 5000; round++) {
        for (uint32_t k = 0; k < (uint32_t)round % 7 && push(in); k++)
            in++;
        for (uint32_t k = 0; k < (uint32_t)round % 5 && (p = ring_peek(&ring, &n)); k++) {
            assert_true((uintptr_t)p % 8 == 0);
            assert_true(is_record(p, n, out));
            ring_pop(&ring);
            out++;
        }
        assert_true(ring_used(&ring) <= CAP);
    }
    for (; (p = ring_peek(&ring, &n)); out++) {
        assert_true(is_record(p, n, out));
        ring_pop(&ring);
    }
    assert_int_equal(in, out);
    assert_true(in > 5000);
    assert_int_equal(ring_used(&ring), 0);
}

static void test_limits(void **state)
{
    uint32_t n;

    ring_init(&ring, data, CAP);
    assert_null(ring_peek(&ring, &n));
    assert_null(ring_push_begin(&ring, CAP / 2 - 7));
    assert_null(ring_push_begin(&ring, UINT32_MAX));
    for (int at = 0; at < 3 * CAP; at += 8) { /* the largest fits an empty ring, wherever it is */
        assert_non_null(ring_push_begin(&ring, CAP / 2 - 8));
        assert_null(ring_peek(&ring, &n));          /* not before it is committed */
        assert_non_null(ring_push_begin(&ring, 0)); /* given up for a smaller one */
        ring_push_commit(&ring, 0);
        assert_non_null(ring_peek(&ring, &n));
        assert_int_equal(n, 0);
        ring_pop(&ring);
    }
}

/* Where the consumer is behind, the producer waits; the other way round likewise. */
enum { N_RECORDS = 30000 };

static void *produce(void *arg)
{
    for (uint32_t i = 0; i < N_RECORDS; i++) {
        while (!push(i))
            sched_yield();
    }
    return NULL;
}

static void test_two_threads(void **state)
{
    pthread_t t;
    uint32_t n;
    const void *p;

    ring_init(&ring, data, CAP);
    assert_int_equal(pthread_create(&t, NULL, produce, NULL), 0);
    for (uint32_t i = 0; i < N_RECORDS; i++) {
        while (!(p = ring_peek(&ring, &n)))
            sched_yield();
        assert_true(is_record(p, n, i));
        ring_pop(&ring);
    }
    pthread_join(t, NULL);
    assert_null(ring_peek(&ring, &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_and_empty),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
