#include "base/config_form.h"

#include <string.h>

#include "base/json_write.h"

/* ---- JSON Schema ----------------------------------------------------------------------------- */

static void put_words(const char *words, struct buf *out)
{
    buf_add_str(out, "\"enum\":[");
    for (const char *p = words; *p;) {
        size_t n = strcspn(p, "|");
        json_put_text(out, p, n);
        p += n;
        if (*p == '|') {
            buf_add_char(out, ',');
            p++;
        }
    }
    buf_add_char(out, ']');
}

static void put_bounds(const struct config_setting *s, struct buf *out)
{
    buf_add_str(out, "\"type\":\"integer\"");
    if (s->min == 0 && s->max == 0)
        return;
    buf_addf(out, ",\"minimum\":%.0f,\"maximum\":%.0f", s->min, s->max);
}

static void put_type(const struct config_setting *s, struct buf *out)
{
    switch (s->kind) {
    case CONFIG_STR:
        buf_add_str(out, "\"type\":[\"string\",\"number\",\"boolean\"]");
        break;
    case CONFIG_INT:
        put_bounds(s, out);
        break;
    case CONFIG_SIZE:
        buf_add_str(out, "\"type\":[\"integer\",\"string\"],"
                         "\"pattern\":\"^[0-9.]+([KMGTkmgt](iB|B)?)?$\"");
        break;
    case CONFIG_TIME:
        buf_add_str(out, "\"type\":[\"number\",\"string\"],\"pattern\":\"^[0-9.]+(ms|s|m|h)?$\"");
        break;
    case CONFIG_BOOL:
        buf_add_str(out, "\"enum\":[true,false,\"true\",\"false\",\"on\",\"off\",\"yes\",\"no\"]");
        break;
    case CONFIG_CHOICE:
        put_words(s->arg, out);
        break;
    case CONFIG_STRS:
        buf_addf(out,
                 "\"type\":[\"array\",\"string\"],\"items\":{\"type\":\"string\"},"
                 "\"maxItems\":%d",
                 CONFIG_STRS_MAX);
        break;
    }
}

int config_schema(const struct config_setting *t, int first, struct buf *out)
{
    for (; t->name; t++, first = 0) {
        if (!first)
            buf_add_char(out, ',');
        json_put_str(out, t->name);
        buf_add_str(out, ":{");
        put_type(t, out);
        buf_add_str(out, ",\"description\":");
        json_put_str(out, t->help);
        if (t->dflt && *t->dflt) {
            buf_add_str(out, ",\"default\":");
            if (t->kind == CONFIG_INT || t->kind == CONFIG_BOOL)
                buf_add_str(out, t->dflt); /* a number, or true and false */
            else
                json_put_str(out, t->dflt);
        }
        buf_add_char(out, '}');
    }
    return out->failed;
}

/* ---- commented YAML -------------------------------------------------------------------------- */

/* What may stand behind the key, for people. */
static const char *wants(const struct config_setting *s)
{
    switch (s->kind) {
    case CONFIG_SIZE:
        return "bytes: 512K, 64M, 2G";
    case CONFIG_TIME:
        return "a time: 250ms, 10s, 5m, 1h";
    case CONFIG_STRS:
        return "a list: [a, b]";
    case CONFIG_BOOL:
        return "true or false";
    default:
        return NULL;
    }
}

int config_template(const struct config_setting *t, const char *indent, struct buf *out)
{
    for (; t->name; t++) {
        const char *form = wants(t);

        buf_addf(out, "%s# %s", indent, t->help);
        if (t->kind == CONFIG_CHOICE) {
            buf_add_str(out, ": ");
            for (const char *p = t->arg; *p; p++) {
                if (*p == '|')
                    buf_add_str(out, ", ");
                else
                    buf_add_char(out, *p);
            }
        } else if (form) {
            buf_addf(out, " (%s)", form);
        }
        buf_addf(out, "\n%s#%s: %s\n", indent, t->name,
                 t->dflt && *t->dflt      ? t->dflt
                 : t->kind == CONFIG_STRS ? "[]"
                 : t->kind == CONFIG_STR  ? "\"\""
                                          : "");
    }
    return out->failed;
}
