#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "cmd/logits_file.h"

#define N_VOCAB 37

static char path[64];

static void make_row(float *x, int i)
{
    for (int k = 0; k < N_VOCAB; k++)
        x[k] = 9 * sinf((float)(i * 31 + k * 7)) - (k == 5 ? 40 : 0);
}

static double lse_of(const float *x)
{
    double sum = 0;
    for (int k = 0; k < N_VOCAB; k++)
        sum += exp(x[k]);
    return log(sum);
}

static void write_file(void)
{
    static const int32_t token[] = {3, 1, 36, 0, 9};
    static const uint32_t window[] = {0, 3, 5};
    struct logits_writer w;
    struct err e = {0};
    float x[N_VOCAB];

    assert_int_equal(logits_create(&w, path, N_VOCAB, token, 5, window, 2, "{\"a\":1}", &e), 0);
    for (uint32_t i = 0; i < 5; i++) {
        make_row(x, (int)i);
        if (i != 2)
            assert_int_equal(logits_add(&w, i, x, lse_of(x), &e), 0);
    }
    assert_int_equal(logits_finish(&w, &e), 0);
}

static void test_round_trip(void **state)
{
    struct logits_file f;
    struct err e = {0};
    float x[N_VOCAB], y[N_VOCAB];

    write_file();
    assert_int_equal(logits_open(&f, path, &e), 0);
    assert_int_equal(f.n_vocab, N_VOCAB);
    assert_int_equal(f.n_tokens, 5);
    assert_int_equal(f.token[2], 36);
    assert_int_equal(f.n_windows, 2);
    assert_int_equal(f.window[1], 3);
    assert_int_equal(f.n_rows, 4);
    assert_int_equal(f.n_note, 7);
    assert_memory_equal(f.note, "{\"a\":1}", 7);
    for (uint32_t i = 0; i < 4; i++) {
        struct logits_row r = logits_row(&f, i);
        assert_int_equal(r.i_token, i < 2 ? i : i + 1);
        make_row(x, (int)r.i_token);
        assert_true(fabs(r.lse - lse_of(x)) < 1e-12);
        logits_unpack(&f, &r, y);
        for (int k = 0; k < N_VOCAB; k++) /* id 5 is far below the largest: it comes back higher */
            assert_true(k == 5 ? y[k] > x[k] + 1 : fabsf(y[k] - x[k]) < 2.1e-4f);
    }
    logits_close(&f);
}

/* As Python writes it: full and top rows. */
static void test_other_kinds(void **state)
{
    struct {
        char magic[8];
        uint32_t count[6];
        uint64_t at[4];
        int32_t token[2];
        uint32_t window[2];
        struct {
            uint32_t i_token, kind, count, zero;
            uint64_t at;
            double lse;
        } index[2];
        float full[4];
        int32_t id[2];
        float top[2];
    } file = {
        .magic = {'G', 'F', 'L', 'O', 'G', 'I', 'T', 'S'},
        .count = {1, 3, 2, 1, 2, 0},
        .at = {64, 72, 80, 144},
        .token = {2, 0},
        .window = {0, 2},
        .index = {{0, LOGITS_FULL, 3, 0, 144, 1}, {1, LOGITS_TOP, 2, 0, 160, 2}},
        .full = {0.5f, -1, 2},
        .id = {2, 0},
        .top = {7, 6},
    };
    struct logits_file f;
    struct err e = {0};
    float x[3];

    for (int i = 0; i < 2; i++) {
        file.index[1].count = i ? 0 : 2;
        FILE *out = fopen(path, "wb");
        assert_non_null(out);
        assert_int_equal(fwrite(&file, sizeof file, 1, out), 1);
        fclose(out);
        if (i) { /* a row of nothing says nothing */
            assert_int_equal(logits_open(&f, path, &e), ERR_FORMAT);
            continue;
        }
        assert_int_equal(logits_open(&f, path, &e), 0);
        struct logits_row r = logits_row(&f, 0);
        logits_unpack(&f, &r, x);
        assert_true(x[0] == 0.5f && x[1] == -1 && x[2] == 2);
        r = logits_row(&f, 1);
        assert_int_equal(r.kind, LOGITS_TOP);
        assert_memory_equal(r.data, file.id, 16);
        logits_close(&f);
    }
}

/* Every byte of header, tokens, windows, note and index turned over in several ways, and every
 * length: an error, or a file whose every row can be read. */
static void test_malformed(void **state)
{
    static const uint8_t turn[] = {0x01, 0x80, 0xff};
    struct logits_file f;
    struct err e = {0};
    static uint8_t bytes[4096], bad[4096];
    size_t n;

    write_file();
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    n = fread(bytes, 1, sizeof bytes, in);
    fclose(in);
    for (size_t i = 0; i < n * (ARRAY_LEN(turn) + 1); i++) {
        size_t at = i / (ARRAY_LEN(turn) + 1), how = i % (ARRAY_LEN(turn) + 1);
        memcpy(bad, bytes, n);
        if (how)
            bad[at] ^= turn[how - 1];
        FILE *out = fopen(path, "wb");
        assert_non_null(out);
        assert_int_equal(fwrite(bad, 1, how ? n : at, out), how ? n : at);
        fclose(out);
        e.text[0] = 0;
        if (logits_open(&f, path, &e)) {
            assert_true(e.text[0] != 0);
            continue;
        }
        assert_true(how != 0 || at == n); /* cut off: always an error */
        for (uint32_t k = 0; k < f.n_rows; k++) {
            struct logits_row r = logits_row(&f, k);
            float *x = malloc(f.n_vocab * sizeof *x);
            assert_non_null(x);
            if (r.kind == LOGITS_TOP)
                memcpy(x, r.data, 4);
            else
                logits_unpack(&f, &r, x);
            free(x);
        }
        logits_close(&f);
    }
    assert_int_equal(logits_open(&f, "/nonexistent/x", &e), ERR_NOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_other_kinds),
        cmocka_unit_test(test_malformed),
    };
    snprintf(path, sizeof path, "/tmp/gaufre-logits-%ld.gflogits", (long)getpid());
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return rc;
}
