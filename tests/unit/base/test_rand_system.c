/* Random bytes: no two draws are alike, in no thread and after no fork. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rand.h"

#define DRAWS   2000
#define THREADS 3

struct draw_bytes {
    unsigned char b[16];
};

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct draw_bytes));
}

static void *draw_many(void *ctx)
{
    struct draw_bytes *to = ctx;

    for (int i = 0; i < DRAWS; i++) {
        if (rand_system(&to[i], sizeof to[i]))
            return NULL;
    }
    return ctx;
}

static void test_all_differ(void **state)
{
    struct draw_bytes *all = calloc(THREADS * DRAWS, sizeof *all);
    pthread_t t[THREADS];
    void *drawn;

    (void)state;
    assert_non_null(all);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, draw_many, all + i * DRAWS), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(t[i], &drawn), 0);
        assert_non_null(drawn);
    }
    qsort(all, THREADS * DRAWS, sizeof *all, compare);
    for (int i = 1; i < THREADS * DRAWS; i++)
        assert_true(compare(&all[i - 1], &all[i]) < 0);
    free(all);
}

/* Every byte is drawn, whatever the length: of 64 draws one is not 0. */
static void test_lengths(void **state)
{
    static const size_t lengths[] = {1, 8, 12, 16, 127, 128, 129, 1024, 5000};
    unsigned char bytes[5001], seen[5001];

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t n = lengths[i];
        memset(seen, 0, sizeof seen);
        for (int k = 0; k < 64; k++) {
            memset(bytes, 0, sizeof bytes);
            assert_int_equal(rand_system(bytes, n), 0);
            for (size_t j = 0; j < sizeof bytes; j++)
                seen[j] |= bytes[j];
        }
        for (size_t j = 0; j < n; j++)
            assert_true(seen[j]);
        assert_int_equal(seen[n], 0);
    }
    assert_int_equal(rand_system(bytes, 0), 0);
}

static void test_fork(void **state)
{
    struct draw_bytes ours, theirs;
    int fds[2], status;
    pid_t pid;

    (void)state;
    assert_int_equal(rand_system(&ours, sizeof ours), 0);
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        int failed = rand_system(&theirs, sizeof theirs) ||
                     write(fds[1], &theirs, sizeof theirs) != sizeof theirs;
        _exit(failed);
    }
    assert_int_equal(read(fds[0], &theirs, sizeof theirs), sizeof theirs);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(rand_system(&ours, sizeof ours), 0);
    assert_memory_not_equal(&ours, &theirs, sizeof ours);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_differ),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
