/* gaufre doctor: what of this machine to change before it serves, by which command, and what that
 * is worth. */
#include "cmd/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/configured.h"
#include "hub/hub.h"

struct doctor_opts {
    const char *config, *root;
    int json;
};

/* clang-format off */
static const struct opt opts[] = {
    OPT_FILE('c', "config", NULL, doctor_opts, config, "the server's configuration: look at what it names, too"),
    OPT_FLAG(0, "json", doctor_opts, json, "one JSON object a check and line"),
    OPT_STR(0, "root", "DIR", NULL, doctor_opts, root, "read DIR/proc, DIR/sys and DIR/run instead of this machine's"),
    OPT_END,
};

/* In the order of output; ended by a row without name. */
static const struct doctor_check checks[] = {
    {"configuration", "the server starts", doctor_configuration},
    {"models", "they are loaded, and not refused", doctor_models},
    {"memory_limit", "gaufre is not killed when its KV cache fills", doctor_memory_limit},
    {"cpu", "AVX2 and later instructions do most of a model's work", doctor_cpu},
    {"cpu_quota", "no thread of a step is put to sleep while the others wait for it", doctor_cpu_quota},
    {"huge_pages", "weights are read with far fewer address look-ups, above all in virtual machines", doctor_huge_pages},
    {"governor", "the first tokens after a pause come at full speed", doctor_governor},
    {"numa", "weights are read from the memory that is near", doctor_numa},
    {"overcommit", "large maps of models and KV caches are not refused", doctor_overcommit},
    {"open_files", "clients are not refused for want of descriptors", doctor_open_files},
    {"backlog", "bursts of new connections are not refused", doctor_backlog},
    {"clock", "budgets, prices and bills have the right day, certificates their time", doctor_clock},
    {"disk", "what was answered is booked", doctor_disk},
    {"flush", "rows are safe sooner; no answer waits for that", doctor_flush},
    {"certificates", "suppliers and receivers of webhooks are reached", doctor_certificates},
    {"secrets", "keys stay secret", doctor_secrets},
    {"rapl", "energy is measured, not estimated", doctor_rapl},
    {NULL, NULL, NULL},
};
/* clang-format on */

static const char *const state_names[] = {"ok", "skip", "advice", "must"};

int doctor_read(const struct doctor *d, const char *path, char *out, size_t cap)
{
    char full[4096];
    ssize_t n, len = 0;
    int fd;

    if (snprintf(full, sizeof full, "%s%s", d->root, path) >= (int)sizeof full) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -1;
    while ((n = read(fd, out + len, cap - 1 - (size_t)len)) > 0)
        len += n;
    close(fd);
    if (n < 0 && !len)
        return -1;
    while (len && out[len - 1] == '\n')
        len--;
    out[len] = 0;
    return (int)len;
}

void doctor_say(struct finding *f, enum doctor_state state, const char *fmt, ...)
{
    va_list ap;

    f->state = state;
    va_start(ap, fmt);
    vsnprintf(f->found, sizeof f->found, fmt, ap);
    va_end(ap);
}

void doctor_fix(struct finding *f, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(f->fix, sizeof f->fix, fmt, ap);
    va_end(ap);
}

static int print(const struct doctor_check *c, const struct finding *f, int json)
{
    int is_well = f->state < DOCTOR_ADVICE;
    json_t *j;

    if (!json) {
        cmd_line(stdout, "%-7s %-14s %s", state_names[f->state], c->name, f->found);
        if (!is_well) {
            cmd_line(stdout, "%7s %-14s do:    %s", "", "", f->fix);
            cmd_line(stdout, "%7s %-14s worth: %s", "", "", c->worth);
        }
        return 0;
    }
    j = json_pack("{s:s, s:s, s:o}", "check", c->name, "state", state_names[f->state], "found",
                  cmd_json_str(f->found));
    if (j && !is_well) {
        json_object_set_new(j, "do", cmd_json_str(f->fix));
        json_object_set_new(j, "worth", json_string(c->worth));
    }
    return cmd_json(j, JSON_COMPACT);
}

static int examine(const struct cmd *cmd, const struct doctor *d, int json)
{
    int n[4] = {0};

    for (const struct doctor_check *c = checks; c->name; c++) {
        struct finding f = {.state = DOCTOR_SKIP};
        c->look(d, &f);
        n[f.state]++;
        if (print(c, &f, json))
            return CMD_FAILED;
    }
    cmd_note("%d must change, %d would help, %d in order", n[DOCTOR_MUST], n[DOCTOR_ADVICE],
             n[DOCTOR_OK]);
    return n[DOCTOR_MUST] ? CMD_FAILED : CMD_OK;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    const struct doctor_opts *o = opts_;
    struct doctor d = {.root = o->root ? o->root : "", .config_path = o->config};
    struct serve_config c;
    struct err e = {0}, no_config = {0};
    struct hub *h = NULL;
    int code;

    if (hub_open(&h, &e))
        return cmd_fail(cmd, &e);
    d.home = hub_home(h);
    serve_config_init(&c);
    if (o->config && configured(&c, o->config, &no_config))
        d.config_error = no_config.text;
    else if (o->config)
        d.config = &c;
    code = examine(cmd, &d, o->json);
    serve_config_done(&c);
    hub_close(h);
    return code;
}

const struct cmd cmd_doctor = {
    .name = "doctor",
    .help = "Look at this machine, and say what to change before it serves",
    .about = "Each line is a check: ok, skip (cannot be known here, or does not matter), advice "
             "(it would\n"
             "work better) or must (it does not work, or soon will not), with what to do and what "
             "that is\n"
             "worth. Run it as the user of the server, with its configuration. The exit code is 1 "
             "where\n"
             "something must change. Nothing is changed; 60 KiB are written beside the ledger to "
             "time the\n"
             "disk, and removed.",
    .opts = opts,
    .opts_size = sizeof(struct doctor_opts),
    .n_args_min = 0,
    .n_args_max = 0,
    .run = run,
};
