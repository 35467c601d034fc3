/* gaufre drain: a running server stops; with --to another one goes on with its answers. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cmd/admin_ask.h"
#include "cmd/cmd.h"

#define TO_KEY_ENV "GAUFRE_TO_ADMIN_KEY"
#define LOOK_US    INT64_C(300000)
#define KEY_MAX    4096

struct drain_opts {
    struct admin_server at, to;
    const char *to_ca;
    int keep, json;
};

static const struct opt opts[] = {
    ADMIN_OPTS(drain_opts, at, ""),
    OPT_STR(0, "to", "URL", NULL, drain_opts, to.url,
            "another gaufre with the same weights, that goes on with stored answers"),
    OPT_STR(0, "to-key-env", "NAME", TO_KEY_ENV, drain_opts, to.key_env,
            "environment variable with a key for the admin API there"),
    OPT_FILE(0, "to-key-file", NULL, drain_opts, to.key_file, "or a file with that key"),
    OPT_STR(0, "to-ca", "FILE", NULL, drain_opts, to_ca,
            "certificates that the server trusts for it, a file on the server's machine"),
    OPT_FLAG(0, "keep", drain_opts, keep,
             "answers on their way to a server that never said it has them go on here"),
    OPT_FLAG(0, "json", drain_opts, json, "the end as one JSON object"),
    OPT_END,
};

static int64_t count(const json_t *j, const char *name)
{
    return json_integer_value(json_object_get(j, name));
}

static int ask(const struct drain_opts *o, const char *send, json_t **ret, struct err *e)
{
    return admin_ask(&o->at, send ? "POST" : NULL, "/admin/v1/drain", send, ret, e);
}

/* What the server is asked for, with the other one's key. */
static int put_wish(const struct drain_opts *o, struct buf *out, struct err *e)
{
    struct buf key;
    int r;

    buf_init(&key, KEY_MAX);
    r = admin_read_key(&o->to, &key, e);
    buf_add_str(out, "{\"to\":");
    json_put_str(out, o->to.url);
    if (!r && key.len) {
        buf_add_str(out, ",\"key\":");
        json_put_str(out, key.data);
    }
    if (o->to_ca) {
        buf_add_str(out, ",\"ca_file\":");
        json_put_str(out, o->to_ca);
    }
    buf_add_char(out, '}');
    if (key.data)
        explicit_bzero(key.data, key.len);
    buf_done(&key);
    return r ? r : out->failed ? err_set(e, ERR_ARG, "--to is too long") : 0;
}

static void note(const json_t *j, int64_t *moved, int64_t *left)
{
    const char *why = json_string_value(json_object_get(j, "why"));

    if (count(j, "moved") == *moved && count(j, "left") == *left)
        return;
    *moved = count(j, "moved");
    *left = count(j, "left");
    cmd_note("%lld handed over, %lld left%s%s", (long long)*moved, (long long)*left,
             why ? "; last refusal: " : "", why ? why : "");
}

/* Until nothing is left to hand over: how it was then. */
static int hand_over(const struct drain_opts *o, json_t **ret, struct err *e)
{
    int64_t moved = -1, left = -1;
    struct buf wish;
    int r;

    buf_init(&wish, 2 * KEY_MAX);
    r = put_wish(o, &wish, e);
    if (!r)
        r = ask(o, wish.data, ret, e);
    if (wish.data)
        explicit_bzero(wish.data, wish.len);
    buf_done(&wish);
    while (!r) {
        note(*ret, &moved, &left);
        if (!left)
            break;
        json_decref(*ret);
        *ret = NULL;
        clock_sleep_us(LOOK_US);
        r = ask(o, NULL, ret, e);
    }
    return r;
}

static int show(const struct drain_opts *o, json_t *j)
{
    const char *why = json_string_value(json_object_get(j, "why"));

    if (o->json)
        return cmd_json(j, JSON_COMPACT);
    if (o->to.url)
        cmd_line(stdout, "%lld handed over, %lld finish here%s%s%s", (long long)count(j, "moved"),
                 (long long)count(j, "stayed"), why && count(j, "stayed") ? " (" : "",
                 why && count(j, "stayed") ? why : "", why && count(j, "stayed") ? ")" : "");
    if (count(j, "unknown"))
        cmd_line(stdout,
                 "%lld on their way to a server that did not say whether it has them: "
                 "'gaufre drain --to' once more, or --keep",
                 (long long)count(j, "unknown"));
    if (!o->keep)
        cmd_line(stdout, "the server finishes what runs (%lld), and ends",
                 (long long)count(j, "requests") - 1); /* this one */
    json_decref(j);
    return 0;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    const struct drain_opts *o = opts_;
    json_t *j = NULL, *end = NULL;
    struct err e = {0};
    int r;

    (void)argc;
    (void)argv;
    if (o->keep && o->to.url)
        return cmd_usage(cmd, "--keep goes without --to");
    if (!o->to.url && (o->to.key_file || o->to_ca))
        return cmd_usage(cmd, "--to-key-file and --to-ca go with --to");
    r = o->to.url ? hand_over(o, &j, &e) : 0;
    if (!r)
        r = ask(o, o->keep ? "{\"keep\":true}" : "{}", &end, &e);
    json_decref(j);
    if (!r)
        r = show(o, end);
    return r ? cmd_fail(cmd, &e) : CMD_OK;
}

const struct cmd cmd_drain = {
    .name = "drain",
    .help = "Stop a running server; with --to another one goes on with its answers",
    .about =
        "Asks the server by its admin API. It takes nothing new, finishes what runs and ends, as\n"
        "by SIGTERM. With --to it first hands over the answers that their clients have it store\n"
        "(\"store\": true) and that are not finished: each is stopped between two tokens, goes on\n"
        "at the other server at the next one, with the same bits, and is booked there alone. Its\n"
        "client keeps its connection here and notices nothing. What the other server refuses, and\n"
        "what is not stored, finishes here.\n\n"
        "  export GAUFRE_ADMIN_KEY=... GAUFRE_TO_ADMIN_KEY=...\n"
        "  gaufre drain --server http://10.0.0.1:8080 --to http://10.0.0.2:8080",
    .opts = opts,
    .opts_size = sizeof(struct drain_opts),
    .run = run,
};
