#include "api/trace_context.h"

#include <string.h>

#include "base/put.h"

#define MEMBERS_MAX 32
#define KEY_MAX     256
#define VALUE_MAX   256
#define TEXT_LEN    55

/* n bytes of lower-case hexadecimal; not all 0 where that means nothing. */
static int read_hex(const char *s, size_t n, unsigned char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < 2 * n; i++) {
        const char *d = s[i] ? strchr(digits, s[i]) : NULL;
        if (!d)
            return 0;
        out[i / 2] = (unsigned char)((i % 2 ? out[i / 2] << 4 : 0) | (int)(d - digits));
    }
    return 1;
}

static int is_zero(const unsigned char *p, size_t n)
{
    int any = 0;

    for (size_t i = 0; i < n; i++)
        any |= p[i];
    return !any;
}

int api_trace_read(const char *s, struct trace_context *ret)
{
    size_t n = s ? strlen(s) : 0;
    struct trace_context t;
    unsigned char version, flags;

    if (n < TEXT_LEN || !read_hex(s, 1, &version) || version == 0xff || s[2] != '-' ||
        !read_hex(s + 3, TRACE_ID_BYTES, t.trace) || s[35] != '-' ||
        !read_hex(s + 36, TRACE_SPAN_BYTES, t.span) || s[52] != '-' || !read_hex(s + 53, 1, &flags))
        return 0;
    if (n > TEXT_LEN && (!version || s[TEXT_LEN] != '-'))
        return 0;
    if (is_zero(t.trace, sizeof t.trace) || is_zero(t.span, sizeof t.span))
        return 0;
    t.flags = flags & (TRACE_SAMPLED | TRACE_RANDOM);
    *ret = t;
    return 1;
}

void api_trace_write(const struct trace_context *t, char out[TRACE_TEXT_MAX])
{
    const unsigned char flags = (unsigned char)t->flags;

    memcpy(out, "00-", 3);
    put_bytes(t->trace, sizeof t->trace, out + 3);
    out[35] = '-';
    put_bytes(t->span, sizeof t->span, out + 36);
    out[52] = '-';
    put_bytes(&flags, 1, out + 53);
}

/* ---- tracestate ------------------------------------------------------------------------------ */

struct member {
    const char *key;
    size_t n_key, n_value;
};

static int is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* key=value, without blanks around it. */
static int read_member(const char *s, size_t n, struct member *ret)
{
    const char *eq = memchr(s, '=', n);
    size_t n_at = 0;

    if (!eq)
        return 0;
    *ret = (struct member){s, (size_t)(eq - s), n - (size_t)(eq - s) - 1};
    if (!ret->n_key || ret->n_key > KEY_MAX || !ret->n_value || ret->n_value > VALUE_MAX ||
        !is_alnum(*s))
        return 0;
    for (size_t i = 0; i < ret->n_key; i++) {
        if (!is_alnum(s[i]) && (!s[i] || !strchr("_-*/@", s[i])))
            return 0;
        n_at += s[i] == '@';
    }
    for (size_t i = 1; i <= ret->n_value; i++) {
        if (eq[i] < ' ' || eq[i] > '~' || eq[i] == '=')
            return 0;
    }
    return n_at <= 1;
}

static int is_known(const struct member *list, int n, const struct member *m)
{
    for (int i = 0; i < n; i++) {
        if (list[i].n_key == m->n_key && !memcmp(list[i].key, m->key, m->n_key))
            return 1;
    }
    return 0;
}

int api_trace_state_ok(const char *s)
{
    struct member list[MEMBERS_MAX];
    int n_list = 0;

    if (strlen(s) > TRACE_STATE_MAX)
        return 0;
    for (;;) {
        size_t n = strcspn(s, ","), skip = strspn(s, " \t");
        const char *from = s + (skip < n ? skip : n);
        size_t len = n - (size_t)(from - s);
        while (len && (from[len - 1] == ' ' || from[len - 1] == '\t'))
            len--;
        if (len) { /* empty ones are allowed */
            struct member m;
            if (n_list == MEMBERS_MAX || !read_member(from, len, &m) || is_known(list, n_list, &m))
                return 0;
            list[n_list++] = m;
        }
        if (!s[n])
            return n_list > 0;
        s += n + 1;
    }
}
