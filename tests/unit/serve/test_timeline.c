/* The bounded timeline, the times of the last minutes, and the file of measured limits. */
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

#include "serve/bench_store.h"
#include "serve/timeline.h"

static void timeline_is_thinned(void **state)
{
    struct timeline *t = calloc(1, sizeof *t);
    int n_decode = 0;

    timeline_note(t, TIMELINE_ACCEPTED, 0, 0);
    timeline_note(t, TIMELINE_QUEUED, 1, 0);
    timeline_note(t, TIMELINE_STARTED, 2, 0);
    for (int i = 0; i < 300; i++)
        timeline_note(t, TIMELINE_PREFILL, 10 + i, i);
    for (int i = 0; i < 100000; i++)
        timeline_token(t, 1000 + i);
    timeline_note(t, TIMELINE_FINISHED, 200000, 100000);
    assert_true(t->n_marks > TIMELINE_MARKS / 3 && t->n_marks <= TIMELINE_MARKS);
    assert_int_equal(t->mark[0].what, TIMELINE_ACCEPTED);
    assert_int_equal(t->mark[2].what, TIMELINE_STARTED);
    assert_int_equal(t->mark[t->n_marks - 1].what, TIMELINE_FINISHED);
    for (int i = 1; i < t->n_marks; i++) {
        assert_true(t->mark[i].at_us > t->mark[i - 1].at_us);
        n_decode += t->mark[i].what == TIMELINE_DECODE;
    }
    assert_true(n_decode > 16); /* and of all of it, not of its end alone */
    for (int i = 1, last = 1; i < t->n_marks; i++) {
        if (t->mark[i].what != TIMELINE_DECODE)
            continue;
        assert_true(t->mark[i].n - last < 100000 / 8);
        last = t->mark[i].n;
    }
    assert_int_equal(t->n_generated, 100000);
    assert_int_equal(t->first_us, 1000);
    free(t);
}

static void short_timeline_is_whole(void **state)
{
    struct timeline *t = calloc(1, sizeof *t);

    for (int i = 0; i < 20; i++)
        timeline_token(t, 1 + i);
    assert_int_equal(t->n_marks, 20);
    assert_int_equal(t->mark[0].what, TIMELINE_FIRST_TOKEN);
    for (int i = 0; i < 20; i++)
        assert_int_equal(t->mark[i].n, i + 1);
    free(t);
}

static void quantiles(void **state)
{
    struct timeline_samples *s = calloc(1, sizeof *s);
    float v[4 * TIMELINE_SAMPLES] = {0};
    int n;

    assert_true(timeline_quantile(v, 0, .5) == 0);
    for (int i = 0; i < TIMELINE_SAMPLES; i++) /* these will be pushed out */
        timeline_sample(s, 0, 9000000);
    for (int i = 1; i <= 100; i++)
        timeline_sample(s, TIMELINE_SPAN_US, i * 1000000);
    n = timeline_recent(s, TIMELINE_SPAN_US, v, 0, 4 * TIMELINE_SAMPLES);
    assert_int_equal(n, TIMELINE_SAMPLES);
    n = timeline_recent(s, TIMELINE_SPAN_US + 1, v, 0,
                        4 * TIMELINE_SAMPLES); /* the old ones are too old */
    assert_int_equal(n, 100);
    timeline_sort(v, n);
    assert_true(timeline_quantile(v, n, 0) == 1 && timeline_quantile(v, n, .5) == 50);
    assert_true(timeline_quantile(v, n, .95) == 95 && timeline_quantile(v, n, 1) == 100);
    assert_int_equal(timeline_recent(s, TIMELINE_SPAN_US, v, 0, 7), 7);
    assert_int_equal(timeline_recent(s, 3 * TIMELINE_SPAN_US, v, 0, 7), 0);
    free(s);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static struct serve_limit limit(const char *model)
{
    struct serve_limit l = {.cls = "q8",
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
    struct serve_limit l = limit("a.gguf"), got = {0}, more;
    struct err e = {0};
    struct stat st;

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/bench.json", dir);
    got = l;
    got.measured = 0;
    assert_int_equal(serve_limit_find(path, &got), ERR_NOTFOUND);
    assert_int_equal(got.measured, 0);
    assert_int_equal(serve_limit_store(path, &l, &e), 0);
    got.read_bytes_per_s = got.decode_limit = 0;
    assert_int_equal(serve_limit_find(path, &got), 0);
    assert_memory_equal(&got, &l, sizeof l);
    got.threads = 3;
    assert_int_equal(serve_limit_find(path, &got), ERR_NOTFOUND);
    got = l;
    strcpy(got.cpu, "Another");
    assert_int_equal(serve_limit_find(path, &got), ERR_NOTFOUND);

    more = l; /* a run without prefill keeps what was known of it */
    more.decode_limit = 130;
    more.prefill_limit = more.prefill_median = 0;
    assert_int_equal(serve_limit_store(path, &more, &e), 0);
    got = l;
    assert_int_equal(serve_limit_find(path, &got), 0);
    assert_true(got.decode_limit == 130 && got.prefill_limit == 1000);

    for (int i = 0; i < 2 * BENCH_STORE_MAX; i++) {
        snprintf(name, sizeof name, "m%d", i);
        more = limit(name);
        assert_int_equal(serve_limit_store(path, &more, &e), 0);
    }
    assert_int_equal(stat(path, &st), 0);
    assert_true((size_t)st.st_size < BENCH_STORE_BYTES_MAX);
    got = limit("m127");
    assert_int_equal(serve_limit_find(path, &got), 0);
    got = l;
    assert_int_equal(serve_limit_find(path, &got), ERR_NOTFOUND); /* the oldest went */
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
    struct serve_limit l = limit("a.gguf"), got;
    struct err e = {0};
    int fd = mkstemp(path);

    close(fd);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put(path, bad[i]);
        got = l;
        assert_true(serve_limit_find(path, &got) < 0);
        assert_memory_equal(&got, &l, sizeof l);
    }
    assert_int_equal(serve_limit_store(path, &l, &e), 0); /* and is replaced */
    assert_int_equal(serve_limit_find(path, &got), 0);
    unlink(path);
    assert_true(serve_limit_store("/nonexistent/x", &l, &e) < 0);
    assert_true(e.text[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timeline_is_thinned),
        cmocka_unit_test(short_timeline_is_whole),
        cmocka_unit_test(quantiles),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(bad_files_are_not_believed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
