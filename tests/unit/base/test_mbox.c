/* The mailbox: oldest first, each item once, no wake-up lost, and what was done before a post is
 * seen by who takes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>

#include "base/mbox.h"
#include "base/ring.h"

static int is_readable(const struct mbox *m)
{
    struct pollfd p = {.fd = m->fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void test_order(void **state)
{
    struct mbox m;
    struct mbox_item it[3] = {{.kind = 7}}, *list;

    assert_int_equal(mbox_open(&m), 0);
    assert_null(mbox_take(&m));
    assert_int_equal(mbox_post(&m, &it[1]), 1); /* the first: wake */
    assert_int_equal(mbox_post(&m, &it[0]), 0);
    assert_int_equal(mbox_post(&m, &it[1]), 0); /* already there */
    assert_int_equal(mbox_post(&m, &it[2]), 0);
    list = mbox_take(&m);
    assert_null(mbox_take(&m));
    assert_int_equal(mbox_post(&m, &it[1]), 0); /* taken, not yet handled: seen with that */
    assert_ptr_equal(mbox_next(&list), &it[1]);
    assert_int_equal(mbox_post(&m, &it[1]), 1); /* handled: anew */
    assert_ptr_equal(mbox_next(&list), &it[0]);
    assert_ptr_equal(mbox_next(&list), &it[2]);
    assert_null(mbox_next(&list));
    list = mbox_take(&m);
    assert_ptr_equal(mbox_next(&list), &it[1]);
    assert_null(list);
    assert_int_equal(it[0].kind, 7);
    mbox_close(&m);
}

static void test_wake(void **state)
{
    struct mbox m;

    assert_int_equal(mbox_open(&m), 0);
    mbox_wait(&m, 0);
    assert_false(is_readable(&m));
    mbox_wake(&m);
    mbox_wake(&m);
    assert_true(is_readable(&m));
    mbox_wait(&m, -1); /* returns, and clears */
    assert_false(is_readable(&m));
    mbox_wake(&m);
    mbox_clear(&m);
    assert_false(is_readable(&m));
    mbox_close(&m);
    mbox_close(&m);
    assert_int_equal(m.fd, -1);
    assert_int_equal(mbox_open(&m), 0); /* as new */
    assert_false(is_readable(&m));
    assert_null(mbox_take(&m));
    mbox_close(&m);
}

/* As jobs use it: each of many threads has a ring and an item, and posts the item after each record
 * that it pushed; one thread takes the items and empties their rings. */
enum { N_POSTERS = 4, N_RECORDS = 10000 };

struct poster {
    struct mbox *box;
    struct mbox_item item;
    struct ring ring;
    pthread_t thread;
    uint32_t next; /* record expected, the consumer's */
    _Alignas(8) unsigned char data[256];
};

static void *post_all(void *arg)
{
    struct poster *p = arg;

    for (uint32_t i = 0; i < N_RECORDS; i++) {
        uint32_t *r;
        while (!(r = ring_push_begin(&p->ring, sizeof *r)))
            sched_yield();
        *r = i;
        ring_push_commit(&p->ring, sizeof *r);
        if (mbox_post(p->box, &p->item))
            mbox_wake(p->box);
    }
    return NULL;
}

static void empty(struct poster *p)
{
    const uint32_t *r;
    uint32_t n;

    while ((r = ring_peek(&p->ring, &n))) {
        assert_int_equal(n, sizeof *r);
        assert_int_equal(*r, p->next);
        p->next++;
        ring_pop(&p->ring);
    }
}

static void test_many_posters(void **state)
{
    static struct poster all[N_POSTERS];
    struct mbox m;
    struct mbox_item *list, *it;
    int n_left = N_POSTERS;

    assert_int_equal(mbox_open(&m), 0);
    for (int i = 0; i < N_POSTERS; i++) {
        all[i].box = &m;
        all[i].item.owner = &all[i];
        ring_init(&all[i].ring, all[i].data, sizeof all[i].data);
        assert_int_equal(pthread_create(&all[i].thread, NULL, post_all, &all[i]), 0);
    }
    while (n_left) {
        mbox_wait(&m, -1); /* for ever, were a wake-up lost */
        list = mbox_take(&m);
        while ((it = mbox_next(&list))) {
            struct poster *p = it->owner;
            int was = p->next == N_RECORDS;
            empty(p);
            n_left -= !was && p->next == N_RECORDS;
        }
    }
    for (int i = 0; i < N_POSTERS; i++)
        pthread_join(all[i].thread, NULL);
    mbox_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_wake),
        cmocka_unit_test(test_many_posters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
