#include "engine/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/arena.h"
#include "base/filemap.h"
#include "base/map.h"
#include "base/utf8.h"
#include "kern/kern.h"

#define N_MAX      65535
#define KEY_MAX    65535
#define SPLITS_MAX 128
#define ALIGN_MAX  (1u << 20)

struct part { /* one file of a split model */
    struct filemap map;
};

struct gguf {
    struct part part[SPLITS_MAX];
    int n_parts;
    struct arena arena;
    struct gguf_kv *kv; /* of the first part */
    int n_kv;
    struct gguf_tensor *tensor;
    int n_tensors;
    struct map by_key, by_name;
};

/* A bounded reader over one part. */
struct reader {
    const uint8_t *p, *end;
    const char *path;
    struct err *e;
    int failed;
};

static int fail(struct reader *r, const char *what)
{
    if (!r->failed)
        err_set(r->e, ERR_FORMAT, "%s: %s", r->path, what);
    r->failed = 1;
    return ERR_FORMAT;
}

static const uint8_t *take(struct reader *r, uint64_t n)
{
    const uint8_t *p = r->p;
    if (r->failed || n > (uint64_t)(r->end - r->p)) {
        fail(r, "the file ends too early (truncated, or not a GGUF file)");
        return NULL;
    }
    r->p += n;
    return p;
}

static uint32_t take_u32(struct reader *r)
{
    uint32_t v = 0;
    const uint8_t *p = take(r, 4);
    if (p)
        memcpy(&v, p, 4);
    return v;
}

static uint64_t take_u64(struct reader *r)
{
    uint64_t v = 0;
    const uint8_t *p = take(r, 8);
    if (p)
        memcpy(&v, p, 8);
    return v;
}

static struct gguf_str take_str(struct reader *r)
{
    uint64_t n = take_u64(r);
    const uint8_t *p = take(r, n);
    return (struct gguf_str){(const char *)p, p ? (size_t)n : 0};
}

static size_t type_size(enum gguf_type t)
{
    static const uint8_t size[GGUF_N_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return size[t];
}

int gguf_type_is_int(enum gguf_type t)
{
    return t != GGUF_F32 && t != GGUF_F64 && t != GGUF_STR && t != GGUF_ARRAY;
}

/* A key or tensor name: printable enough to show in messages, no NUL. */
static int check_name(struct reader *r, struct gguf_str s, const char *what)
{
    char msg[160];
    if (s.n == 0 || s.n > KEY_MAX || !utf8_valid(s.p, s.n, NULL) || memchr(s.p, 0, s.n)) {
        snprintf(msg, sizeof msg, "a %s is empty, too long or not text", what);
        return fail(r, msg);
    }
    return 0;
}

static int read_value(struct reader *r, struct gguf_kv *kv)
{
    char msg[200];
    uint32_t type = take_u32(r);
    const uint8_t *start;

    kv->n = 1;
    kv->is_array = 0;
    if (type == GGUF_ARRAY) {
        kv->is_array = 1;
        type = take_u32(r);
        kv->n = take_u64(r);
    }
    if (r->failed)
        return ERR_FORMAT;
    if (type >= GGUF_N_TYPES || type == GGUF_ARRAY) {
        snprintf(msg, sizeof msg, "metadata key '%.*s' has unknown type %u",
                 (int)(kv->key.n > 80 ? 80 : kv->key.n), kv->key.p, type);
        return fail(r, msg);
    }
    kv->type = (enum gguf_type)type;
    start = r->p;
    if (type == GGUF_STR) {
        /* each string takes at least 8 bytes, so n is bounded by the file */
        if (kv->n > (uint64_t)(r->end - r->p) / 8)
            return fail(r, "an array of strings is longer than the file");
        for (uint64_t i = 0; i < kv->n && !r->failed; i++)
            take_str(r);
    } else {
        size_t size = type_size(kv->type);
        if (kv->n > (uint64_t)(r->end - r->p) / size) {
            snprintf(msg, sizeof msg, "the value of metadata key '%.*s' is longer than the file",
                     (int)(kv->key.n > 80 ? 80 : kv->key.n), kv->key.p);
            return fail(r, msg);
        }
        take(r, kv->n * size);
    }
    if (r->failed)
        return ERR_FORMAT;
    kv->data = start;
    kv->bytes = (size_t)(r->p - start);
    return 0;
}

static int read_kvs(struct gguf *g, struct reader *r, uint64_t n, int keep)
{
    struct gguf_kv *list = arena_array(&g->arena, n ? n : 1, sizeof *list);

    if (!list)
        return err_set(r->e, ERR_NOMEM, "%s: no memory for its metadata", r->path);
    for (uint64_t i = 0; i < n; i++) {
        struct gguf_kv *kv = &list[i];
        uint32_t old;
        kv->key = take_str(r);
        if (r->failed || check_name(r, kv->key, "metadata key") || read_value(r, kv))
            return ERR_FORMAT;
        if (!keep)
            continue;
        if (map_get(&g->by_key, kv->key.p, kv->key.n, &old)) {
            err_set(r->e, ERR_FORMAT, "%s: metadata key '%.*s' appears twice", r->path,
                    (int)(kv->key.n > 80 ? 80 : kv->key.n), kv->key.p);
            return ERR_FORMAT;
        }
        if (map_put(&g->by_key, kv->key.p, kv->key.n, (uint32_t)i))
            return err_set(r->e, ERR_NOMEM, "%s: no memory for its metadata", r->path);
    }
    if (keep) {
        g->kv = list;
        g->n_kv = (int)n;
    }
    return 0;
}

static uint32_t alignment_of(const struct gguf *g, struct reader *r)
{
    uint32_t align = 32;
    if (gguf_get_u32(g, "general.alignment", &align, r->e) < 0) {
        err_prefix(r->e, "%s", r->path);
        r->failed = 1;
        return 0;
    }
    if (align < 8 || align > ALIGN_MAX || (align & (align - 1))) {
        err_set(r->e, ERR_FORMAT, "%s: general.alignment is %u, not a power of two in [8, %u]",
                r->path, align, ALIGN_MAX);
        r->failed = 1;
        return 0;
    }
    return align;
}

/* Read one tensor's description; its offset goes to *ret_off until the data section is known. */
static int read_tensor(struct gguf *g, struct reader *r, struct gguf_tensor *t, uint64_t *ret_off)
{
    struct gguf_str name = take_str(r);
    uint64_t n_elems = 1, blocks;
    const struct kern_fmt_info *f;
    int fmt;

    if (r->failed || check_name(r, name, "tensor name"))
        return ERR_FORMAT;
    t->name = arena_strndup(&g->arena, name.p, name.n);
    if (!t->name)
        return err_set(r->e, ERR_NOMEM, "%s: no memory for its tensor table", r->path);
    t->n_dims = (int32_t)take_u32(r);
    if (r->failed)
        return ERR_FORMAT;
    if (t->n_dims < 1 || t->n_dims > 4)
        return err_set(r->e, ERR_FORMAT, "%s: tensor '%.100s' has %d dimensions, not 1 to 4",
                       r->path, t->name, t->n_dims);
    for (int d = 0; d < 4; d++)
        t->dim[d] = 1;
    for (int d = 0; d < t->n_dims; d++) {
        uint64_t v = take_u64(r);
        if (r->failed)
            return ERR_FORMAT;
        if (v == 0 || v > INT32_MAX || n_elems > (uint64_t)INT64_MAX / v)
            return err_set(r->e, ERR_FORMAT, "%s: tensor '%.100s' has an impossible dimension",
                           r->path, t->name);
        n_elems *= v;
        t->dim[d] = (int64_t)v;
    }
    t->ggml_type = take_u32(r);
    *ret_off = take_u64(r);
    if (r->failed)
        return ERR_FORMAT;
    fmt = kern_fmt_from_ggml(t->ggml_type);
    if (fmt < 0) {
        char list[200] = "";
        for (int i = 0; i < KERN_N_FMT; i++) {
            size_t n = strlen(list);
            snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "",
                     kern_fmt_info((enum kern_fmt)i)->name);
        }
        return err_set(r->e, ERR_UNSUPPORTED,
                       "%s: tensor '%.100s' has format number %u, which gaufre does not read "
                       "(supported: %s)",
                       r->path, t->name, t->ggml_type, list);
    }
    f = kern_fmt_info((enum kern_fmt)fmt);
    if (t->dim[0] % f->block)
        return err_set(r->e, ERR_FORMAT,
                       "%s: tensor '%.100s' has rows of %lld values, not a multiple of %s's %d",
                       r->path, t->name, (long long)t->dim[0], f->name, f->block);
    blocks = n_elems / (uint64_t)f->block;
    if (blocks > UINT64_MAX / 2 / (uint64_t)f->block_bytes)
        return err_set(r->e, ERR_FORMAT, "%s: tensor '%.100s' is impossibly large", r->path,
                       t->name);
    t->bytes = blocks * (uint64_t)f->block_bytes;
    return 0;
}

static int read_tensors(struct gguf *g, struct reader *r, uint64_t n, const struct part *part)
{
    uint32_t align = alignment_of(g, r);
    struct gguf_tensor *list;
    uint64_t *off, data;

    if (r->failed)
        return ERR_FORMAT;
    if (g->n_tensors + n > N_MAX)
        return err_set(r->e, ERR_LIMIT, "%s: more than %d tensors", r->path, N_MAX);
    list = arena_array(&g->arena, (size_t)g->n_tensors + n + 1, sizeof *list);
    off = arena_array(&g->arena, n + 1, sizeof *off);
    if (!list || !off)
        return err_set(r->e, ERR_NOMEM, "%s: no memory for its tensor table", r->path);
    if (g->n_tensors)
        memcpy(list, g->tensor, (size_t)g->n_tensors * sizeof *list);
    for (uint64_t i = 0; i < n; i++) {
        struct gguf_tensor *t = &list[(uint64_t)g->n_tensors + i];
        uint32_t old;
        int rc = read_tensor(g, r, t, &off[i]);
        if (rc)
            return rc;
        if (map_get(&g->by_name, t->name, strlen(t->name), &old))
            return err_set(r->e, ERR_FORMAT, "%s: tensor '%.100s' appears twice", r->path, t->name);
        if (map_put(&g->by_name, t->name, strlen(t->name), (uint32_t)((uint64_t)g->n_tensors + i)))
            return err_set(r->e, ERR_NOMEM, "%s: no memory for its tensor table", r->path);
    }
    data = (uint64_t)(r->p - part->map.data);
    data = (data + align - 1) / align * align;
    for (uint64_t i = 0; i < n; i++) {
        struct gguf_tensor *t = &list[(uint64_t)g->n_tensors + i];
        if (off[i] % align)
            return err_set(r->e, ERR_FORMAT, "%s: tensor '%.100s' starts at an unaligned offset",
                           r->path, t->name);
        if (data > part->map.size || off[i] > part->map.size - data ||
            t->bytes > part->map.size - data - off[i])
            return err_set(r->e, ERR_FORMAT,
                           "%s: tensor '%.100s' reaches past the end of the file (%llu bytes; the "
                           "file is truncated or damaged)",
                           r->path, t->name, (unsigned long long)part->map.size);
        t->data = part->map.data + data + off[i];
    }
    g->tensor = list;
    g->n_tensors += (int)n;
    return 0;
}

static int read_part(struct gguf *g, const char *path, struct err *e)
{
    struct part *p = &g->part[g->n_parts];
    int rc = filemap_open(&p->map, path, 24, "too short to be a GGUF file", e), first;
    struct reader r = {.path = path, .e = e};
    uint32_t version;
    uint64_t n_tensors, n_kv;

    if (rc)
        return rc;
    first = ++g->n_parts == 1;
    r.p = p->map.data;
    r.end = p->map.data + p->map.size;
    if (memcmp(r.p, "GGUF", 4))
        return err_set(e, ERR_FORMAT, "%s: not a GGUF file (it starts with other bytes)", path);
    r.p += 4;
    version = take_u32(&r);
    if (version == 0x02000000u || version == 0x03000000u)
        return err_set(e, ERR_UNSUPPORTED, "%s: a big-endian GGUF file; only little-endian is read",
                       path);
    if (version != 2 && version != 3)
        return err_set(e, ERR_UNSUPPORTED, "%s: GGUF version %u; versions 2 and 3 are supported",
                       path, version);
    n_tensors = take_u64(&r);
    n_kv = take_u64(&r);
    if (n_tensors > N_MAX || n_kv > N_MAX)
        return err_set(e, ERR_LIMIT,
                       "%s: claims %llu tensors and %llu metadata keys; at most %d each", path,
                       (unsigned long long)n_tensors, (unsigned long long)n_kv, N_MAX);
    rc = read_kvs(g, &r, n_kv, first);
    if (!rc)
        rc = read_tensors(g, &r, n_tensors, p);
    return r.failed ? ERR_FORMAT : rc;
}

/* The path of split i: "x-00001-of-00003.gguf" -> "x-0000{i}-of-00003.gguf". */
static int split_path(const char *first, uint32_t i, uint32_t n, char *out, size_t cap)
{
    char tail[64];
    size_t len = strlen(first), tail_len;

    snprintf(tail, sizeof tail, "-00001-of-%05u.gguf", n);
    tail_len = strlen(tail);
    if (len < tail_len || strcmp(first + len - tail_len, tail))
        return ERR_ARG;
    return snprintf(out, cap, "%.*s-%05u-of-%05u.gguf", (int)(len - tail_len), first, i, n) <
                   (int)cap
               ? 0
               : ERR_LIMIT;
}

/* One file: all of a model, or one of its splits. */
static int open_part(struct gguf **ret, const char *path, struct err *e)
{
    struct gguf *g = calloc(1, sizeof *g);
    int rc;

    if (!g)
        return err_set(e, ERR_NOMEM, "%s: no memory", path);
    arena_init(&g->arena, 1 << 20, (size_t)1 << 30);
    if (map_init(&g->by_key, 64) || map_init(&g->by_name, 512))
        rc = err_set(e, ERR_NOMEM, "%s: no memory", path);
    else
        rc = read_part(g, path, e);
    rc = gguf_check_lost(g, path, rc, e);
    if (rc)
        gguf_close(g);
    else
        *ret = g;
    return rc;
}

int gguf_check(const char *path, struct err *e)
{
    struct gguf *g = NULL;
    int rc = open_part(&g, path, e);

    gguf_close(g);
    return rc;
}

int gguf_open(struct gguf **ret, const char *path, struct err *e)
{
    struct gguf *g = NULL;
    uint32_t n_split = 1, n_tensors = UINT32_MAX;
    int rc = open_part(&g, path, e);

    if (rc)
        return rc;
    rc = gguf_get_u32(g, "split.count", &n_split, e);
    if (rc >= 0)
        rc = gguf_get_u32(g, "split.tensors.count", &n_tensors, e);
    if (rc < 0) {
        err_prefix(e, "%s", path);
        goto fail;
    }
    if (n_split > SPLITS_MAX) {
        rc =
            err_set(e, ERR_LIMIT, "%s: split into %u files; at most %d", path, n_split, SPLITS_MAX);
        goto fail;
    }
    for (uint32_t i = 2; i <= n_split; i++) {
        char other[4096];
        if (split_path(path, i, n_split, other, sizeof other)) {
            rc = err_set(e, ERR_ARG,
                         "%s: one of %u files of a split model; open the one that ends in "
                         "-00001-of-%05u.gguf",
                         path, n_split, n_split);
            goto fail;
        }
        rc = read_part(g, other, e);
        if (rc)
            goto fail;
    }
    if (n_tensors != UINT32_MAX && n_tensors != (uint32_t)g->n_tensors) {
        rc = err_set(e, ERR_FORMAT,
                     "%s: 'split.tensors.count' says %u, but the %u files hold %d tensors", path,
                     n_tensors, n_split, g->n_tensors);
        goto fail;
    }
    *ret = g;
    return 0;
fail:
    rc = gguf_check_lost(g, path, rc, e);
    gguf_close(g);
    return rc;
}

int gguf_check_lost(const struct gguf *g, const char *path, int rc, struct err *e)
{
    for (int i = 0; i < g->n_parts; i++)
        rc = filemap_check(&g->part[i].map, path, rc, e);
    return rc;
}

void gguf_close(struct gguf *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->n_parts; i++)
        filemap_close(&g->part[i].map);
    map_done(&g->by_key);
    map_done(&g->by_name);
    arena_done(&g->arena);
    free(g);
}

uint64_t gguf_file_bytes(const struct gguf *g)
{
    uint64_t n = 0;
    for (int i = 0; i < g->n_parts; i++)
        n += g->part[i].map.size;
    return n;
}

int gguf_n_tensors(const struct gguf *g)
{
    return g->n_tensors;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, int i)
{
    return &g->tensor[i];
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name)
{
    uint32_t i;
    return map_get(&g->by_name, name, strlen(name), &i) ? &g->tensor[i] : NULL;
}

void gguf_release(const uint8_t *data, size_t n)
{
    uintptr_t a = ((uintptr_t)data + 4095) & ~(uintptr_t)4095;
    uintptr_t b = ((uintptr_t)data + n) & ~(uintptr_t)4095;
    if (b > a)
        madvise((void *)a, b - a, MADV_DONTNEED);
}

int gguf_n_kv(const struct gguf *g)
{
    return g->n_kv;
}

const struct gguf_kv *gguf_kv_at(const struct gguf *g, int i)
{
    return &g->kv[i];
}

const struct gguf_kv *gguf_find(const struct gguf *g, const char *key)
{
    uint32_t i;
    return map_get(&g->by_key, key, strlen(key), &i) ? &g->kv[i] : NULL;
}

int64_t gguf_int_at(const struct gguf_kv *kv, uint64_t i)
{
    const uint8_t *p = kv->data + i * type_size(kv->type);
    switch (kv->type) {
    case GGUF_U8:
    case GGUF_BOOL:
        return *p;
    case GGUF_I8:
        return (int8_t)*p;
    case GGUF_U16: {
        uint16_t v;
        memcpy(&v, p, 2);
        return v;
    }
    case GGUF_I16: {
        int16_t v;
        memcpy(&v, p, 2);
        return v;
    }
    case GGUF_U32: {
        uint32_t v;
        memcpy(&v, p, 4);
        return v;
    }
    case GGUF_I32: {
        int32_t v;
        memcpy(&v, p, 4);
        return v;
    }
    case GGUF_U64:
    case GGUF_I64: {
        int64_t v;
        memcpy(&v, p, 8);
        return v;
    }
    default:
        return 0;
    }
}

double gguf_real_at(const struct gguf_kv *kv, uint64_t i)
{
    const uint8_t *p = kv->data + i * type_size(kv->type);
    if (kv->type == GGUF_F32) {
        float v;
        memcpy(&v, p, 4);
        return v;
    }
    if (kv->type == GGUF_F64) {
        double v;
        memcpy(&v, p, 8);
        return v;
    }
    return (double)gguf_int_at(kv, i);
}

int gguf_next_str(const struct gguf_kv *kv, size_t *pos, struct gguf_str *ret)
{
    uint64_t n;

    *ret = (struct gguf_str){"", 0};
    if (*pos >= kv->bytes || kv->bytes - *pos < 8)
        return 0;
    memcpy(&n, kv->data + *pos, 8);
    if (n > kv->bytes - *pos - 8)
        return 0; /* checked at the open: somebody writes into the file */
    ret->p = (const char *)kv->data + *pos + 8;
    ret->n = (size_t)n;
    *pos += 8 + (size_t)n;
    return 1;
}

/* The scalar `key` when `fits` its type; 0 absent, ERR_FORMAT otherwise. */
static int scalar(const struct gguf *g, const char *key, int fits, const char *what,
                  const struct gguf_kv **ret, struct err *e)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    if (!kv)
        return 0;
    if (kv->is_array || !(fits & (1 << kv->type)))
        return err_set(e, ERR_FORMAT, "metadata key '%s' is not %s", key, what);
    *ret = kv;
    return 1;
}

#define INTS                                                                                       \
    (1 << GGUF_U8 | 1 << GGUF_I8 | 1 << GGUF_U16 | 1 << GGUF_I16 | 1 << GGUF_U32 | 1 << GGUF_I32 | \
     1 << GGUF_U64 | 1 << GGUF_I64)

int gguf_get_u32(const struct gguf *g, const char *key, uint32_t *ret, struct err *e)
{
    const struct gguf_kv *kv = NULL;
    int rc = scalar(g, key, INTS, "an integer", &kv, e);
    int64_t v;

    if (rc <= 0)
        return rc;
    v = gguf_int_at(kv, 0);
    if (v < 0 || v > UINT32_MAX)
        return err_set(e, ERR_FORMAT, "metadata key '%s' is out of range", key);
    *ret = (uint32_t)v;
    return 1;
}

int gguf_get_f32(const struct gguf *g, const char *key, float *ret, struct err *e)
{
    const struct gguf_kv *kv = NULL;
    int rc = scalar(g, key, INTS | 1 << GGUF_F32 | 1 << GGUF_F64, "a number", &kv, e);
    float v;

    if (rc <= 0)
        return rc;
    v = (float)gguf_real_at(kv, 0);
    if (!(v - v == 0))
        return err_set(e, ERR_FORMAT, "metadata key '%s' is not finite", key);
    *ret = v;
    return 1;
}

int gguf_get_bool(const struct gguf *g, const char *key, int *ret, struct err *e)
{
    const struct gguf_kv *kv = NULL;
    int rc = scalar(g, key, INTS | 1 << GGUF_BOOL, "true or false", &kv, e);
    if (rc <= 0)
        return rc;
    *ret = gguf_int_at(kv, 0) != 0;
    return 1;
}

int gguf_get_str(const struct gguf *g, const char *key, struct gguf_str *ret, struct err *e)
{
    const struct gguf_kv *kv = NULL;
    size_t pos = 0;
    int rc = scalar(g, key, 1 << GGUF_STR, "a string", &kv, e);
    if (rc <= 0)
        return rc;
    gguf_next_str(kv, &pos, ret);
    return 1;
}
