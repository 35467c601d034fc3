/* Errors: one table for the whole program.
 *
 * Functions return 0 or a negative code from the table. A door also fills `struct err` with a
 * sentence for people. HTTP status and retryability belong to the code, so that every layer
 * agrees on them. Libraries never print and never exit. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

/*   name          value HTTP retry  text */
#define ERR_TABLE(X)                                                                               \
    X(OK, 0, 200, 0, "ok")                                                                         \
    X(NOMEM, -1, 503, 1, "out of memory")                                                          \
    X(ARG, -2, 400, 0, "invalid argument")                                                         \
    X(IO, -3, 500, 0, "input/output error")                                                        \
    X(FORMAT, -4, 400, 0, "malformed data")                                                        \
    X(UNSUPPORTED, -5, 400, 0, "not supported")                                                    \
    X(NOTFOUND, -6, 404, 0, "not found")                                                           \
    X(LIMIT, -7, 400, 0, "a limit was passed")                                                     \
    X(TIMEOUT, -8, 408, 1, "timed out")                                                            \
    X(CANCELLED, -9, 499, 0, "cancelled")                                                          \
    X(QUEUE_FULL, -10, 429, 1, "the queue is full")                                                \
    X(DRAINING, -11, 503, 1, "the server is shutting down")                                        \
    X(LOADING, -12, 503, 1, "the model is loading")                                                \
    X(AUTH, -13, 401, 0, "missing or wrong API key")                                               \
    X(FORBIDDEN, -14, 403, 0, "not allowed")                                                       \
    X(BUDGET, -15, 402, 0, "the budget is spent")                                                  \
    X(RATE_REQUESTS, -16, 429, 1, "too many requests")                                             \
    X(RATE_TOKENS, -17, 429, 1, "too many tokens")                                                 \
    X(CONTEXT, -18, 400, 0, "the context length is exceeded")                                      \
    X(TOO_LARGE, -19, 413, 0, "the body is too large")                                             \
    X(MEDIA, -20, 415, 0, "unsupported media type")                                                \
    X(METHOD, -21, 405, 0, "method not allowed")                                                   \
    X(NO_ROUTE, -22, 404, 0, "unknown URL")                                                        \
    X(NO_MODEL, -23, 404, 0, "no such model")                                                      \
    X(INTERNAL, -24, 500, 0, "internal error")                                                     \
    X(NUMERIC, -25, 500, 0, "the model produced a value that is not a number")                     \
    X(EXISTS, -26, 409, 0, "already exists")                                                       \
    X(AGAIN, -27, 503, 1, "not ready yet")                                                         \
    X(FROZEN, -28, 503, 1, "the engine does not answer")                                           \
    X(SLOW_READER, -29, 499, 0, "the reader is too slow")                                          \
    X(SCHEMA, -30, 400, 0, "invalid request")                                                      \
    X(QUOTA, -31, 429, 0, "more than the quota can ever hold")                                     \
    X(CONNECT, -32, 502, 1, "the supplier cannot be reached")                                      \
    X(SILENT, -33, 504, 1, "the supplier does not answer")                                         \
    X(RESET, -34, 502, 1, "the supplier's answer ended in the middle")                             \
    X(SUPPLIER, -35, 502, 1, "the supplier failed")                                                \
    X(SUPPLIER_AUTH, -36, 502, 0, "the supplier refuses this server's key")                        \
    X(SUPPLIER_BUSY, -37, 429, 1, "the supplier asks for less work")                               \
    X(CONTENT, -38, 400, 0, "refused by the supplier's content policy")                            \
    X(KEY_IN_USE, -39, 409, 1, "the request with this idempotency key is under way")               \
    X(KEY_REUSED, -40, 422, 0, "the idempotency key is another request's")                         \
    X(KEY_LOST, -41, 409, 0, "the answer of this idempotency key was too long to be kept")         \
    X(SITE_CLOSED, -42, 503, 1, "the site takes no new requests")                                  \
    X(ABOVE_CONTRACT, -43, 429, 1, "more than the contract entitles to")

enum err_code {
#define ERR_ENUM(name, value, http, retry, text) ERR_##name = (value),
    ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
};

/* A sentence for people beside the code. `param` names the offending field or key, or is "". */
struct err {
    int code;
    char param[128];
    char text[512];
};

/* Fill `e` (may be NULL) and return `code`, so that `return err_set(e, ERR_X, ...)` reads well. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same, naming the field or key at fault. */
int err_set_param(struct err *e, int code, const char *param, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Put "prefix: " before the text already in `e`; returns e's code. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "1 token", "2 tokens": what stands behind the noun in a sentence with a count. */
const char *plural(long long n);

const char *err_name(int code); /* "QUEUE_FULL" */
const char *err_text(int code); /* "the queue is full" */
int err_http_status(int code);  /* 429; 500 for an unknown code */
int err_is_retryable(int code); /* 1 where the same call may work later */

#endif
