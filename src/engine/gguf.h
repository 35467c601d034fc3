/* GGUF v2/v3 model files, read by mmap and checked to the last offset before use.
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 *
 * A file is foreign: every count, length, type and offset is checked against the bytes that are
 * really there, so that after gguf_open every accessor is safe. Split files
 * (name-00001-of-0000N.gguf) are opened from the first. Read-only after open; any thread.
 * Limits: 65,535 metadata keys, 65,535 tensors, 64 KiB a key, 128 splits, 4 dimensions. */
#ifndef ENGINE_GGUF_H
#define ENGINE_GGUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct gguf;

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STR,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_N_TYPES
};

struct gguf_str {
    const char *p; /* not NUL-terminated */
    size_t n;
};

/* One metadata entry. */
struct gguf_kv {
    struct gguf_str key;
    enum gguf_type type; /* of the value, or of the elements of an array */
    int is_array;
    uint64_t n;          /* elements; 1 for a scalar */
    const uint8_t *data; /* packed elements, unaligned */
    size_t bytes;
};

struct gguf_tensor {
    const char *name; /* NUL-terminated */
    uint32_t ggml_type;
    int32_t n_dims;
    int64_t dim[4];      /* dim[0] runs fastest; unused ones are 1 */
    const uint8_t *data; /* in the mapping */
    uint64_t bytes;
};

/* 0 or ERR_NOTFOUND, ERR_IO, ERR_FORMAT, ERR_UNSUPPORTED, ERR_LIMIT, ERR_NOMEM with a sentence that
 * names the file and the key or tensor. */
int gguf_open(struct gguf **ret, const char *path, struct err *e);
void gguf_close(struct gguf *g);
/* filemap_check of all its files. */
int gguf_check_lost(const struct gguf *g, const char *path, int rc, struct err *e);
/* Is this one file whole, with every tensor in it? A split counts by itself. As gguf_open. */
int gguf_check(const char *path, struct err *e);

uint64_t gguf_file_bytes(const struct gguf *g); /* all splits */
int gguf_n_tensors(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, int i);
const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name);

/* Tell the system that these bytes of a tensor are no longer needed: pages that lie in them whole
 * are given back. Any thread. */
void gguf_release(const uint8_t *data, size_t n);

int gguf_n_kv(const struct gguf *g);
const struct gguf_kv *gguf_kv_at(const struct gguf *g, int i);
const struct gguf_kv *gguf_find(const struct gguf *g, const char *key);

/* Scalars. Found and of a fitting type: 1 and the value; absent: 0; present but wrong type or out
 * of range: ERR_FORMAT with a sentence (any integer type is accepted where it fits). */
int gguf_get_u32(const struct gguf *g, const char *key, uint32_t *ret, struct err *e);
int gguf_get_f32(const struct gguf *g, const char *key, float *ret, struct err *e);
int gguf_get_bool(const struct gguf *g, const char *key, int *ret, struct err *e);
int gguf_get_str(const struct gguf *g, const char *key, struct gguf_str *ret, struct err *e);

/* Elements of numeric or bool arrays (i < kv->n), converted. */
int64_t gguf_int_at(const struct gguf_kv *kv, uint64_t i);
double gguf_real_at(const struct gguf_kv *kv, uint64_t i);
int gguf_type_is_int(enum gguf_type t); /* integers and bool */

/* Walk an array of strings: *pos starts at 0; returns 0 at the end. */
int gguf_next_str(const struct gguf_kv *kv, size_t *pos, struct gguf_str *ret);

#endif
