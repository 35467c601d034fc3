#include "base/json_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/put.h"
#include "base/utf8.h"

/* 0: stands for itself; 1: needs an escape; 2: begins (or breaks) a longer UTF-8 sequence. */
static int kind_of(unsigned char c)
{
    if (c >= 0x80)
        return 2;
    return c < 0x20 || c == '"' || c == '\\';
}

static int put_escape(struct buf *b, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char esc[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    static const char *const from = "\"\\\n\r\t\b\f", *const to = "\"\\nrtbf";
    const char *p = c ? strchr(from, c) : NULL;

    if (p) {
        esc[1] = to[p - from];
        return buf_add(b, esc, 2);
    }
    return buf_add(b, esc, sizeof esc);
}

int json_put_escaped(struct buf *b, const char *s, size_t n)
{
    size_t run = 0; /* first byte not yet written */

    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        int kind = kind_of(c), len = 0;
        uint32_t cp;
        if (!kind) {
            i++;
            continue;
        }
        if (kind == 2) {
            len = utf8_decode(s + i, n - i, &cp);
            if (len > 0) {
                i += (size_t)len;
                continue;
            }
        }
        if (i > run)
            buf_add(b, s + run, i - run);
        if (kind == 1) {
            put_escape(b, c);
            i++;
        } else { /* one U+FFFD for each malformed byte, and one for a whole unfinished end */
            buf_add(b, "\xef\xbf\xbd", 3);
            i = len < 0 ? n : i + 1;
        }
        run = i;
    }
    if (n > run)
        buf_add(b, s + run, n - run);
    return b->failed;
}

int json_put_text(struct buf *b, const char *s, size_t n)
{
    buf_add_char(b, '"');
    json_put_escaped(b, s, n);
    return buf_add_char(b, '"');
}

int json_put_str(struct buf *b, const char *s)
{
    return s ? json_put_text(b, s, strlen(s)) : buf_add(b, "null", 4);
}

int json_put_int(struct buf *b, int64_t v)
{
    return put_number(b, v);
}

int json_put_fixed(struct buf *b, double v, int decimals)
{
    static const double scale[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    char t[PUT_MAX], *end;
    uint64_t u, unit;

    if (decimals < 0 || decimals > 9)
        decimals = 9;
    if (!isfinite(v) || fabs(v) >= 1e9)
        return json_put_real(b, v);
    u = (uint64_t)llrint(fabs(v) * scale[decimals]);
    unit = (uint64_t)scale[decimals];
    if (v < 0 && u)
        buf_add_char(b, '-');
    json_put_int(b, (int64_t)(u / unit));
    end = t + put_dec((int64_t)(u % unit + unit), t); /* a leading 1 keeps the zeros */
    *t = '.';
    while (end > t + 2 && end[-1] == '0')
        end--;
    return end == t + 1 ? buf_add(b, ".0", 2) : buf_add(b, t, (size_t)(end - t));
}

int json_put_real(struct buf *b, double v)
{
    char t[40];
    int plain = 1;

    if (!isfinite(v))
        return buf_add(b, "null", 4);
    for (int digit = 15; digit <= 17; digit++) {
        snprintf(t, sizeof t, "%.*g", digit, v);
        if (strtod(t, NULL) == v)
            break;
    }
    for (char *p = t; *p; p++) {
        int known = (*p >= '0' && *p <= '9') || *p == '-' || *p == '+' || *p == 'e';
        if (!known)
            *p = '.'; /* the locale's decimal sign */
        if (*p == '.' || *p == 'e')
            plain = 0;
    }
    buf_add_str(b, t);
    return plain ? buf_add(b, ".0", 2) : b->failed;
}

int json_put_bytes(struct buf *b, const char *s, size_t n)
{
    buf_add_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(b, ',');
        json_put_int(b, (unsigned char)s[i]);
    }
    return buf_add_char(b, ']');
}
