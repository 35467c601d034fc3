#include "base/utf8.h"

#include <string.h>

int utf8_decode(const char *s, size_t n, uint32_t *ret_cp)
{
    const unsigned char *p = (const unsigned char *)s;
    uint32_t cp, c = p[0];
    int len;

    if (c < 0x80) {
        *ret_cp = c;
        return 1;
    }
    if (c < 0xc2 || c > 0xf4)
        return 0;
    len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    cp = c & (0x7fu >> len);
    for (int i = 1; i < len; i++) {
        unsigned lo = 0x80, hi = 0xbf;
        if ((size_t)i >= n)
            return -1;
        if (i == 1) { /* overlong forms, surrogates, beyond U+10FFFF show in the second byte */
            lo = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
            hi = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        }
        if (p[i] < lo || p[i] > hi)
            return 0;
        cp = cp << 6 | (p[i] & 0x3f);
    }
    *ret_cp = cp;
    return len;
}

int utf8_encode(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xe0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

/* How many bytes at the beginning are surely ASCII, which most text is: a multiple of 8. */
static size_t ascii_run(const char *p, size_t n)
{
    size_t i = 0;
    uint64_t eight;

    for (; n - i >= sizeof eight; i += sizeof eight) {
        memcpy(&eight, p + i, sizeof eight);
        if (eight & UINT64_C(0x8080808080808080))
            break;
    }
    return i;
}

int utf8_valid(const char *p, size_t n, size_t *ret_bad)
{
    size_t i = 0;
    while ((i += ascii_run(p + i, n - i)) < n) {
        uint32_t cp;
        int len = utf8_decode(p + i, n - i, &cp);
        if (len <= 0) {
            if (ret_bad)
                *ret_bad = i;
            return 0;
        }
        i += (size_t)len;
    }
    if (ret_bad)
        *ret_bad = n;
    return 1;
}

size_t utf8_partial_tail(const char *p, size_t n)
{
    for (size_t k = 1; k <= 3 && k <= n; k++) {
        unsigned char c = (unsigned char)p[n - k];
        uint32_t cp;
        if ((c & 0xc0) == 0x80)
            continue;
        return utf8_decode(p + n - k, k, &cp) == -1 ? k : 0;
    }
    return 0;
}

void utf8_clean(char *s)
{
    size_t bad;

    for (; !utf8_valid(s, strlen(s), &bad); s += bad)
        s[bad] = '?';
}
