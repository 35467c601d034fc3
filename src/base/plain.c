#include "base/plain.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

int plain_is_hidden(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || /* C0, DEL, C1 */
           cp == 0x2028 || cp == 0x2029 ||           /* separators of lines and paragraphs */
           (cp >= 0x202a && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069); /* directions */
}

size_t plain_unit(const char *s, size_t n, char out[PLAIN_UNIT])
{
    uint32_t cp;
    int len = utf8_decode(s, n, &cp);

    out[0] = 0;
    if (len <= 0) { /* malformed, or cut */
        snprintf(out, PLAIN_UNIT, "\\x%02x", (unsigned char)*s);
        return 1;
    }
    if (!plain_is_hidden(cp))
        return (size_t)len;
    if (cp == '\n' || cp == '\r' || cp == '\t')
        snprintf(out, PLAIN_UNIT, "\\%c", cp == '\n' ? 'n' : cp == '\r' ? 'r' : 't');
    else if (cp < 0x80)
        snprintf(out, PLAIN_UNIT, "\\x%02x", (unsigned)cp);
    else
        snprintf(out, PLAIN_UNIT, "\\u%04x", (unsigned)cp & 0xffff);
    return (size_t)len;
}

size_t plain_json_unit(const char *s, size_t n, char out[PLAIN_UNIT])
{
    size_t len = plain_unit(s, n, out);

    if (out[0] && out[1] == 'x')
        snprintf(out, PLAIN_UNIT, "\\u%04x", (unsigned char)*s < 0x80 ? (unsigned)*s : 0xfffdu);
    return len;
}

int plain_put(struct buf *b, const char *s, size_t n, enum plain_form form)
{
    char out[PLAIN_UNIT];
    size_t run = 0, len; /* run: first byte not yet written */

    for (size_t i = 0; i < n; i += len) {
        len =
            form == PLAIN_JSON ? plain_json_unit(s + i, n - i, out) : plain_unit(s + i, n - i, out);
        if (!out[0] || (form != PLAIN_LINE && (s[i] == '\n' || s[i] == '\t')))
            continue;
        buf_add(b, s + run, i - run);
        buf_add_str(b, out);
        run = i + len;
    }
    return buf_add(b, s + run, n - run);
}
