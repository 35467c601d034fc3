#include "api/dialect.h"

#include <string.h>

#include "api/openai.h"

const struct api_dialect *const api_dialects[API_DIALECTS] = {
    [API_CHAT] = &openai_chat.d,
    [API_COMPLETION] = &openai_completion.d,
};

int api_parse(const struct api_dialect *d, struct api_request *ret, struct arena *a,
              const char *body, size_t n, const struct api_request_headers *h,
              const struct api_options *o, struct err *e)
{
    return d->parse(d, ret, a, body, n, h, o, e);
}

int api_error_body(struct buf *out, const struct api_dialect *d, const struct err *e)
{
    return (d ? d : api_dialects[API_CHAT])->error(out, e, 0);
}

void api_id_make(char out[API_ID_MAX], const struct api_dialect *d, const unsigned char random[16])
{
    static const char hex[] = "0123456789abcdef";
    char *p = stpcpy(out, d->id_prefix);

    for (int i = 0; i < 16; i++) {
        unsigned c = random[i];
        if (i == 6)
            c = (c & 0x0f) | 0x40; /* version 4, variant 1 */
        if (i == 8)
            c = (c & 0x3f) | 0x80;
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = hex[c >> 4];
        *p++ = hex[c & 15];
    }
    *p = 0;
}
