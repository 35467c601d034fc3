/* The listing of a project in a package index: HTML (PEP 503) or JSON (PEP 691). Pure functions on
 * bytes from elsewhere. */
#include "hub/hub_int.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

void simple_normalise(const char *project, char *out, size_t cap)
{
    size_t n = 0;
    int gap = 0;

    for (; *project && n + 2 < cap; project++) {
        if (strchr("-_.", *project)) {
            gap = 1;
            continue;
        }
        if (gap && n)
            out[n++] = '-';
        gap = 0;
        out[n++] = (char)tolower((unsigned char)*project);
    }
    out[n] = 0;
}

int simple_is_wheel_of(const char *file, const char *project, const char *version)
{
    char name[256], want[256], have[256];
    const char *dash = strchr(file, '-'), *after;
    size_t n = strlen(file);

    if (!dash || (size_t)(dash - file) >= sizeof name || n < 4 || strcasecmp(file + n - 4, ".whl"))
        return 0;
    snprintf(name, sizeof name, "%.*s", (int)(dash - file), file);
    simple_normalise(name, have, sizeof have);
    simple_normalise(project, want, sizeof want);
    if (strcmp(have, want))
        return 0;
    n = strlen(version);
    after = dash + 1;
    if (strncmp(after, version, n) || after[n] != '-')
        return 0;
    /* Any platform can use it: the last tag before ".whl" is "any". */
    return strstr(after + n, "-any.whl") != NULL;
}

/* ref, as written in the page at base, as a URL of its own. Dot segments are the client's. */
static int join_url(const char *base, const char *ref, char *out, size_t cap)
{
    const char *scheme_end = strstr(base, "://"), *path, *last;
    int n;

    if (!scheme_end)
        return ERR_FORMAT;
    path = strchr(scheme_end + 3, '/');
    if (!path)
        path = base + strlen(base);
    if (spec_is_remote(ref) && strncmp(ref, "hf:", 3)) {
        n = snprintf(out, cap, "%s", ref);
    } else if (!strncmp(ref, "//", 2)) {
        n = snprintf(out, cap, "%.*s:%s", (int)(scheme_end - base), base, ref);
    } else if (*ref == '/') {
        n = snprintf(out, cap, "%.*s%s", (int)(path - base), base, ref);
    } else if (strcspn(ref, ":") < strcspn(ref, "/?#")) {
        return ERR_FORMAT; /* another scheme */
    } else {
        last = strrchr(path, '/');
        n = snprintf(out, cap, "%.*s%s%s", (int)((last ? last + 1 : path) - base), base,
                     last ? "" : "/", ref);
    }
    return n < (int)cap ? 0 : ERR_LIMIT;
}

/* Split "url#sha256=..." and take the file's name off the path. */
static int fill(struct index_file *f, const char *base, char *ref)
{
    char *hash = strchr(ref, '#'), *last;
    size_t n;

    f->sha256[0] = 0;
    if (hash) {
        *hash++ = 0;
        if (!strncmp(hash, "sha256=", 7)) {
            hash[7 + strcspn(hash + 7, "&")] = 0;
            if (digest_is_hex(hash + 7))
                snprintf(f->sha256, sizeof f->sha256, "%s", hash + 7);
        }
    }
    if (join_url(base, ref, f->url, sizeof f->url))
        return ERR_FORMAT;
    n = strcspn(ref, "?");
    last = memrchr(ref, '/', n);
    last = last ? last + 1 : ref;
    n -= (size_t)(last - ref);
    if (n == 0 || n >= sizeof f->name)
        return ERR_FORMAT;
    snprintf(f->name, sizeof f->name, "%.*s", (int)n, last);
    return 0;
}

/* Is it the file that is looked for? It is stored under this name, so the name must not lead out of
 * the folder. */
static int is_wanted(const char *name, const char *project, const char *version)
{
    return !strchr(name, '/') && name[0] != '.' && simple_is_wheel_of(name, project, version);
}

/* ---- HTML ---- */

static void decode_entities(char *s)
{
    static const struct {
        const char *name;
        char c;
    } table[] = {{"&amp;", '&'}, {"&#38;", '&'}, {"&quot;", '"'}, {"&#39;", '\''}, {"&#x27;", '\''},
                 {"&lt;", '<'},  {"&gt;", '>'},  {"&#43;", '+'},  {"&#x2B;", '+'}};
    char *out = s;

    while (*s) {
        size_t i, n = 0;
        for (i = 0; *s == '&' && i < sizeof table / sizeof table[0]; i++) {
            n = strlen(table[i].name);
            if (!strncasecmp(s, table[i].name, n))
                break;
            n = 0;
        }
        if (n) {
            *out++ = table[i].c;
            s += n;
        } else {
            *out++ = *s++;
        }
    }
    *out = 0;
}

/* The value of href in a tag's text [p, end); 1 when there is one that fits. */
static int find_href(const char *p, const char *end, char *out, size_t cap)
{
    const char *v;
    char quote;

    for (; p + 5 < end; p++) {
        if (!isspace((unsigned char)p[-1]) || strncasecmp(p, "href", 4))
            continue;
        v = p + 4;
        while (v < end && isspace((unsigned char)*v))
            v++;
        if (v >= end || *v != '=')
            continue;
        v++;
        while (v < end && isspace((unsigned char)*v))
            v++;
        if (v >= end || (*v != '"' && *v != '\''))
            return 0;
        quote = *v++;
        p = memchr(v, quote, (size_t)(end - v));
        if (!p || (size_t)(p - v) >= cap)
            return 0;
        memcpy(out, v, (size_t)(p - v));
        out[p - v] = 0;
        decode_entities(out);
        return 1;
    }
    return 0;
}

static int find_in_html(const char *body, size_t n, const char *base, const char *project,
                        const char *version, struct index_file *ret)
{
    const char *end = body + n, *p = body;
    char ref[2048];
    struct index_file f;

    while ((p = memchr(p, '<', (size_t)(end - p)))) {
        const char *close = memchr(p, '>', (size_t)(end - p));
        if (!close)
            break;
        if (close - p > 3 && tolower((unsigned char)p[1]) == 'a' && isspace((unsigned char)p[2]) &&
            find_href(p + 3, close, ref, sizeof ref)) {
            f = (struct index_file){0};
            if (fill(&f, base, ref) == 0 && is_wanted(f.name, project, version)) {
                *ret = f;
                return 1;
            }
        }
        p = close + 1;
    }
    return 0;
}

/* ---- JSON ---- */

static int find_in_json(const char *body, size_t n, const char *base, const char *project,
                        const char *version, struct index_file *ret, struct err *e)
{
    json_t *root = NULL, *file;
    size_t i;
    int found = 0, err = json_parse(&root, body, n, 0, e);

    if (err)
        return err;
    json_array_foreach(json_object_get(root, "files"), i, file)
    {
        const char *name = json_string_value(json_object_get(file, "filename"));
        const char *url = json_string_value(json_object_get(file, "url"));
        const json_t *hashes = json_object_get(file, "hashes");
        const char *sha = json_string_value(json_object_get(hashes, "sha256"));
        json_int_t size = json_integer_value(json_object_get(file, "size"));
        struct index_file f = {0};
        char ref[2048];
        if (!name || !url || strlen(url) >= sizeof ref || strlen(name) >= sizeof f.name ||
            !is_wanted(name, project, version))
            continue;
        snprintf(ref, sizeof ref, "%s", url);
        if (fill(&f, base, ref))
            continue;
        snprintf(f.name, sizeof f.name, "%s", name);
        if (sha && digest_is_hex(sha))
            snprintf(f.sha256, sizeof f.sha256, "%s", sha);
        f.bytes = size > 0 ? (uint64_t)size : 0;
        *ret = f;
        found = 1;
        break;
    }
    json_decref(root);
    return found;
}

int simple_find(const char *body, size_t n, const char *base, const char *project,
                const char *version, struct index_file *ret, struct err *e)
{
    size_t i = 0;
    int found;

    while (i < n && isspace((unsigned char)body[i]))
        i++;
    if (i < n && body[i] == '{')
        found = find_in_json(body, n, base, project, version, ret, e);
    else
        found = find_in_html(body, n, base, project, version, ret);
    if (found < 0)
        return found;
    if (found)
        return 0;
    return err_set(e, ERR_NOTFOUND, "%s has no wheel of %s %s", base, project, version);
}
