/* Tokens of texts with a model file's vocabulary, for comparison with reference tokenizers.
 *
 *   vocab_ids MODEL.gguf < texts           each text as a 4-byte little-endian length and its
 * bytes; prints one line of ids per text vocab_ids --golden MODEL.gguf INP OUT  compares with a
 * file of texts and one of expected ids (the layout of ggml-vocab-*.gguf.inp and .out) vocab_ids
 * --speed MODEL.gguf TEXT      prints bytes, tokens and MB/s
 *
 * Every text is also decoded again and must come back byte for byte, unless the vocabulary's family
 * cannot (see vocab.h). Control tokens are not parsed. Exit 0: equal; 1: not; 2: usage; 77:
 * unsupported. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/gguf.h"
#include "engine/vocab.h"

static struct vocab *load(const char *path)
{
    struct vocab_source s;
    struct vocab *v = NULL;
    struct gguf *g;
    struct err e;
    int rc;

    if (gguf_open(&g, path, &e)) {
        fprintf(stderr, "%s\n", e.text);
        exit(2);
    }
    rc = vocab_source_from_gguf(&s, g, &e);
    if (!rc) {
        rc = vocab_open(&v, &s, &e);
        vocab_source_done(&s);
    }
    gguf_close(g);
    if (rc) {
        fprintf(stderr, "%s\n", e.text);
        exit(rc == ERR_UNSUPPORTED ? 77 : 2);
    }
    return v;
}

static char *slurp(const char *path, size_t *ret_n)
{
    FILE *f = fopen(path, "rb");
    char *p = NULL;
    long n;

    if (!f || fseek(f, 0, SEEK_END) || (n = ftell(f)) < 0 || fseek(f, 0, SEEK_SET) ||
        !(p = malloc((size_t)n + 1)) || fread(p, 1, (size_t)n, f) != (size_t)n) {
        perror(path);
        exit(2);
    }
    fclose(f);
    p[n] = 0;
    *ret_n = (size_t)n;
    return p;
}

static int32_t *ids_of(const struct vocab *v, const char *p, size_t n, size_t *ret_n)
{
    struct err e;
    int32_t *id;
    if (vocab_encode(v, p, n, NULL, 0, 0, n + 64, &id, ret_n, &e)) {
        fprintf(stderr, "%s\n", e.text);
        exit(1);
    }
    return id;
}

static int comes_back(const struct vocab *v, const char *p, size_t n, const int32_t *id, size_t k)
{
    struct buf b;
    int same;
    buf_init(&b, 1u << 30);
    same = !vocab_decode(v, id, k, 0, &b, NULL) && b.len == n && (!n || memcmp(b.data, p, n) == 0);
    buf_done(&b);
    return same;
}

static int compare(const char *model, const char *inp, const char *out)
{
    static const char sep[] = "\n__ggml_vocab_test__\n";
    struct vocab *v = load(model);
    size_t n, n_want, bad = 0, n_texts = 0, lost = 0;
    char *text = slurp(inp, &n), *want = slurp(out, &n_want), *p = text;

    while (p < text + n) {
        char *end = strstr(p, sep), *line_end = strchr(want, '\n');
        size_t len, k, i = 0;
        int32_t *id;
        if (!end || !line_end)
            break;
        len = (size_t)(end - p);
        id = ids_of(v, p, len, &k);
        *line_end = 0;
        for (char *s = want, *next; *s; s = next, i++) {
            long x = strtol(s, &next, 10);
            if (next == s)
                break;
            if (i >= k || id[i] != x) {
                i = k + 1;
                break;
            }
        }
        lost += !comes_back(v, p, len, id, k);
        if (i != k) {
            bad++;
            fprintf(stderr, "text %zu \"%.60s\": want%s, got", n_texts, p, want);
            for (i = 0; i < k; i++)
                fprintf(stderr, " %d", id[i]);
            fprintf(stderr, "\n");
        }
        free(id);
        n_texts++;
        want = line_end + 1;
        p = end + sizeof sep - 1;
    }
    printf("%zu texts, %zu differ, %zu do not decode to themselves\n", n_texts, bad, lost);
    vocab_close(v);
    free(text);
    return bad || !n_texts;
}

static int speed(const char *model, const char *path)
{
    int64_t t0 = clock_now_us(), t1, best = INT64_MAX;
    struct vocab *v = load(model);
    size_t n, k = 0;
    char *text = slurp(path, &n);

    t1 = clock_now_us();
    for (int i = 0; i < 5; i++) {
        int64_t t = clock_now_us();
        free(ids_of(v, text, n, &k));
        t = clock_now_us() - t;
        best = t < best ? t : best;
    }
    printf("load %.0f ms, %zu bytes, %zu tokens, %.1f MB/s, vocabulary %.1f MB\n",
           (double)(t1 - t0) / 1e3, n, k, (double)n / (double)best, (double)vocab_memory(v) / 1e6);
    vocab_close(v);
    free(text);
    return 0;
}

static int ids(const char *model)
{
    struct vocab *v = load(model);
    unsigned char head[4];

    while (fread(head, 1, 4, stdin) == 4) {
        size_t n = head[0] | head[1] << 8 | head[2] << 16 | (size_t)head[3] << 24, k;
        char *p = malloc(n + 1);
        int32_t *id;
        if (!p || fread(p, 1, n, stdin) != n)
            return 2;
        id = ids_of(v, p, n, &k);
        printf("%d", comes_back(v, p, n, id, k));
        for (size_t i = 0; i < k; i++)
            printf(" %d", id[i]);
        printf("\n");
        free(id);
        free(p);
    }
    vocab_close(v);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "--golden") == 0)
        return compare(argv[2], argv[3], argv[4]);
    if (argc == 4 && strcmp(argv[1], "--speed") == 0)
        return speed(argv[2], argv[3]);
    if (argc == 2 && argv[1][0] != '-')
        return ids(argv[1]);
    fprintf(stderr,
            "usage: vocab_ids MODEL.gguf | --golden MODEL.gguf INP OUT | --speed MODEL.gguf "
            "TEXT\n");
    return 2;
}
