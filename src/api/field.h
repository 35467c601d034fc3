/* Inside the api room: readers of JSON values that name the place they refuse. */
#ifndef API_FIELD_H
#define API_FIELD_H

#include "api/request.h"
#include "base/check.h"

/* The arena gave nothing: ERR_TOO_LARGE where its ceiling was in the way, ERR_NOMEM. */
int field_no_room(const struct arena *a, struct err *e);
/* Fill `e` with "path: sentence" (param = path) and return code. */
int field_bad(struct err *e, int code, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The same for a value of the wrong type: "path: must be a string, not null"; v NULL: "is
 * required". */
int field_must_be(struct err *e, const char *path, const char *type, const json_t *v);
/* What the contract has and this engine has not: where o->unbuilt is there it is noted, the first
 * of them, and 0 returned; else as field_bad. */
int field_unbuilt(const struct api_options *o, struct err *e, int code, const char *path,
                  const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* A path made on the spot, for use within one call: PATH("messages.%zu.content", i). */
#define PATH(...) path_format((char[128]){0}, __VA_ARGS__)
char *path_format(char out[128], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Readers: `v` is not null; the range is inclusive. 0, or ERR_SCHEMA with the sentence. */
int read_bool(const json_t *v, const char *path, int *ret, struct err *e);
/* An integer, or a real without a fraction. Values beyond the maximum are refused. */
int read_int(const json_t *v, const char *path, int64_t min, int64_t max, int64_t *ret,
             struct err *e);
int read_real(const json_t *v, const char *path, double min, double max, double *ret,
              struct err *e);
int read_str(const json_t *v, const char *path, size_t max, const char **ret, struct err *e);
/* Array of token ids into the arena. */
int read_ids(struct arena *a, const json_t *v, const char *path, size_t max, const int32_t **ret,
             int32_t *ret_n, struct err *e);
/* NULL for an absent key and for null. */
const json_t *get_field(const json_t *object, const char *key);
/* Strict compatibility: every key of `object` must be in the NULL-ended list. prefix: "body.". */
int check_known(const json_t *object, const char *prefix, const char *const *known, struct err *e);

/* Body -> tree, after the checks on headers and size. The root is an object. */
int parse_body(json_t **ret, const char *body, size_t n, const struct api_request_headers *h,
               const struct api_options *o, struct err *e);

#endif
