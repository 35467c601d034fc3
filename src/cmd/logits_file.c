#include "cmd/logits_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEADER_BYTES 64
#define INDEX_BYTES  32
#define SPAN         24.0f /* a packed row reaches so far below its largest logit */

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* `n` bytes at `at` lie inside the file, aligned. */
static int inside(const struct logits_file *f, uint64_t at, uint64_t n)
{
    return at % 8 == 0 && at <= f->size && n <= f->size - at;
}

static uint64_t row_bytes(uint32_t kind, uint64_t count)
{
    return kind == LOGITS_FULL ? 4 * count : kind == LOGITS_PACKED ? 8 + 2 * count : 8 * count;
}

static int check_rows(const struct logits_file *f, const char *path, struct err *e)
{
    uint32_t last = 0;

    for (uint32_t i = 0; i < f->n_rows; i++) {
        const uint8_t *x = f->index + (size_t)i * INDEX_BYTES;
        uint32_t tok = get32(x), kind = get32(x + 4), count = get32(x + 8);
        if (kind > LOGITS_TOP)
            return err_set(e, ERR_UNSUPPORTED, "%s: row %u is of kind %u; 0 to 2 are known", path,
                           i, kind);
        if (tok >= f->n_tokens || (i && tok <= last) ||
            (kind == LOGITS_TOP ? !count || count > f->n_vocab : count != f->n_vocab) ||
            !inside(f, get64(x + 16), row_bytes(kind, count)))
            return err_set(e, ERR_FORMAT, "%s: the index entry of row %u is damaged", path, i);
        last = tok;
        if (kind == LOGITS_TOP) {
            const uint8_t *id = f->map + get64(x + 16);
            for (uint32_t k = 0; k < count; k++) {
                if (get32(id + 4 * (size_t)k) >= f->n_vocab)
                    return err_set(e, ERR_FORMAT, "%s: row %u names a token that is none", path, i);
            }
        }
    }
    return 0;
}

int logits_open(struct logits_file *f, const char *path, struct err *e)
{
    const uint8_t *h;
    uint64_t at_tokens, at_windows, at_index, at_note;
    int rc;

    *f = (struct logits_file){0};
    rc = filemap_open(&f->file, path, HEADER_BYTES, "not a logits file", e);
    if (rc)
        return rc;
    f->map = f->file.data;
    f->size = f->file.size;
    h = f->map;
    rc = ERR_FORMAT;
    if (memcmp(h, "GFLOGITS", 8)) {
        err_set(e, rc, "%s: not a logits file", path);
        goto fail;
    }
    if (get32(h + 8) != 1) {
        rc = err_set(e, ERR_UNSUPPORTED, "%s: version %u of the logits format; 1 is known", path,
                     get32(h + 8));
        goto fail;
    }
    f->n_vocab = get32(h + 12);
    f->n_tokens = get32(h + 16);
    f->n_windows = get32(h + 20);
    f->n_rows = get32(h + 24);
    f->n_note = get32(h + 28);
    at_tokens = get64(h + 32);
    at_windows = get64(h + 40);
    at_index = get64(h + 48);
    at_note = get64(h + 56);
    if (!f->n_vocab || f->n_rows > f->n_tokens || !inside(f, at_tokens, 4ull * f->n_tokens) ||
        !inside(f, at_windows, 4ull * ((uint64_t)f->n_windows + 1)) ||
        !inside(f, at_index, (uint64_t)INDEX_BYTES * f->n_rows) || !inside(f, at_note, f->n_note)) {
        err_set(e, rc, "%s: a section lies outside the file", path);
        goto fail;
    }
    f->token = (const int32_t *)(const void *)(f->map + at_tokens);
    f->window = (const uint32_t *)(const void *)(f->map + at_windows);
    f->index = f->map + at_index;
    f->note = (const char *)f->map + at_note;
    for (uint32_t i = 0; i < f->n_windows; i++) {
        if (f->window[i] >= f->window[i + 1]) {
            err_set(e, rc, "%s: its windows do not ascend", path);
            goto fail;
        }
    }
    if (f->window[0] != 0 || f->window[f->n_windows] != f->n_tokens) {
        err_set(e, rc, "%s: its windows do not cover the tokens", path);
        goto fail;
    }
    for (uint32_t i = 0; i < f->n_tokens; i++) {
        if (f->token[i] < 0 || (uint32_t)f->token[i] >= f->n_vocab) {
            err_set(e, rc, "%s: token %u is outside the vocabulary", path, i);
            goto fail;
        }
    }
    rc = check_rows(f, path, e);
    if (!rc)
        return 0;
fail:
    rc = filemap_check(&f->file, path, rc, e);
    logits_close(f);
    return rc;
}

void logits_close(struct logits_file *f)
{
    filemap_close(&f->file);
    *f = (struct logits_file){0};
}

struct logits_row logits_row(const struct logits_file *f, uint32_t i)
{
    const uint8_t *x = f->index + (size_t)i * INDEX_BYTES;
    struct logits_row r = {.i_token = get32(x),
                           .kind = get32(x + 4),
                           .count = get32(x + 8),
                           .data = f->map + get64(x + 16)};
    memcpy(&r.lse, x + 24, 8);
    return r;
}

void logits_unpack(const struct logits_file *f, const struct logits_row *r, float *out)
{
    float base, step;

    if (r->kind == LOGITS_FULL) {
        memcpy(out, r->data, (size_t)f->n_vocab * sizeof *out);
        return;
    }
    memcpy(&base, r->data, 4);
    memcpy(&step, r->data + 4, 4);
    for (uint32_t i = 0; i < f->n_vocab; i++) {
        uint16_t u;
        memcpy(&u, r->data + 8 + 2 * (size_t)i, 2);
        out[i] = base + step * (float)u;
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

static int put(struct logits_writer *w, const void *p, size_t n, struct err *e)
{
    static const uint8_t zero[8];
    size_t pad = (8 - n % 8) % 8;

    if (fwrite(p, 1, n, w->f) != n || fwrite(zero, 1, pad, w->f) != pad)
        return err_set(e, ERR_IO, "%s: %s", w->path, strerror(errno));
    w->at += n + pad;
    return 0;
}

int logits_create(struct logits_writer *w, const char *path, uint32_t n_vocab, const int32_t *token,
                  uint32_t n_tokens, const uint32_t *window, uint32_t n_windows, const char *note,
                  struct err *e)
{
    uint8_t header[HEADER_BYTES] = {0};
    int rc = ERR_NOMEM;

    *w = (struct logits_writer){.n_vocab = n_vocab,
                                .n_tokens = n_tokens,
                                .n_windows = n_windows,
                                .rows_max = n_tokens,
                                .n_note = (uint32_t)strlen(note)};
    w->path = strdup(path);
    w->index = calloc((size_t)n_tokens + 1, INDEX_BYTES);
    w->packed = malloc((size_t)n_vocab * sizeof *w->packed);
    if (!w->path || !w->index || !w->packed || asprintf(&w->tmp, "%s.part", path) < 0) {
        w->tmp = NULL;
        err_set(e, rc, "no memory to write %s", path);
        goto fail;
    }
    w->f = fopen(w->tmp, "we");
    if (!w->f) {
        rc = err_set(e, ERR_IO, "%s: %s", w->tmp, strerror(errno));
        goto fail;
    }
    rc = put(w, header, sizeof header, e);
    w->at_tokens = w->at;
    if (!rc)
        rc = put(w, token, (size_t)n_tokens * 4, e);
    w->at_windows = w->at;
    if (!rc)
        rc = put(w, window, ((size_t)n_windows + 1) * 4, e);
    w->at_note = w->at;
    if (!rc)
        rc = put(w, note, w->n_note, e);
    if (!rc)
        return 0;
fail:
    logits_abandon(w);
    return rc;
}

int logits_add(struct logits_writer *w, uint32_t i_token, const float *z, double lse, struct err *e)
{
    uint8_t *x = w->index + (size_t)w->n_rows * INDEX_BYTES;
    uint32_t kind = LOGITS_PACKED;
    float max = z[0], base, step = SPAN / 65535;
    uint8_t head[8];
    int rc;

    if (w->n_rows == w->rows_max)
        return err_set(e, ERR_LIMIT, "%s: more rows than tokens", w->path);
    for (uint32_t i = 1; i < w->n_vocab; i++)
        max = z[i] > max ? z[i] : max;
    base = max - SPAN;
    for (uint32_t i = 0; i < w->n_vocab; i++) {
        float u = (z[i] - base) / step + 0.5f;
        w->packed[i] = u < 0 ? 0 : u > 65535 ? 65535 : (uint16_t)u;
    }
    memcpy(x, &i_token, 4);
    memcpy(x + 4, &kind, 4);
    memcpy(x + 8, &w->n_vocab, 4);
    memcpy(x + 16, &w->at, 8);
    memcpy(x + 24, &lse, 8);
    memcpy(head, &base, 4);
    memcpy(head + 4, &step, 4);
    rc = put(w, head, 8, e);
    if (!rc)
        rc = put(w, w->packed, (size_t)w->n_vocab * 2, e);
    w->n_rows += !rc;
    return rc;
}

int logits_finish(struct logits_writer *w, struct err *e)
{
    uint8_t h[HEADER_BYTES] = "GFLOGITS";
    uint32_t version = 1;
    uint64_t at_index = w->at;
    int rc = put(w, w->index, (size_t)w->n_rows * INDEX_BYTES, e);

    memcpy(h + 8, &version, 4);
    memcpy(h + 12, &w->n_vocab, 4);
    memcpy(h + 16, &w->n_tokens, 4);
    memcpy(h + 20, &w->n_windows, 4);
    memcpy(h + 24, &w->n_rows, 4);
    memcpy(h + 28, &w->n_note, 4);
    memcpy(h + 32, &w->at_tokens, 8);
    memcpy(h + 40, &w->at_windows, 8);
    memcpy(h + 48, &at_index, 8);
    memcpy(h + 56, &w->at_note, 8);
    if (!rc && (fseek(w->f, 0, SEEK_SET) || fwrite(h, 1, sizeof h, w->f) != sizeof h ||
                fflush(w->f) || rename(w->tmp, w->path)))
        rc = err_set(e, ERR_IO, "%s: %s", w->path, strerror(errno));
    if (!rc) {
        free(w->tmp);
        w->tmp = NULL;
    }
    logits_abandon(w);
    return rc;
}

void logits_abandon(struct logits_writer *w)
{
    if (w->f)
        fclose(w->f);
    if (w->tmp)
        unlink(w->tmp);
    free(w->tmp);
    free(w->path);
    free(w->index);
    free(w->packed);
    *w = (struct logits_writer){0};
}
