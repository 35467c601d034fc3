/* The texts of a request as they are stored: JSON, in which every string went through the rules of
 * redaction. Pure functions of their arguments. */
#ifndef CONSOLE_REQUEST_TEXT_H
#define CONSOLE_REQUEST_TEXT_H

#include "base/buf.h"
#include "console/redact.h"

#define REQUEST_TEXT_MAX ((size_t)256 << 10) /* of the body, and of the answer's bytes */

/* The body as it came. ERR_SCHEMA: it is no JSON object. */
int request_text_body(struct redact *r, const char *body, size_t n, struct buf *out);
/* A list of messages, one for each choice, from the bytes of an answer: a body, or the events of a
 * stream, which may break off anywhere. ERR_SCHEMA: there is no answer in it. */
int request_text_answer(struct redact *r, const char *bytes, size_t n, int is_stream,
                        struct buf *out);

#endif
