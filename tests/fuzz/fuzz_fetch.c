/* The head of a download's answer, line by line as libcurl hands it over: what it says of the range
 * and of the size are numbers that can be. */
#include "net/fetch.c" /* its reader of headers is its own */

#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fetch_result ret = {0};
    struct fetch f = {.ret = &ret, .range_start = -1, .total = -1};
    const char *p = (const char *)data, *end = p + n;

    while (p < end) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((eol ? eol + 1 : end) - p);
        char *line = malloc(len);
        CHECK(line);
        memcpy(line, p, len); /* of its exact size: it has no NUL at its end */
        CHECK(header_cb(line, 1, len, &f) == len);
        free(line);
        p += len;
    }
    CHECK(f.range_start >= -1 && f.total >= -1);
    CHECK(f.range_start < 0 || f.total > f.range_start);
    CHECK(!ret.etag[0] || (ret.etag[0] == '"' && ret.etag[strlen(ret.etag) - 1] == '"'));
    return 0;
}
