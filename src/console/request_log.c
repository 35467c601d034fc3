/* The log's line of a request. */
#include "base/clock.h"
#include "base/log.h"
#include "console/console_int.h"

static const char *text(const char *s)
{
    return s ? s : "";
}

void request_log(const struct row_live *l, const struct row_end *e, const char *model)
{
    const struct row *r = &l->row;
    enum log_level level =
        e->is_api || e->status >= 500 || e->code == ERR_FORBIDDEN ? LOG_INFO : LOG_DEBUG;

    LOG_EVENT(level, "request", LOG_STR("id", r->id), LOG_STR("peer", e->peer),
              LOG_STR("method", e->method), LOG_STR("path", e->path), LOG_INT("status", e->status),
              LOG_STR("tenant", e->tenant), LOG_STR("key", e->key_id), LOG_STR("model", model),
              LOG_INT("stream", e->stream), LOG_INT("prompt", e->usage.prompt_tokens),
              LOG_INT("cached", e->usage.cached_tokens),
              LOG_INT("completion", e->usage.completion_tokens),
              LOG_INT("queue_ms", e->times.queue_us / 1000),
              LOG_INT("first_ms", r->first_us ? (r->first_us - r->started_us) / 1000 : 0),
              LOG_INT("total_ms", (clock_now_us() - r->started_us) / 1000),
              LOG_STR("finish", text(e->finish)),
              LOG_STR("error", e->code ? err_name(e->code) : ""), LOG_STR("why", text(e->why)),
              LOG_STR("client_id", r->client_id), LOG_STR("route", text(e->route)));
}
