/* gaufre log: the requests that a server has answered, and those it answers now. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/day.h"
#include "cmd/cmd.h"
#include "cmd/ledger_path.h"
#include "console/request_store.h"

#define FOLLOW_US  500000
#define DURATION_S 86400

struct log_opts {
    const char *log, *id, *tenant, *key, *model, *supplier, *status, *since;
    double slower;
    int64_t n;
    int follow, failed, json, texts, export, forget;
};

enum { EXPORT_MESSAGES = 1, EXPORT_EVALS };

static const struct opt opts[] = {
    OPT_FLAG('f', "follow", log_opts, follow, "wait for further ones, until Ctrl-C"),
    OPT_INT('n', "lines", "N", "50", 0, 1e9, log_opts, n, "the newest N; 0: all"),
    OPT_STR(0, "tenant", "NAME", NULL, log_opts, tenant, "of this tenant"),
    OPT_STR(0, "key", "ID", NULL, log_opts, key, "of this key"),
    OPT_STR(0, "model", "ID", NULL, log_opts, model, "of this model"),
    OPT_STR(0, "supplier", "NAME/MODEL", NULL, log_opts, supplier, "served by this supplier"),
    OPT_STR(0, "status", "CODE", NULL, log_opts, status,
            "answered with this status, or one of its hundred: 429, 5xx"),
    OPT_FLAG(0, "failed", log_opts, failed, "that failed: refused, broken or left"),
    OPT_REAL(0, "slower", "SECONDS", NULL, 0, DURATION_S, log_opts, slower,
             "that took at least so long"),
    OPT_STR(0, "since", "DATE", NULL, log_opts, since, "from this day on (UTC): 2026-12-01"),
    OPT_STR(0, "id", "ID", NULL, log_opts, id, "of this id (header x-request-id): all of its row"),
    OPT_FLAG(0, "json", log_opts, json, "one JSON object a line, with all fields"),
    OPT_FLAG(0, "texts", log_opts, texts,
             "with prompts and answers, of tenants that have agreed (keep_texts); as --json"),
    OPT_CHOICE(
        0, "export", "messages|evals", NULL, log_opts, export,
        "only these texts, a JSON line each: {messages: [...]} or {input: [...], ideal: ...}"),
    OPT_FLAG(0, "forget-texts", log_opts, forget,
             "remove the texts of one --tenant, or of one --id, for good; the rows stay"),
    {OPT_KIND_FILE, 'l', "log", "FILE|URL", NULL, 0, 0, offsetof(struct log_opts, log),
     "the request log (default: $GAUFRE_REQUEST_LOG, or requests.db in gaufre's home)"},
    OPT_END,
};

static volatile sig_atomic_t is_stopped;

static void on_stop(int sig)
{
    is_stopped = 1;
}

/* ---- rows ------------------------------------------------------------------------------------ */

struct log {
    const struct log_opts *o;
    int64_t n_rows, last_seq;
};

static void put_at(int64_t at_us, char out[32])
{
    time_t t = (time_t)(at_us / 1000000);
    struct tm tm;
    size_t n;

    gmtime_r(&t, &tm);
    n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, 32 - n, ".%03dZ", (int)(at_us / 1000 % 1000));
}

static json_t *value_of(const struct request_row *r, const struct request_field *f)
{
    const char *at = (const char *)r + f->at;

    return f->is_text ? cmd_json_str(at) : json_integer(*(const int64_t *)(const void *)at);
}

/* A text that was stored as JSON; null: there is none. */
static json_t *stored(const char *text)
{
    json_t *j = text ? json_loads(text, 0, NULL) : NULL;

    return j ? j : json_null();
}

/* What was asked, as a new list of messages. */
static json_t *messages_of(const json_t *request)
{
    const json_t *list = json_object_get(request, "messages"),
                 *prompt = json_object_get(request, "prompt");

    if (json_is_array(list))
        return json_copy((json_t *)(uintptr_t)list);
    return json_pack("[{s:s, s:O}]", "role", "user", "content",
                     prompt ? prompt : json_object_get(request, "input"));
}

/* One line for each request that has both: its first answer is the one that counts. */
static int print_export(const struct log_opts *o, const struct request_row *r)
{
    json_t *request = stored(r->request), *answer = stored(r->answer), *line, *list;
    const json_t *first = json_array_get(answer, 0);

    list = json_is_object(first) ? messages_of(request) : NULL;
    if (!list) {
        json_decref(request);
        json_decref(answer);
        return 0;
    }
    if (o->export == EXPORT_MESSAGES)
        json_array_append(list, (json_t *)(uintptr_t)first);
    line = o->export == EXPORT_MESSAGES ? json_pack("{s:o}", "messages", list)
                                        : json_pack("{s:o, s:O?}", "input", list, "ideal",
                                                    json_object_get(first, "content"));
    json_object_set_new(line, "metadata",
                        json_pack("{s:o, s:o, s:o}", "id", cmd_json_str(r->id), "model",
                                  cmd_json_str(r->model), "tenant", cmd_json_str(r->tenant)));
    json_decref(request);
    json_decref(answer);
    return cmd_json(line, JSON_COMPACT);
}

static int print_json(const struct log_opts *o, const struct request_row *r)
{
    const struct request_field *f;
    json_t *j = json_object();
    char at[32];

    put_at(r->at_us, at);
    json_object_set_new(j, "at", json_string(at));
    for (int i = 0; (f = request_field_row(i)); i++)
        json_object_set_new(j, f->name, value_of(r, f));
    if (o->texts) {
        json_object_set_new(j, "request", stored(r->request));
        json_object_set_new(j, "answer", stored(r->answer));
    }
    return cmd_json(j, JSON_COMPACT);
}

/* All that is known of one request, a line each. */
static int print_whole(const struct request_row *r)
{
    const struct request_field *f;
    char at[32];

    put_at(r->at_us, at);
    for (int i = 0; (f = request_field_row(i)); i++) {
        const char *v = (const char *)r + f->at;
        if (!strcmp(f->name, "at_us"))
            cmd_line(stdout, "%-18s %s", "at", at);
        else if (f->is_text)
            cmd_line(stdout, "%-18s %s", f->name, v);
        else
            cmd_line(stdout, "%-18s %lld", f->name, (long long)*(const int64_t *)(const void *)v);
    }
    return 0;
}

static void print_head(void)
{
    printf("%-24s %-6s %-12s %-20s %-24s %7s %7s %8s %8s  %s\n", "at", "status", "tenant", "model",
           "supplier", "prompt", "answer", "first", "total", "id, and what went wrong");
}

static int print_line(const struct request_row *r)
{
    char at[32];

    put_at(r->at_us, at);
    cmd_line(stdout, "%-24s %-6lld %-12s %-20s %-24s %7lld %7lld %8.3f %8.3f  %s%s%s%s%s", at,
             (long long)r->status, *r->tenant ? r->tenant : "-", *r->model ? r->model : "-",
             *r->supplier ? r->supplier : "-", (long long)r->prompt_tokens,
             (long long)r->completion_tokens, (double)r->first_us / 1e6, (double)r->total_us / 1e6,
             r->id, *r->error ? " " : "", r->error, *r->why ? ": " : "", r->why);
    return 0;
}

static int print_row(void *arg, const struct request_row *r)
{
    struct log *l = arg;

    int is_first = !l->n_rows++;

    l->last_seq = r->seq;
    if (l->o->export)
        return print_export(l->o, r);
    if (l->o->json || l->o->texts)
        return print_json(l->o, r);
    if (l->o->id)
        return print_whole(r);
    if (is_first)
        print_head();
    return print_line(r);
}

/* ---- the command ----------------------------------------------------------------------------- */

/* "429" or "5xx". NULL, or what is wrong. */
static const char *read_status(const char *text, struct request_where *ret)
{
    static const char why[] = "--status wants 100 to 599, or 1xx to 5xx";
    char *end;
    long n = strtol(text, &end, 10);

    if (end == text + 1 && !strcmp(end, "xx") && n >= 1 && n <= 5) {
        ret->status_from = (int)n * 100;
        ret->status_to = (int)n * 100 + 99;
        return NULL;
    }
    if (end != text + 3 || *end || n < 100 || n > 599)
        return why;
    ret->status_from = ret->status_to = (int)n;
    return NULL;
}

static const char *read_where(const struct log_opts *o, struct request_where *ret)
{
    int64_t from_s = 0;

    *ret = (struct request_where){.id = o->id,
                                  .tenant = o->tenant,
                                  .key_id = o->key,
                                  .model = o->model,
                                  .supplier = o->supplier,
                                  .slower_us = (int64_t)(o->slower * 1e6),
                                  .only_failed = o->failed,
                                  .with_texts = o->texts || o->export,
                                  .only_texts = o->export};
    if (o->forget && !o->tenant == !o->id)
        return "--forget-texts wants one --tenant, or one --id";
    if (o->since && day_read(o->since, NULL, &from_s))
        return "--since wants a day like 2026-12-01";
    ret->from_us = from_s * 1000000;
    return o->status ? read_status(o->status, ret) : NULL;
}

static int note_seq(void *arg, const struct request_row *r)
{
    *(int64_t *)arg = r->seq;
    return 0;
}

static int newest(struct request_reader *r, int64_t *ret_seq, struct err *e)
{
    const struct request_where any = {0};

    return request_reader_each(r, &any, 1, note_seq, ret_seq, e);
}

/* Rows of the future, as they come. */
static int follow(struct request_reader *r, struct request_where *w, struct log *l, struct err *e)
{
    int64_t before = 0; /* what was not wanted is not looked at again */
    int code = 0;

    signal(SIGINT, on_stop);
    signal(SIGTERM, on_stop);
    while (!code && !is_stopped) {
        if (fflush(stdout))
            return err_set(e, ERR_IO, "cannot write: %s", strerror(errno));
        clock_sleep_us(FOLLOW_US);
        w->after_seq = l->last_seq;
        code = newest(r, &before, e);
        if (!code)
            code = request_reader_each(r, w, 0, print_row, l, e);
        if (l->last_seq < before)
            l->last_seq = before;
    }
    return code;
}

static int forget(struct request_reader *r, const struct log_opts *o, struct err *e)
{
    int64_t n = 0;
    int code = request_reader_forget(r, o->tenant, o->id, &n, e);

    if (!code)
        cmd_note("the texts of %lld request%s are gone", (long long)n, plural(n));
    return code;
}

static int show(struct request_reader *r, struct request_where *w, struct log *l, struct err *e)
{
    /* rows that others have do not come again */
    int code = l->o->follow ? newest(r, &l->last_seq, e) : 0;

    if (!code)
        code = request_reader_each(r, w, l->o->n, print_row, l, e);
    if (!code && l->o->follow)
        code = follow(r, w, l, e);
    if (!code && l->o->id && !l->n_rows && !l->o->follow)
        code = err_set(e, ERR_NOTFOUND, "no request has the id %s", l->o->id);
    return code;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    const struct log_opts *o = opts_;
    struct log l = {.o = o};
    struct request_reader *r = NULL;
    struct request_where w;
    char path[LEDGER_PATH_MAX];
    const char *wrong = read_where(o, &w);
    int code, is_new = 0;
    struct err e = {0};

    if (wrong)
        return cmd_usage(cmd, "%s", wrong);
    code = request_log_path(o->log, path, &is_new, &e);
    if (!code && is_new)
        code = err_set(&e, ERR_NOTFOUND,
                       "there is no request log: 'gaufre serve --request-log on' keeps one");
    if (!code)
        code = request_reader_open(&r, path, &e);
    if (!code)
        code = o->forget ? forget(r, o, &e) : show(r, &w, &l, &e);
    request_reader_close(r);
    return code ? cmd_fail(cmd, &e) : CMD_OK;
}

const struct cmd cmd_log = {
    .name = "log",
    .help = "Show the requests that a server has answered, or follow them",
    .about = "A server keeps them with 'gaufre serve --request-log on': everything but the texts\n"
             "of prompts and answers, which are kept of tenants that have agreed ('gaufre tenant\n"
             "set NAME --keep-texts DAYS'). Times are seconds: to the first token, and in all.",
    .opts = opts,
    .opts_size = sizeof(struct log_opts),
    .n_args_min = 0,
    .n_args_max = 0,
    .run = run,
};
