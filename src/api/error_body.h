/* Errors in the words of the wire: one row for each code of the program's error table. */
#ifndef API_ERROR_BODY_H
#define API_ERROR_BODY_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* Body of section 10, right for every client: flat and wrapped at once. Returns the HTTP status. */
int api_error_body(struct buf *out, const struct err *e);
/* The data of a stream's error frame: nothing at the top that a reader of chunks could take for a
 * chunk. */
void api_error_frame(struct buf *out, const struct err *e);
/* 400 with both wordings that clients look for. n_completion: what was asked for, -1: nothing. */
int api_err_context(struct err *e, int64_t n_prompt, int64_t n_completion, int64_t context);
int api_err_model(struct err *e, const char *id); /* 404 model_not_found */

/* For docs and tests. */
struct api_error_doc {
    int status;
    const char *type, *code, *param; /* param NULL: the field at fault */
    const char *when;
};
/* Row i of the table of errors; 0 past the end. */
int api_error_row(int i, struct api_error_doc *ret);

#endif
