/* The settings of traces. */
#include "serve/traces.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/put.h"
#include "base/rand.h"
#include "console/span.h"
#include "net/net.h"
#include "net/upstream.h"
#include "policy/trace_keep.h"

#define PATH         "/v1/traces" /* of the service */
#define TEXT_MAX     ((size_t)16 << 10)
#define PAIRS_MAX    64
#define INSTANCE_LEN 16

struct pair {
    char *name, *value;
};

static const char *from_env(const char *name)
{
    const char *s = *name ? getenv(name) : NULL;

    return s && *s ? s : NULL;
}

/* %41 -> A, in place. 0: malformed. */
static int decode(char *s)
{
    char *to = s;

    for (; *s; s++) {
        unsigned v;
        if (*s == '%' && sscanf(s + 1, "%2x", &v) == 1 && v &&
            strspn(s + 1, "0123456789abcdefABCDEF") >= 2) {
            *to++ = (char)v;
            s += 2;
        } else if (*s == '%') {
            return 0;
        } else {
            *to++ = *s;
        }
    }
    *to = 0;
    return 1;
}

/* "a=b,c=d" with percent-encoded values, as W3C Baggage has them. How many; < 0: malformed. */
static int read_pairs(char *text, struct pair *ret, int max)
{
    char *one;
    int n = 0;

    while ((one = strsep(&text, ","))) {
        char *eq = strchr(one, '=');
        one += strspn(one, " \t");
        if (!*one)
            continue;
        if (!eq || eq == one || n == max)
            return -1;
        *eq = 0;
        for (char *end = eq; end > one && (end[-1] == ' ' || end[-1] == '\t');)
            *--end = 0;
        ret[n] = (struct pair){one, eq + 1 + strspn(eq + 1, " \t")};
        for (char *end = strchr(ret[n].value, 0);
             end > ret[n].value && (end[-1] == ' ' || end[-1] == '\t');)
            *--end = 0;
        if (!*one || !decode(ret[n].value))
            return -1;
        n++;
    }
    return n;
}

static int read_headers(struct serve_config *c, struct err *e)
{
    const char *text = from_env(c->traces_headers_env);
    char *copy = text ? arena_strdup(&c->arena, text) : NULL;
    struct pair list[SERVE_TRACE_HEADERS_MAX];
    int n = copy ? read_pairs(copy, list, SERVE_TRACE_HEADERS_MAX) : 0;

    if (text && !copy)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (int i = 0; i < n; i++) {
        if (!http_name_ok(list[i].name) || !http_value_ok(list[i].value))
            n = -1;
    }
    if (n < 0) /* its value is a secret */
        return err_set(e, ERR_ARG,
                       "traces_headers_env: the variable %.100s is not name=value,name=value of at "
                       "most %d headers",
                       c->traces_headers_env, SERVE_TRACE_HEADERS_MAX);
    for (int i = 0; i < n; i++) {
        c->trace.name[i] = list[i].name;
        c->trace.value[i] = list[i].value;
    }
    c->trace.n_headers = n;
    return 0;
}

/* service.name and its kind: ours, then those of the environment. */
static int write_resource(struct serve_config *c, struct err *e)
{
    const char *more = from_env("OTEL_RESOURCE_ATTRIBUTES"), *name = from_env("OTEL_SERVICE_NAME");
    char *copy = more ? arena_strdup(&c->arena, more) : NULL, id[2 * INSTANCE_LEN + 1];
    struct pair list[PAIRS_MAX];
    int n = copy ? read_pairs(copy, list, PAIRS_MAX) : 0;
    unsigned char random[INSTANCE_LEN];
    struct buf b;

    if (n < 0)
        return err_set(e, ERR_ARG,
                       "traces: OTEL_RESOURCE_ATTRIBUTES is not name=value,name=value of at most "
                       "%d attributes",
                       PAIRS_MAX);
    if (rand_system(random, sizeof random))
        return err_set(e, ERR_IO, "no random bytes from the system");
    put_bytes(random, sizeof random, id);
    buf_init(&b, TEXT_MAX);
    for (int i = 0; i < n; i++) {
        if (!strcmp(list[i].name, "service.name")) {
            name = name ? name : list[i].value;
            continue;
        }
        span_put_text(&b, list[i].name, list[i].value);
        buf_add_char(&b, ',');
    }
    span_put_text(&b, "service.name", name ? name : "gaufre");
    buf_add_char(&b, ',');
    span_put_text(&b, "service.version", GAUFRE_VERSION);
    buf_add_char(&b, ',');
    span_put_text(&b, "service.instance.id", id);
    c->trace.resource = b.failed ? NULL : arena_strndup(&c->arena, b.data, b.len);
    buf_done(&b);
    return c->trace.resource ? 0 : err_set(e, ERR_LIMIT, "traces: too many resource attributes");
}

static int read_ratio(struct serve_config *c, struct err *e)
{
    char *end;
    double v = strtod(c->trace_ratio, &end);

    if (!*c->trace_ratio || *end || !(v >= 0 && v <= 1))
        return err_set(e, ERR_ARG, "trace_ratio: '%.40s' is no number from 0 to 1", c->trace_ratio);
    c->trace.part = trace_keep_part(v);
    return 0;
}

int traces_check(struct serve_config *c, struct err *e)
{
    const char *url = *c->traces ? c->traces : from_env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    struct upstream_config u = {.ca_file = *c->traces_ca_file ? c->traces_ca_file : NULL};
    size_t n, n_path = sizeof PATH - 1;
    int r = read_ratio(c, e);

    c->trace.base = NULL;
    if (!url)
        url = from_env("OTEL_EXPORTER_OTLP_ENDPOINT");
    if (r || !url || !strcmp(url, "off"))
        return r;
    n = strlen(url);
    n -= n >= n_path && !strcmp(url + n - n_path, PATH) ? n_path : 0;
    while (n && url[n - 1] == '/')
        n--;
    u.base_url = c->trace.base = arena_strndup(&c->arena, url, n);
    if (!u.base_url)
        return err_set(e, ERR_NOMEM, "out of memory");
    r = upstream_check(&u, e);
    if (r)
        return err_prefix(e, "traces");
    r = read_headers(c, e);
    return r ? r : write_resource(c, e);
}

void traces_describe(const struct serve_config *c, struct buf *out)
{
    if (c->trace.base)
        buf_addf(out, "traces     %s%s, %d header%s, %s of the requests\n", c->trace.base, PATH,
                 c->trace.n_headers, plural(c->trace.n_headers), c->trace_ratio);
}
