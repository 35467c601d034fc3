#include "base/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

const struct config_setting *config_find(const struct config_setting *t, const char *name)
{
    for (; t->name; t++) {
        if (!strcmp(t->name, name))
            return t;
    }
    return NULL;
}

static void *field(const struct config_setting *s, void *obj)
{
    return (char *)obj + s->offset;
}

static int bad(const struct config_setting *s, const char *text, struct err *e, const char *wants)
{
    return err_set_param(e, ERR_ARG, s->name, "%s: wants %s, not '%.80s'", s->name, wants, text);
}

/* A number and the unit behind it ("" when none); 1 when there was a number. */
static int number(const char *text, double *ret, const char **ret_unit)
{
    char *end;

    if ((*text < '0' || *text > '9') && *text != '-' && *text != '.')
        return 0; /* strtod would take "inf", "nan", spaces */
    errno = 0;
    *ret = strtod(text, &end);
    *ret_unit = end;
    return end != text && !errno;
}

static int in_bounds(const struct config_setting *s, double v)
{
    return (s->min == 0 && s->max == 0) || (v >= s->min && v <= s->max);
}

static int set_int(const struct config_setting *s, void *to, const char *text, struct err *e)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(text, &end, 10);
    if (end == text || *end || errno || *text == ' ')
        return bad(s, text, e, "a whole number");
    if (!in_bounds(s, (double)v))
        return err_set_param(e, ERR_ARG, s->name, "%s: %lld is not within %.0f..%.0f", s->name, v,
                             s->min, s->max);
    *(int64_t *)to = v;
    return 0;
}

static int set_size(const struct config_setting *s, void *to, const char *text, struct err *e)
{
    static const char units[] = "KMGT";
    const char *unit, *at;
    double v;

    if (!number(text, &v, &unit) || v < 0)
        return bad(s, text, e, "bytes (4096, 512K, 64M, 2G)");
    if (*unit) {
        at = strchr(units, *unit >= 'a' ? *unit - 32 : *unit);
        if (!at || (unit[1] && strcmp(unit + 1, "iB") && strcmp(unit + 1, "B")))
            return bad(s, text, e, "bytes (4096, 512K, 64M, 2G)");
        for (long i = 0; i <= at - units; i++)
            v *= 1024;
    }
    if (v > 9e18 || !in_bounds(s, v))
        return err_set_param(e, ERR_ARG, s->name, "%s: %s is not within %.0f..%.0f bytes", s->name,
                             text, s->min, s->max > 0 ? s->max : 9e18);
    *(uint64_t *)to = (uint64_t)v;
    return 0;
}

static int set_time(const struct config_setting *s, void *to, const char *text, struct err *e)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 3.6e6}, {"", 1e3}};
    const char *unit;
    double v;

    if (!number(text, &v, &unit) || v < 0)
        return bad(s, text, e, "a time (250ms, 10s, 5m, 1h)");
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (strcmp(unit, units[i].name))
            continue;
        v *= units[i].ms;
        if (v > 1e15 || !in_bounds(s, v))
            return err_set_param(e, ERR_ARG, s->name, "%s: %s is not within %.0f..%.0f ms", s->name,
                                 text, s->min, s->max);
        *(int64_t *)to = (int64_t)(v + 0.5);
        return 0;
    }
    return bad(s, text, e, "a time (250ms, 10s, 5m, 1h)");
}

static int set_bool(const struct config_setting *s, void *to, const char *text, struct err *e)
{
    static const char *const words[] = {"false", "true", "off", "on", "no", "yes", "0", "1"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!strcmp(text, words[i])) {
            *(int *)to = (int)(i & 1);
            return 0;
        }
    }
    return bad(s, text, e, "true or false");
}

static int set_choice(const struct config_setting *s, void *to, const char *text, struct err *e)
{
    const char *p = s->arg;
    size_t n = strlen(text), len;

    for (int i = 0; *p; i++) {
        len = strcspn(p, "|");
        if (len == n && !memcmp(p, text, n)) {
            *(int *)to = i;
            return 0;
        }
        p += len + (p[len] == '|');
    }
    return err_set_param(e, ERR_ARG, s->name, "%s: wants one of %s, not '%.80s'", s->name, s->arg,
                         text);
}

static int add_str(const struct config_setting *s, struct config_strs *list, const char *text,
                   size_t n, struct arena *a, struct err *e)
{
    char *copy;

    if (list->n >= CONFIG_STRS_MAX)
        return err_set_param(e, ERR_ARG, s->name, "%s: more than %d values", s->name,
                             CONFIG_STRS_MAX);
    copy = arena_strndup(a, text, n);
    if (!copy)
        return err_set(e, ERR_NOMEM, "%s: out of memory", s->name);
    list->v[list->n++] = copy;
    return 0;
}

static int set_strs(const struct config_setting *s, struct config_strs *list, const char *text,
                    struct arena *a, struct err *e)
{
    size_t n;
    int r;

    list->n = 0;
    while (*text) {
        n = strcspn(text, ",");
        if (n && (r = add_str(s, list, text, n, a, e)))
            return r;
        text += n + (text[n] == ',');
    }
    return 0;
}

static int set_value(const struct config_setting *s, void *obj, const char *text, struct arena *a,
                     struct err *e)
{
    void *to = field(s, obj);
    char *copy;

    switch (s->kind) {
    case CONFIG_STR:
        copy = arena_strdup(a, text);
        if (!copy)
            return err_set(e, ERR_NOMEM, "%s: out of memory", s->name);
        *(const char **)to = copy;
        return 0;
    case CONFIG_INT:
        return set_int(s, to, text, e);
    case CONFIG_SIZE:
        return set_size(s, to, text, e);
    case CONFIG_TIME:
        return set_time(s, to, text, e);
    case CONFIG_BOOL:
        return set_bool(s, to, text, e);
    case CONFIG_CHOICE:
        return set_choice(s, to, text, e);
    case CONFIG_STRS:
        return set_strs(s, to, text, a, e);
    }
    return err_set(e, ERR_INTERNAL, "%s: a setting of no kind", s->name);
}

void config_defaults(const struct config_setting *t, void *obj, struct arena *a)
{
    struct err e = {0};

    for (; t->name; t++) {
        if (t->dflt && t->kind == CONFIG_STR)
            *(const char **)field(t, obj) = t->dflt; /* takes no memory: it cannot fail */
        else if (t->dflt)
            CHECK(set_value(t, obj, t->dflt, a, &e) == 0);
    }
}

int config_set(const struct config_setting *t, void *obj, const char *name, const char *text,
               struct arena *a, struct err *e)
{
    const struct config_setting *s = config_find(t, name);

    if (!s)
        return err_set_param(e, ERR_ARG, name, "unknown setting '%s'", name);
    return set_value(s, obj, text, a, e);
}

int config_add(const struct config_setting *s, void *obj, const char *text, struct arena *a,
               struct err *e)
{
    CHECK(s->kind == CONFIG_STRS);
    return add_str(s, field(s, obj), text, strlen(text), a, e);
}

static int show_size(struct buf *out, uint64_t v)
{
    static const char units[] = "KMGT";
    int i = -1;

    while (v && v % 1024 == 0 && i < 3) {
        v /= 1024;
        i++;
    }
    return i < 0 ? buf_addf(out, "%llu", (unsigned long long)v)
                 : buf_addf(out, "%llu%c", (unsigned long long)v, units[i]);
}

static int show_choice(struct buf *out, const char *words, int i)
{
    while (i-- > 0 && *words) {
        words += strcspn(words, "|");
        words += *words == '|';
    }
    return buf_add(out, words, strcspn(words, "|"));
}

int config_show(const struct config_setting *s, const void *obj, struct buf *out)
{
    const void *p = (const char *)obj + s->offset;
    const struct config_strs *list;
    int64_t ms;

    switch (s->kind) {
    case CONFIG_STR:
        return buf_add_str(out, *(const char *const *)p ? *(const char *const *)p : "");
    case CONFIG_INT:
        return buf_addf(out, "%lld", (long long)*(const int64_t *)p);
    case CONFIG_SIZE:
        return show_size(out, *(const uint64_t *)p);
    case CONFIG_TIME:
        ms = *(const int64_t *)p;
        return ms % 1000 ? buf_addf(out, "%lldms", (long long)ms)
                         : buf_addf(out, "%llds", (long long)ms / 1000);
    case CONFIG_BOOL:
        return buf_add_str(out, *(const int *)p ? "true" : "false");
    case CONFIG_CHOICE:
        return show_choice(out, s->arg, *(const int *)p);
    case CONFIG_STRS:
        list = p;
        for (int i = 0; i < list->n; i++)
            buf_addf(out, "%s%s", i ? "," : "", list->v[i]);
        return out->failed;
    }
    return out->failed;
}
