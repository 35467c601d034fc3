/* Texts of requests and answers, as they are stored: whatever bytes, what comes out is JSON. */
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "console/request_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct redact *r;
    json_t *j = NULL;
    struct err e;
    struct buf b;
    int code;

    if (n < 1 || n > REQUEST_TEXT_MAX || (!r && redact_new(&r, NULL, 0, &e)))
        return 0;
    buf_init(&b, 4 * REQUEST_TEXT_MAX);
    code = data[0] == 'b'
               ? request_text_body(r, (const char *)data + 1, n - 1, &b)
               : request_text_answer(r, (const char *)data + 1, n - 1, data[0] == 's', &b);
    if (!code && json_parse(&j, b.data, b.len, 0, &e) && e.code != ERR_TOO_LARGE)
        abort();
    json_decref(j);
    buf_done(&b);
    return 0;
}
