#include "net/url.h"

#include <string.h>

#include "base/err.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

void url_split(const char *target, size_t *ret_path_len, const char **ret_query)
{
    size_t n = strcspn(target, "?");
    *ret_path_len = n;
    *ret_query = target[n] ? target + n + 1 : target + n;
}

ssize_t url_decode(const char *s, size_t n, int plus, char *out, size_t cap)
{
    size_t len = 0;

    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        if (c == '%') {
            int hi = i + 2 < n ? hex_value(s[i + 1]) : -1;
            int lo = i + 2 < n ? hex_value(s[i + 2]) : -1;
            if (hi < 0 || lo < 0)
                return ERR_FORMAT;
            c = (char)(hi << 4 | lo);
            i += 2;
        } else if (plus && c == '+') {
            c = ' ';
        }
        if (!c)
            return ERR_FORMAT;
        if (len + 1 >= cap)
            return ERR_LIMIT;
        out[len++] = c;
    }
    if (cap == 0)
        return ERR_LIMIT;
    out[len] = 0;
    return (ssize_t)len;
}

/* Is the encoded name s[0..n) the same as `name`? */
static int name_is(const char *s, size_t n, const char *name)
{
    char one[2];

    for (size_t i = 0; i < n; name++) {
        size_t step = s[i] == '%' ? 3 : 1;
        if (step > n - i || url_decode(s + i, step, 1, one, sizeof one) != 1 || one[0] != *name)
            return 0;
        i += step;
    }
    return *name == 0;
}

ssize_t url_query(const char *query, const char *name, char *out, size_t cap)
{
    const char *s = query;

    while (*s) {
        size_t n = strcspn(s, "&"), n_name = 0;
        while (n_name < n && s[n_name] != '=')
            n_name++;
        if (n_name > 0 && name_is(s, n_name, name)) {
            size_t skip = n_name < n ? n_name + 1 : n_name;
            return url_decode(s + skip, n - skip, 1, out, cap);
        }
        s += n + (s[n] == '&');
    }
    return ERR_NOTFOUND;
}
