#include "console/page.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

/* The page's Content-Security-Policy: only the server's own files run, nothing is loaded from
 * elsewhere, and no site may frame the page. A model's output is hostile input; with this policy no
 * text of it can run as a script, even if the page had a fault. */
#define POLICY                                                                                     \
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' " \
    "data:; font-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "        \
    "require-trusted-types-for 'script'; trusted-types gaufre"

static const struct net_header fixed[] = {
    {"cache-control", "no-cache"},
    {"vary", "accept-encoding"},
    {"content-security-policy", POLICY},
    {"x-content-type-options", "nosniff"},
    {"referrer-policy", "no-referrer"},
    {"cross-origin-opener-policy", "same-origin"},
    {"cross-origin-resource-policy", "same-origin"},
};
#define N_FIXED (int)(sizeof fixed / sizeof fixed[0])

const struct page_file *page_find(const char *path)
{
    for (int i = 0; i < page_n_files; i++) {
        if (!strcmp(page_files[i].path, path))
            return &page_files[i];
    }
    return NULL;
}

/* Is the weight of a coding ("; q=0.5") zero? */
static int is_zero_weight(const char *s, size_t n)
{
    const char *q = memchr(s, '=', n);
    char *end;

    return q && strtod(q + 1, &end) <= 0 && end > q + 1;
}

int page_takes_gzip(const char *accept_encoding)
{
    const char *s = accept_encoding ? accept_encoding : "";
    int any = 0;

    while (*s) {
        size_t n = strcspn(s, ","), lead = strspn(s, " \t");
        const char *name = s + lead;
        size_t n_name = strcspn(name, "; \t,");
        if (n_name == 4 && !strncasecmp(name, "gzip", 4))
            return !is_zero_weight(s, n);
        if (n_name == 1 && *name == '*')
            any = !is_zero_weight(s, n);
        s += n + (s[n] == ',');
    }
    return any;
}

int page_has_tag(const char *if_none_match, const char *tag)
{
    const char *s = if_none_match ? if_none_match : "";
    size_t k = strlen(tag);

    while (*s) {
        s += strspn(s, " \t,");
        if (*s == '*')
            return 1;
        if (!strncmp(s, "W/", 2))
            s += 2;
        if (!strncmp(s, tag, k))
            return 1;
        s += *s == '"' ? 1 + strcspn(s + 1, "\"") : strcspn(s, ",");
        s += *s == '"';
    }
    return 0;
}

/* The file as it was, in malloc'd memory. NULL: out of memory. */
static unsigned char *unpack(const struct page_file *f)
{
    unsigned char *out = malloc(f->n + 1);
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)f->gzip, .avail_in = (uInt)f->n_gzip};
    int r;

    if (!out)
        return NULL;
    z.next_out = out;
    z.avail_out = (uInt)f->n + 1;
    r = inflateInit2(&z, 15 + 16); /* with a gzip header */
    if (r == Z_OK) {
        r = inflate(&z, Z_FINISH);
        inflateEnd(&z);
    }
    if (r == Z_STREAM_END && z.total_out == f->n)
        return out;
    free(out);
    return NULL;
}

int page_answer(const struct page_file *f, const char *accept_encoding, const char *if_none_match,
                struct page_answer *ret)
{
    int packed = page_takes_gzip(accept_encoding);
    const char *tag = packed ? f->gzip_tag : f->tag;
    struct page_answer a = {.status = 200, .n_headers = N_FIXED};

    _Static_assert(N_FIXED + 3 <= PAGE_HEADERS_MAX, "they have room");
    memcpy(a.header, fixed, sizeof fixed);
    a.header[a.n_headers++] = (struct net_header){"etag", tag};
    a.header[a.n_headers++] = (struct net_header){"content-type", f->type};
    if (page_has_tag(if_none_match, tag)) {
        a.status = 304;
        a.body = "";
    } else if (packed) {
        a.header[a.n_headers++] = (struct net_header){"content-encoding", "gzip"};
        a.body = f->gzip;
        a.n_body = f->n_gzip;
    } else {
        a.body = a.unpacked = unpack(f);
        a.n_body = f->n;
        if (!a.unpacked)
            return ERR_NOMEM;
    }
    *ret = a;
    return 0;
}
