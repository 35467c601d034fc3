/* Errors as clients see them: one row per code of the program's error table. */
#include <string.h>

#include "api/openai.h"
#include "api/wire_error.h"
#include "base/check.h"
#include "base/json_write.h"

/* An error in the words of the wire; all strings, "" for none. */
struct error_parts {
    const char *message, *type, *param, *code;
    int status;
};

struct row {
    int code;
    const char *type, *name, *param; /* param NULL: the field at fault */
};

static const char invalid[] = "invalid_request_error";
static const char unavailable[] = "service_unavailable_error";

static const struct row rows[] = {
    {ERR_SCHEMA, invalid, "wrong_api_format", "validation_error"},
    {ERR_ARG, invalid, "wrong_api_format", "validation_error"},
    {ERR_FORMAT, invalid, "wrong_api_format", "validation_error"},
    {ERR_LIMIT, invalid, "wrong_api_format", "validation_error"},
    {ERR_UNSUPPORTED, invalid, "unsupported_feature", NULL},
    {ERR_CONTEXT, invalid, "context_length_exceeded", "messages"},
    {ERR_AUTH, invalid, "wrong_api_key", "api_key"},
    {ERR_BUDGET, "payment_required_error", "payment_required", "quota"},
    {ERR_FORBIDDEN, "permission_error", "forbidden", NULL},
    {ERR_NO_MODEL, "not_found_error", "model_not_found", "model"},
    {ERR_NOTFOUND, "not_found_error", "not_found", NULL},
    {ERR_NO_ROUTE, invalid, "unknown_url", NULL},
    {ERR_METHOD, invalid, "method_not_allowed", NULL},
    {ERR_TIMEOUT, "timeout_error", "request_timeout", NULL},
    {ERR_EXISTS, invalid, "already_exists", NULL},
    {ERR_TOO_LARGE, invalid, "request_too_large", NULL},
    {ERR_MEDIA, invalid, "unsupported_media_type", NULL},
    {ERR_RATE_REQUESTS, "too_many_requests_error", "request_quota_exceeded", "quota"},
    {ERR_RATE_TOKENS, "too_many_tokens_error", "token_quota_exceeded", "quota"},
    {ERR_QUOTA, "too_many_tokens_error", "token_quota_exceeded", "quota"},
    {ERR_QUEUE_FULL, "too_many_requests_error", "queue_exceeded", "queue"},
    {ERR_CANCELLED, "cancelled_error", "request_cancelled", NULL},
    {ERR_SLOW_READER, "cancelled_error", "reader_too_slow", NULL},
    {ERR_LOADING, unavailable, "model_loading", "model"},
    {ERR_NOMEM, unavailable, "overloaded", NULL},
    {ERR_AGAIN, unavailable, "overloaded", NULL},
    {ERR_DRAINING, unavailable, "shutting_down", NULL},
    {ERR_FROZEN, unavailable, "engine_frozen", NULL},
    {ERR_SITE_CLOSED, unavailable, "site_closed", "model"},
    {ERR_ABOVE_CONTRACT, "too_many_tokens_error", "contract_exceeded", "quota"},
    {ERR_SUPPLIER_BUSY, "too_many_requests_error", "queue_exceeded", "queue"},
    {ERR_KEY_IN_USE, invalid, "idempotency_key_in_use", NULL},
    {ERR_KEY_REUSED, invalid, "idempotency_key_reused", NULL},
    {ERR_KEY_LOST, invalid, "idempotency_key_used", NULL},
    {ERR_CONTENT, invalid, "content_policy_violation", NULL},
    {ERR_CONNECT, "server_error", "supplier_unreachable", NULL},
    {ERR_SILENT, "timeout_error", "supplier_timeout", NULL},
    {ERR_RESET, "server_error", "supplier_cut", NULL},
    {ERR_SUPPLIER, "server_error", "supplier_error", NULL},
    {ERR_SUPPLIER_AUTH, "server_error", "supplier_refused", NULL},
    {ERR_NUMERIC, "server_error", "numeric_error", NULL},
};
static const struct row internal = {ERR_INTERNAL, "server_error", "internal_error", NULL};

static const struct row *find(int code)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].code == code)
            return &rows[i];
    }
    return &internal;
}

int api_error_row(int i, struct api_error_doc *ret)
{
    const struct row *r = &internal;

    if (i < 0 || (size_t)i > ARRAY_LEN(rows))
        return 0;
    if ((size_t)i < ARRAY_LEN(rows))
        r = &rows[i];
    *ret = (struct api_error_doc){err_http_status(r->code), r->type, r->name, r->param,
                                  err_text(r->code)};
    return 1;
}

static void error_parts(const struct err *e, struct error_parts *ret)
{
    const struct row *r = find(e->code);

    ret->type = r->type;
    ret->code = r->name;
    ret->param = r->param ? r->param : e->param;
    ret->status = err_http_status(e->code);
    /* The sentence of an internal error may hold paths and addresses: it goes to the log only. */
    ret->message = r == &internal || !e->text[0] ? err_text(e->code) : e->text;
    if (ret->status < 400) {
        ret->status = 500;
        ret->message = err_text(ERR_INTERNAL);
    }
}

static void put_members(struct buf *out, const struct error_parts *p)
{
    buf_add_str(out, "\"message\":");
    json_put_str(out, p->message);
    buf_add_str(out, ",\"type\":");
    json_put_str(out, p->type);
    buf_add_str(out, ",\"param\":");
    json_put_str(out, p->param);
    buf_add_str(out, ",\"code\":");
    json_put_str(out, p->code);
}

int openai_error(struct buf *out, const struct err *e, int in_stream)
{
    struct error_parts p;

    error_parts(e, &p);
    buf_add_char(out, '{');
    if (!in_stream) { /* said twice, for those who read the top; a chunk has nothing there */
        put_members(out, &p);
        buf_add_char(out, ',');
    }
    if (!*p.param) /* strings at the top, null in the wrapped form */
        p.param = NULL;
    buf_add_str(out, "\"error\":{");
    put_members(out, &p);
    buf_addf(out, "%s},\"status_code\":%d}", in_stream ? ",\"id\":\"\"" : "", p.status);
    return p.status;
}
