/* The file of what this machine was measured to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "console/bench_store.h"

static struct bench_rates limit(const char *model)
{
    struct bench_rates l = {.cls = "q8",
                            .kernels = "avx2",
                            .cpu = "Some CPU @ 2 GHz",
                            .file_bytes = 100,
                            .threads = 2,
                            .measured = 1790000000,
                            .read_bytes_per_s = 2e10,
                            .int8_per_s = 3e11,
                            .decode_median = 100,
                            .decode_limit = 125.5,
                            .prefill_median = 900,
                            .prefill_limit = 1000};

    snprintf(l.model, sizeof l.model, "%s", model);
    return l;
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    fputs(text, f);
    fclose(f);
}

static void limits_are_kept(void **state)
{
    char dir[] = "/tmp/gaufre-limits-XXXXXX", path[64], name[32];
    struct bench_rates l = limit("a.gguf"), got = {0}, more;
    struct err e = {0};
    struct stat st;

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/bench.json", dir);
    got = l;
    got.measured = 0;
    assert_int_equal(bench_store_find(path, &got), ERR_NOTFOUND);
    assert_int_equal(got.measured, 0);
    assert_int_equal(bench_store_put(path, &l, &e), 0);
    got.read_bytes_per_s = got.decode_limit = 0;
    assert_int_equal(bench_store_find(path, &got), 0);
    assert_memory_equal(&got, &l, sizeof l);
    got.threads = 3;
    assert_int_equal(bench_store_find(path, &got), ERR_NOTFOUND);
    got = l;
    strcpy(got.cpu, "Another");
    assert_int_equal(bench_store_find(path, &got), ERR_NOTFOUND);

    more = l; /* a run without prefill keeps what was known of it */
    more.decode_limit = 130;
    more.prefill_limit = more.prefill_median = 0;
    assert_int_equal(bench_store_put(path, &more, &e), 0);
    got = l;
    assert_int_equal(bench_store_find(path, &got), 0);
    assert_true(got.decode_limit == 130 && got.prefill_limit == 1000);

    for (int i = 0; i < 2 * BENCH_STORE_MAX; i++) {
        snprintf(name, sizeof name, "m%d", i);
        more = limit(name);
        assert_int_equal(bench_store_put(path, &more, &e), 0);
    }
    assert_int_equal(stat(path, &st), 0);
    assert_true((size_t)st.st_size < BENCH_STORE_BYTES_MAX);
    got = limit("m127");
    assert_int_equal(bench_store_find(path, &got), 0);
    got = l;
    assert_int_equal(bench_store_find(path, &got), ERR_NOTFOUND); /* the oldest went */
    unlink(path);
    rmdir(dir);
}

static void bad_files_are_not_believed(void **state)
{
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "null",
        "{\"version\":2,\"rows\":[]}",
        "{\"version\":1,\"rows\":{}}",
        "{\"version\":1,\"rows\":[1,null,{}]}",
        "{\"version\":1,\"rows\":[{\"model\":\"a.gguf\",\"bytes\":100,\"class\":\"q8\",\"kernels\":"
        "\"avx2\",\"cpu\":\"Some CPU @ 2 GHz\",\"threads\":2,\"measured\":1,\"read_bytes_per_s\":"
        "-1,\"int8_per_s\":1,\"decode_tokens_per_s\":1,\"decode_limit\":1,"
        "\"prefill_tokens_per_s\":1,\"prefill_limit\":1}]}"};
    char path[] = "/tmp/gaufre-limits-XXXXXX";
    struct bench_rates l = limit("a.gguf"), got;
    struct err e = {0};
    int fd = mkstemp(path);

    close(fd);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put(path, bad[i]);
        got = l;
        assert_true(bench_store_find(path, &got) < 0);
        assert_memory_equal(&got, &l, sizeof l);
    }
    assert_int_equal(bench_store_put(path, &l, &e), 0); /* and is replaced */
    assert_int_equal(bench_store_find(path, &got), 0);
    unlink(path);
    assert_true(bench_store_put("/nonexistent/x", &l, &e) < 0);
    assert_true(e.text[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(bad_files_are_not_believed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
