/* Logits files: a model's logits after each token of a text. Format: docs/formats.md.
 *
 * The reader maps a file and checks every offset, length, kind and id before it says yes. Single
 * thread per object. */
#ifndef CMD_LOGITS_FILE_H
#define CMD_LOGITS_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/filemap.h"

enum logits_kind { LOGITS_FULL, LOGITS_PACKED, LOGITS_TOP };

struct logits_row {
    uint32_t i_token, kind, count;
    double lse;
    const uint8_t *data; /* in the mapping, 8-byte aligned */
};

struct logits_file {
    struct filemap file; /* filemap_check it before the rows are believed */
    const uint8_t *map;
    size_t size;
    uint32_t n_vocab, n_tokens, n_windows, n_rows;
    const int32_t *token;   /* [n_tokens] */
    const uint32_t *window; /* [n_windows + 1] */
    const char *note;
    size_t n_note;
    const uint8_t *index;
};

int logits_open(struct logits_file *f, const char *path, struct err *e);
void logits_close(struct logits_file *f); /* accepts a zeroed one */
struct logits_row logits_row(const struct logits_file *f, uint32_t i);
/* Logits of a full or packed row as n_vocab floats. */
void logits_unpack(const struct logits_file *f, const struct logits_row *r, float *out);

struct logits_writer {
    FILE *f;
    char *path, *tmp;
    uint32_t n_vocab, n_tokens, n_windows, n_rows, rows_max, n_note;
    uint64_t at_tokens, at_windows, at_note, at;
    uint8_t *index; /* 32 bytes a row */
    uint16_t *packed;
};

/* The file appears under its name only when logits_finish succeeds. Packed rows. */
int logits_create(struct logits_writer *w, const char *path, uint32_t n_vocab, const int32_t *token,
                  uint32_t n_tokens, const uint32_t *window, uint32_t n_windows, const char *note,
                  struct err *e);
int logits_add(struct logits_writer *w, uint32_t i_token, const float *logits, double lse,
               struct err *e);
int logits_finish(struct logits_writer *w, struct err *e);
void logits_abandon(struct logits_writer *w); /* also after finish; accepts a zeroed one */

#endif
