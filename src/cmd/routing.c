/* gaufre route: which supplier gets a request and why: beforehand by a configuration, or afterwards
 * by what a server wrote down. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "base/money.h"
#include "cloud/route_record.h"
#include "cmd/admin_ask.h"
#include "cmd/cmd.h"
#include "job/feature.h"
#include "job/tier.h"
#include "serve/route_try.h"

#define RECORDS_MAX    (ROUTE_RECORD_BYTES_MAX * 2)
#define LINE_BYTES_MAX (16 << 10) /* more than the log writes in one */

struct route_opts {
    const char *config, *model, *log, *like, *region;
    struct admin_server at;
    struct opt_strs needs, failed, busy;
    int64_t tokens, max_tokens, nth;
    int tier, json;
};

/* clang-format off */
static const struct opt opts[] = {
    OPT_FILE('c', "config", NULL, route_opts, config, "try: the configuration of the server"),
    OPT_STR('m', "model", "ID", NULL, route_opts, model, "try: model, as a client names it"),
    OPT_CHOICE(0, "tier", "flex|default|priority|batch", "default", route_opts, tier, "try: tier that was granted"),
    OPT_INT(0, "tokens", "N", "1000", 0, 1e9, route_opts, tokens, "try: tokens of the prompt"),
    OPT_INT(0, "max-tokens", "N", "500", 0, 1e9, route_opts, max_tokens, "try: tokens of the answer"),
    OPT_STRS(0, "needs", "FEATURE", route_opts, needs,
             "try: what it asks for: tools, response_format, reasoning, images, suffix, other"),
    OPT_STR(0, "like", "TEXT", NULL, route_opts, like, "try: how it begins, for 'route: affinity'"),
    OPT_STR(0, "region", "NAME", NULL, route_opts, region, "try: where its user is, for 'route: nearest'"),
    OPT_INT(0, "nth", "N", "1", 1, 1e6, route_opts, nth, "try: it is the N-th request for the model"),
    OPT_STRS(0, "failed", "NAME", route_opts, failed, "try: this supplier fails; may be repeated"),
    OPT_STRS(0, "busy", "NAME=N", route_opts, busy, "try: this supplier has N sequences; may be repeated"),
    ADMIN_OPTS(route_opts, at, "explain: "),
    OPT_FILE('l', "log", NULL, route_opts, log, "explain: or read it from its log"),
    OPT_FLAG(0, "json", route_opts, json, "one JSON object for each decision"),
    OPT_END,
};
/* clang-format on */

/* ---- decisions, made again from their records ------------------------------------------------ */

static json_t *features(uint32_t bits)
{
    json_t *a = json_array();

    for (int i = 0; i < FEATURES; i++) {
        if (bits >> i & 1)
            json_array_append_new(a, json_string(feature_name((enum feature)i)));
    }
    return a;
}

static json_t *amount(int64_t nano)
{
    char text[MONEY_TEXT_MAX];

    return nano < 0 ? json_null() : json_string(money_show(nano, text));
}

static json_t *candidate(const struct route_record *r, int i, const struct route_verdict *v)
{
    const struct route_offer *o = &r->offer[i];

    return json_pack("{s:o, s:s, s:s, s:o, s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:b, s:o, s:o}",
                     "supplier", cmd_json_str(r->name[i]), "reason", route_reason_name(v->why),
                     "why", route_reason_text(v->why), "score",
                     v->score < 0 ? json_null() : json_integer(v->score), "waiting", o->n_waiting,
                     "running", o->n_running, "capacity", o->capacity, "context", o->context,
                     "weight", o->weight, "ttft_ms",
                     o->ttft_us ? json_real((double)o->ttft_us / 1e3) : json_null(), "rtt_ms",
                     o->rtt_us ? json_real((double)o->rtt_us / 1e3) : json_null(), "away",
                     o->is_away, "price", amount(o->price), "price_max", amount(o->price_max));
}

static int print_json(const struct route_record *r, const struct route_verdict *v, int chosen)
{
    json_t *all = json_array();

    for (int i = 0; i < r->n; i++)
        json_array_append_new(all, candidate(r, i, &v[i]));
    return cmd_json(
        json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:o}", "route",
                  route_strategy_name(r->request.strategy), "score_unit",
                  route_score_unit(r->request.strategy), "tier",
                  r->request.tier < TIER_AUTO ? tier_name((enum tier)r->request.tier) : "?",
                  "tokens", (json_int_t)r->request.n_tokens, "needs", features(r->request.needs),
                  "chosen", chosen < 0 ? json_null() : cmd_json_str(r->name[chosen]), "candidates",
                  all),
        JSON_COMPACT);
}

static int print_text(const struct route_record *r, const struct route_verdict *v, int chosen)
{
    const struct route_request *q = &r->request;
    char score[32];

    cmd_line(stdout, "route %s, tier %s, about %" PRId64 " tokens: %s",
             route_strategy_name(q->strategy),
             q->tier < TIER_AUTO ? tier_name((enum tier)q->tier) : "?", q->n_tokens,
             chosen < 0 ? "nobody" : r->name[chosen]);
    for (int i = 0; i < r->n; i++) {
        snprintf(score, sizeof score, "%" PRId64, v[i].score);
        cmd_line(stdout, "  %c %-32s %14s %-18s %s", i == chosen ? '*' : ' ', r->name[i],
                 v[i].score < 0 ? "-" : score, v[i].score < 0 ? "" : route_score_unit(q->strategy),
                 route_reason_text(v[i].why));
    }
    return 0;
}

static int print_all(const char *records, int json, struct err *e)
{
    struct route_record *r = malloc(sizeof *r);
    struct route_verdict v[ROUTE_OFFERS_MAX];
    int more = 0, code = 0;

    if (!r)
        return err_set(e, ERR_NOMEM, "out of memory");
    while (!code && (more = route_record_read(&records, r)) > 0) {
        int chosen = route_pick(&r->request, r->offer, r->n, v);
        code = json ? print_json(r, v, chosen) : print_text(r, v, chosen);
    }
    free(r);
    if (code)
        return err_set(e, code, "out of memory");
    return more < 0 ? err_set(e, more, "the record of a decision cannot be read: was it cut?") : 0;
}

/* ---- try ------------------------------------------------------------------------------------- */

static int read_needs(const struct opt_strs *words, uint32_t *ret)
{
    for (int i = 0; i < words->n; i++) {
        int f = 0;
        while (f < FEATURES && strcmp(feature_name((enum feature)f), words->v[i]) != 0)
            f++;
        if (f == FEATURES)
            return -1;
        *ret |= 1u << f;
    }
    return 0;
}

static int try(const struct cmd *cmd, const struct route_opts *o)
{
    struct route_try t = {
        .model = o->model,
        .want = {.tier = (enum tier)(o->tier - 1),
                 .n_prompt = o->tokens,
                 .n_output = o->max_tokens,
                 .n_longest = o->tokens + o->max_tokens,
                 .region = o->region,
                 .affinity = route_key(o->like ? o->like : "")},
        .failed = o->failed.v,
        .busy = o->busy.v,
        .n_failed = o->failed.n,
        .n_busy = o->busy.n,
        .nth = (uint64_t)o->nth,
    };
    struct err e = {0}, printed = {0};
    struct serve_config c;
    struct buf record;
    int r;

    if (!o->config || !o->model)
        return cmd_usage(cmd, "try wants --config and --model");
    if (read_needs(&o->needs, &t.want.needs))
        return cmd_usage(cmd, "--needs: tools, response_format, reasoning, images, suffix, other");
    serve_config_init(&c);
    buf_init(&record, RECORDS_MAX);
    r = serve_config_read(&c, o->config, &e);
    if (!r)
        r = serve_config_check(&c, &e);
    if (!r)
        r = serve_route_try(&c, &t, &record, &e);
    print_all(record.data ? record.data : "", o->json, &printed);
    buf_done(&record);
    serve_config_done(&c);
    if (!r && printed.code)
        return cmd_fail(cmd, &printed);
    return r ? cmd_fail(cmd, &e) : CMD_OK;
}

/* ---- explain --------------------------------------------------------------------------------- */

/* The value of `key` in a line of the log, text or JSON; its length, 0: it has none. */
static size_t log_value(const char *line, const char *key, const char **ret)
{
    char text[64], json[64];
    const char *p;

    snprintf(text, sizeof text, " %s=", key);
    snprintf(json, sizeof json, "\"%s\":", key);
    if ((p = strstr(line, json)) && p[strlen(json)] == '"')
        p += strlen(json);
    else if ((p = strstr(line, text)))
        p += strlen(text);
    else
        return 0;
    if (*p == '"') {
        *ret = p + 1;
        return strcspn(*ret, "\"\n");
    }
    *ret = p;
    return strcspn(p, " \n");
}

/* The newest line of that request; its record into `ret`. */
static int find_in_log(const char *path, const char *id, struct buf *ret, struct err *e)
{
    FILE *f = fopen(path, "re");
    char line[LINE_BYTES_MAX];
    const char *v;
    size_t n;
    int found = 0, is_rest = 0;

    if (!f)
        return err_set(e, ERR_IO, "%s cannot be read", path);
    while (fgets(line, sizeof line, f)) {
        int is_begin = !is_rest;
        is_rest = !strchr(line, '\n');
        n = is_begin ? log_value(line, "id", &v) : 0;
        if (!n || n != strlen(id) || memcmp(v, id, n) != 0)
            continue;
        n = log_value(line, "route", &v);
        if (!n)
            continue;
        buf_clear(ret);
        buf_add(ret, v, n);
        found = 1;
    }
    fclose(f);
    if (ret->failed)
        return err_set(e, ret->failed, "out of memory");
    return found ? 0 : err_set(e, ERR_NOTFOUND, "%s has no decision about request %s", path, id);
}

static int from_log(const struct route_opts *o, const char *id, struct err *e)
{
    struct buf record;
    int r;

    buf_init(&record, RECORDS_MAX);
    r = find_in_log(o->log, id, &record, e);
    if (!r)
        r = print_all(record.data, o->json, e);
    buf_done(&record);
    return r;
}

static const char *told(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "?";
}

/* What the server tells of one decision. Members that are missing are told as "?". */
static void print_told(const json_t *d)
{
    const char *chosen = json_string_value(json_object_get(d, "chosen"));
    const char *unit = told(d, "score_unit");
    const json_t *all = json_object_get(d, "candidates"), *score;
    char text[32];

    cmd_line(stdout, "route %s, tier %s, about %lld tokens: %s", told(d, "route"), told(d, "tier"),
             (long long)json_integer_value(json_object_get(d, "tokens")),
             chosen ? chosen : "nobody");
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *c = json_array_get(all, i);
        score = json_object_get(c, "score");
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(score));
        cmd_line(stdout, "  %c %-32s %14s %-18s %s",
                 chosen && !strcmp(told(c, "supplier"), chosen) ? '*' : ' ', told(c, "supplier"),
                 json_is_integer(score) ? text : "-", json_is_integer(score) ? unit : "",
                 told(c, "why"));
    }
}

static int print_answer(const json_t *root, int json, struct err *e)
{
    const json_t *all = json_object_get(root, "decisions");
    int r = 0;

    if (!json_is_array(all))
        r = err_set(e, ERR_FORMAT, "the server's answer has no decisions");
    for (size_t i = 0; !r && i < json_array_size(all); i++) {
        if (json)
            r = cmd_json(json_incref(json_array_get(all, i)), JSON_COMPACT);
        else
            print_told(json_array_get(all, i));
    }
    return r;
}

static int from_server(const struct route_opts *o, const char *id, struct err *e)
{
    struct buf path;
    json_t *root = NULL;
    int r;

    buf_init(&path, 8192);
    buf_add_str(&path, "/v1/engine/requests/");
    admin_put_part(&path, id);
    buf_add_str(&path, "/route");
    r = path.failed ? err_set(e, ERR_ARG, "the request's id is too long")
                    : admin_ask(&o->at, NULL, path.data, NULL, &root, e);
    if (r == ERR_NOTFOUND)
        err_set(e, r, "the server has no decision about request %s (any more): look into its log",
                id);
    if (!r)
        r = print_answer(root, o->json, e);
    json_decref(root);
    buf_done(&path);
    return r;
}

static int explain(const struct cmd *cmd, const struct route_opts *o, const char *id)
{
    struct err e = {0};
    int r = o->log ? from_log(o, id, &e) : from_server(o, id, &e);

    return r ? cmd_fail(cmd, &e) : CMD_OK;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    const struct route_opts *o = opts_;

    if (!strcmp(argv[0], "try") && argc == 1)
        return try(cmd, o);
    if (!strcmp(argv[0], "explain") && argc == 2)
        return explain(cmd, o, argv[1]);
    return cmd_usage(cmd, "wants 'try', or 'explain' and the id of a request");
}

const struct cmd cmd_route = {
    .name = "route",
    .help = "Show which supplier gets a request, and why each other one does not",
    .args = "try|explain [ID]",
    .about =
        "'try' decides as a server with that configuration would, with nothing started: every\n"
        "supplier of the model, its score, or what speaks against it.\n"
        "'explain' takes the decisions about a request again, from what the server has\n"
        "written into its log.",
    .opts = opts,
    .opts_size = sizeof(struct route_opts),
    .n_args_min = 1,
    .n_args_max = 2,
    .run = run,
};
