/* Tokens of texts with a model file's vocabulary, for comparison with reference tokenizers.
 *
 *   vocab_ids MODEL.gguf [PRE] < texts   each text as a 4-byte little-endian length and its bytes;
 *                                        prints a line per text: 1 or 0 (decodes to itself), ids
 *   vocab_ids --trust MODEL.gguf [PRE]   the same, control tokens parsed
 *   vocab_ids --speed MODEL.gguf TEXT    prints bytes, tokens and MB/s
 *
 * PRE takes the place of the file's pretokenizer.
 * Exit 0; 1: a text could not be encoded; 2: usage or a bad file; 77: an unsupported vocabulary. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/vocab_gguf.h"

static struct vocab *load(const char *path, const char *pre)
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
        if (pre)
            snprintf(s.pre, sizeof s.pre, "%s", pre);
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

static int32_t *ids_of(const struct vocab *v, const char *p, size_t n, int trust, size_t *ret_n)
{
    struct vocab_span all = {0, n};
    struct err e;
    int32_t *id;
    if (vocab_encode(v, p, n, &all, (size_t)trust, 0, n + 64, NULL, &id, ret_n, &e)) {
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
    same = !vocab_decode(v, id, k, 1, &b, NULL) && b.len == n && (!n || memcmp(b.data, p, n) == 0);
    buf_done(&b);
    return same;
}

static int speed(const char *model, const char *path)
{
    int64_t t0 = clock_now_us(), t1, best = INT64_MAX;
    struct vocab *v = load(model, NULL);
    size_t n, k = 0;
    char *text = slurp(path, &n);

    t1 = clock_now_us();
    for (int i = 0; i < 5; i++) {
        int64_t t = clock_now_us();
        free(ids_of(v, text, n, 0, &k));
        t = clock_now_us() - t;
        best = t < best ? t : best;
    }
    printf("load %.0f ms, %zu bytes, %zu tokens, %.1f MB/s, vocabulary %.1f MB\n",
           (double)(t1 - t0) / 1e3, n, k, (double)n / (double)best, (double)vocab_memory(v) / 1e6);
    vocab_close(v);
    free(text);
    return 0;
}

static int ids(const char *model, const char *pre, int trust)
{
    struct vocab *v = load(model, pre);
    unsigned char head[4];

    while (fread(head, 1, 4, stdin) == 4) {
        size_t n = head[0] | head[1] << 8 | head[2] << 16 | (size_t)head[3] << 24, k;
        char *p = malloc(n + 1);
        int32_t *id;
        if (!p || fread(p, 1, n, stdin) != n)
            return 2;
        id = ids_of(v, p, n, trust, &k);
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
    int trust = argc > 1 && strcmp(argv[1], "--trust") == 0;

    if (argc == 4 && strcmp(argv[1], "--speed") == 0)
        return speed(argv[2], argv[3]);
    argc -= trust;
    argv += trust;
    if ((argc == 2 || argc == 3) && argv[1][0] != '-')
        return ids(argv[1], argc == 3 ? argv[2] : NULL, trust);
    fprintf(stderr, "usage: vocab_ids [--trust] MODEL.gguf [PRE] | --speed MODEL.gguf TEXT\n");
    return 2;
}
