#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct row {
    int code, http, retry;
    const char *name, *text;
};

static const struct row rows[] = {
#define ERR_ROW(name, value, http, retry, text) {(value), (http), (retry), #name, (text)},
    ERR_TABLE(ERR_ROW)
#undef ERR_ROW
};

static const struct row *find(int code)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].code == code)
            return &rows[i];
    }
    return NULL;
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    if (e) {
        va_list ap;
        e->code = code;
        e->param[0] = 0;
        va_start(ap, fmt);
        vsnprintf(e->text, sizeof e->text, fmt, ap);
        va_end(ap);
    }
    return code;
}

int err_set_param(struct err *e, int code, const char *param, const char *fmt, ...)
{
    if (e) {
        va_list ap;
        e->code = code;
        snprintf(e->param, sizeof e->param, "%s", param);
        va_start(ap, fmt);
        vsnprintf(e->text, sizeof e->text, fmt, ap);
        va_end(ap);
    }
    return code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    char old[sizeof e->text];
    va_list ap;
    size_t n;

    if (!e)
        return ERR_INTERNAL;
    memcpy(old, e->text, sizeof old);
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    n = strlen(e->text);
    snprintf(e->text + n, sizeof e->text - n, ": %s", old);
    return e->code;
}

const char *plural(long long n)
{
    return n == 1 ? "" : "s";
}

const char *err_name(int code)
{
    const struct row *r = find(code);
    return r ? r->name : "UNKNOWN";
}

const char *err_text(int code)
{
    const struct row *r = find(code);
    return r ? r->text : "unknown error";
}

int err_http_status(int code)
{
    const struct row *r = find(code);
    return r ? r->http : 500;
}

int err_is_retryable(int code)
{
    const struct row *r = find(code);
    return r ? r->retry : 0;
}
