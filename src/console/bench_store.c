#include "console/bench_store.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"

#define VERSION 1

/* Are they of the same model file, class, processor and threads? */
static int is_same(const struct bench_rates *a, const struct bench_rates *b)
{
    return !strcmp(a->model, b->model) && a->file_bytes == b->file_bytes &&
           !strcmp(a->cls, b->cls) && !strcmp(a->kernels, b->kernels) && !strcmp(a->cpu, b->cpu) &&
           a->threads == b->threads;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int get_text(const json_t *o, const char *name, char *out, size_t cap)
{
    const char *s = json_string_value(json_object_get(o, name));

    if (!s || strlen(s) >= cap)
        return 0;
    snprintf(out, cap, "%s", s);
    return 1;
}

static int get_int(const json_t *o, const char *name, int64_t max, int64_t *ret)
{
    const json_t *v = json_object_get(o, name);

    *ret = json_integer_value(v);
    return json_is_integer(v) && *ret >= 0 && *ret <= max;
}

/* A rate: a number that can be one; 0 where it was not measured. */
static int get_rate(const json_t *o, const char *name, double *ret)
{
    const json_t *v = json_object_get(o, name);

    *ret = json_number_value(v);
    return json_is_number(v) && isfinite(*ret) && *ret >= 0 && *ret < 1e18;
}

static int get_row(const json_t *o, struct bench_rates *l)
{
    int64_t bytes, threads;

    *l = (struct bench_rates){0};
    if (!get_text(o, "model", l->model, sizeof l->model) ||
        !get_text(o, "class", l->cls, sizeof l->cls) ||
        !get_text(o, "kernels", l->kernels, sizeof l->kernels) ||
        !get_text(o, "cpu", l->cpu, sizeof l->cpu) || !get_int(o, "bytes", INT64_MAX, &bytes) ||
        !get_int(o, "threads", 4096, &threads) ||
        !get_int(o, "measured", INT64_C(1) << 40, &l->measured) ||
        !get_rate(o, "read_bytes_per_s", &l->read_bytes_per_s) ||
        !get_rate(o, "int8_per_s", &l->int8_per_s) ||
        !get_rate(o, "decode_tokens_per_s", &l->decode_median) ||
        !get_rate(o, "decode_limit", &l->decode_limit) ||
        !get_rate(o, "prefill_tokens_per_s", &l->prefill_median) ||
        !get_rate(o, "prefill_limit", &l->prefill_limit))
        return 0;
    l->file_bytes = (uint64_t)bytes;
    l->threads = (int)threads;
    return 1;
}

static int read_text(const char *path, struct buf *b)
{
    FILE *f = fopen(path, "re");
    char chunk[4096];
    size_t n;
    int bad;

    buf_init(b, BENCH_STORE_BYTES_MAX);
    if (!f)
        return ERR_NOTFOUND;
    while (!b->failed && (n = fread(chunk, 1, sizeof chunk, f)) > 0)
        buf_add(b, chunk, n);
    bad = ferror(f);
    fclose(f);
    return bad ? ERR_IO : b->failed ? ERR_LIMIT : 0;
}

/* All rows of the file; a row that is not one is left out. A file of another form is ERR_FORMAT. */
static int read_rows(const char *path, struct bench_rates row[BENCH_STORE_MAX], int *ret_n)
{
    struct buf text;
    json_t *root = NULL;
    const json_t *rows;
    int r = read_text(path, &text);

    *ret_n = 0;
    if (!r && json_parse(&root, text.data ? text.data : "", text.len, 0, NULL))
        r = ERR_FORMAT;
    rows = json_object_get(root, "rows");
    if (!r && (json_integer_value(json_object_get(root, "version")) != VERSION ||
               !json_is_array(rows) || json_array_size(rows) > BENCH_STORE_MAX))
        r = ERR_FORMAT;
    for (size_t i = 0; !r && i < json_array_size(rows); i++)
        *ret_n += get_row(json_array_get(rows, i), &row[*ret_n]);
    json_decref(root);
    buf_done(&text);
    return r;
}

int bench_store_find(const char *path, struct bench_rates *io_rates)
{
    struct bench_rates *row = calloc(BENCH_STORE_MAX, sizeof *row);
    int n = 0, r = row ? read_rows(path, row, &n) : ERR_NOMEM, i;

    for (i = 0; i < n && !is_same(&row[i], io_rates); i++)
        ;
    if (!r && i == n)
        r = ERR_NOTFOUND;
    if (!r)
        *io_rates = row[i];
    free(row);
    return r;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_row(json_t *rows, const struct bench_rates *l)
{
    json_array_append_new(
        rows, json_pack("{s:s, s:I, s:s, s:s, s:s, s:i, s:I, s:f, s:f, s:f, s:f, s:f, s:f}",
                        "model", l->model, "bytes", (json_int_t)l->file_bytes, "class", l->cls,
                        "kernels", l->kernels, "cpu", l->cpu, "threads", l->threads, "measured",
                        (json_int_t)l->measured, "read_bytes_per_s", l->read_bytes_per_s,
                        "int8_per_s", l->int8_per_s, "decode_tokens_per_s", l->decode_median,
                        "decode_limit", l->decode_limit, "prefill_tokens_per_s", l->prefill_median,
                        "prefill_limit", l->prefill_limit));
}

/* Write a new file beside the old one and rename it over that, so that a reader sees the old rows
 * or the new ones. */
static int replace(const char *path, const json_t *root, struct err *e)
{
    struct buf b;
    FILE *f;
    int bad;

    buf_init(&b, 8192);
    if (buf_addf(&b, "%s.%ld", path, (long)getpid()))
        return err_set(e, ERR_LIMIT, "the path is too long");
    f = fopen(b.data, "we");
    bad = !f || json_dumpf(root, f, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    if (f)
        bad |= fflush(f) || fsync(fileno(f));
    if (f)
        bad |= fclose(f);
    bad = bad || rename(b.data, path);
    if (bad && f)
        unlink(b.data);
    buf_done(&b);
    return bad ? err_set(e, ERR_IO, "cannot write %s", path) : 0;
}

/* Keep the old rates of what this run did not measure. */
static void keep_old(struct bench_rates *l, const struct bench_rates *old)
{
    if (!(l->decode_limit > 0)) {
        l->decode_median = old->decode_median;
        l->decode_limit = old->decode_limit;
    }
    if (!(l->prefill_limit > 0)) {
        l->prefill_median = old->prefill_median;
        l->prefill_limit = old->prefill_limit;
    }
}

int bench_store_put(const char *path, const struct bench_rates *l, struct err *e)
{
    struct bench_rates *row = calloc(BENCH_STORE_MAX, sizeof *row), add = *l;
    json_t *root = json_object(), *rows = json_array();
    int n = 0, r;

    if (!row || !root || !rows) {
        r = err_set(e, ERR_NOMEM, "out of memory");
        goto out;
    }
    read_rows(path, row, &n); /* a file that is not ours is replaced */
    for (int i = 0; i < n; i++) {
        if (is_same(&row[i], l))
            keep_old(&add, &row[i]);
    }
    put_row(rows, &add); /* newest first: past the bound the oldest goes */
    for (int i = 0; i < n && json_array_size(rows) < BENCH_STORE_MAX; i++) {
        if (!is_same(&row[i], l))
            put_row(rows, &row[i]);
    }
    json_object_set_new(root, "version", json_integer(VERSION));
    json_object_set(root, "rows", rows);
    r = replace(path, root, e);
out:
    json_decref(rows);
    json_decref(root);
    free(row);
    return r;
}
