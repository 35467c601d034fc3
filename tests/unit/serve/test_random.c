/* No random bytes: nothing begins, and no two requests have one id. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/random.h>

#include "base/map.h"
#include "base/rand.h"
#include "serve_harness.h"

static _Atomic int n_good = -1; /* so many calls more get bytes; -1: all */

/* In place of base/rand_system.c. */
int rand_system(void *p, size_t n)
{
    if (n_good == 0)
        return ERR_IO;
    if (n_good > 0)
        n_good--;
    return getrandom(p, n, 0) == (ssize_t)n ? 0 : ERR_IO;
}

static int setup(void **state)
{
    struct room *r = calloc(1, sizeof *r);

    n_good = -1;
    room_init(r);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    n_good = -1;
    room_done(*state);
    free(*state);
    return 0;
}

static int keep(void *arg, const struct books_balance *b)
{
    *(struct books_balance *)arg = *b;
    return 0;
}

static void no_start(void **state)
{
    struct room *r = *state;
    char key[CLOUD_KEY_TEXT_MAX];
    struct server *s = NULL;
    struct err e;
    struct map m;

    for (int i = 0; i < 3; i++) { /* its name, the salt of caches, the seed of net's tables */
        n_good = i;
        e = (struct err){0};
        assert_int_equal(server_new(&s, &r->config, &e), ERR_IO);
        HAS(e.text, "andom bytes");
    }
    n_good = 0;
    assert_int_equal(map_init(&m, 10), ERR_IO);
    for (int i = 0; i < 2; i++) { /* the key itself, the salt of its file */
        n_good = i;
        assert_int_equal(cloud_key_new(r->keys, "a", NULL, key, &e), ERR_IO);
    }
    n_good = -1;
    assert_int_equal(cloud_key_new(r->keys, "a", NULL, key, &e), 0);
    room_start(r);
}

static void no_request(void **state)
{
    static const char body[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                               "\"model\":\"fake\",\"max_tokens\":3}";
    struct books_balance b = {0};
    struct room *r = *state;
    struct err e = {0};
    int status, n = 0;
    char *a;

    room_start(r);
    do { /* the id of the request, of the answer, the seed of the draw */
        assert_int_equal(books_balances(r->ledger, keep, &b, &e), 0);
        assert_int_equal(b.n_requests, 0);
        n_good = n++;
        a = ask(r, "/v1/chat/completions", NULL, body);
        n_good = -1;
        status = status_of(a);
        if (status != 200) {
            assert_true(status == 500 || status == 503);
            HAS_NOT(a, "req_000000000000");
            assert_int_equal(r->f.n_submitted, 0);
        }
        free(a);
    } while (status != 200);
    assert_int_equal(n, 4);
    EVENTUALLY(books_balances(r->ledger, keep, &b, &e) == 0 && b.n_requests == 1);
    assert_int_equal(b.completion_tokens, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_start, setup, teardown),
        cmocka_unit_test_setup_teardown(no_request, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
