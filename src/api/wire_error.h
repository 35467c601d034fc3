/* Errors that have words of their own on the wire, and the table of them all. */
#ifndef API_WIRE_ERROR_H
#define API_WIRE_ERROR_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

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
