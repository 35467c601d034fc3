/* gaufre demo: a made-up year of a cloud of 33 sites around a real server in this process. */
#include "demo/demo.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/day.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "cmd/configured.h"
#include "cmd/demo_home.h"
#include "cmd/demo_summary.h"

#define DAY_S         INT64_C(86400)
#define MODEL_NONE    "none"
#define CONFIG_FILE   "demo.yaml"
#define SECONDS_LEAST 0.25 /* of a day: an hour has to be looked at */

struct demo_opts {
    const char *host, *model, *keep;
    double minutes;
    int64_t port, days, seed;
    int json;
};

static const struct opt opts[] = {
    OPT_INT('p', "port", "N", "8080", 0, 65535, demo_opts, port,
            "port to listen on, 0: any free one"),
    OPT_STR(0, "host", "HOST", "127.0.0.1", demo_opts, host, "name or address to listen on"),
    OPT_REAL(0, "minutes", "N", "10", 0.05, 1440, demo_opts, minutes, "how long it takes"),
    OPT_INT(0, "days", "N", "365", 1, DEMO_DAYS, demo_opts, days,
            "how many days of its year pass in that time"),
    OPT_INT(0, "seed", "N", "1", 0, 0, demo_opts, seed, "what chance is drawn from"),
    OPT_STR(0, "model", "MODEL", "smollm2-135m", demo_opts, model,
            "of the one real engine; 'none': its site is simulated, too"),
    OPT_FILE(0, "keep", NULL, demo_opts, keep,
             "a new folder for configuration, ledger and log, which is kept"),
    OPT_FLAG(0, "json", demo_opts, json, "print the summary as JSON"),
    OPT_END,
};

struct demo {
    const struct cmd *cmd;
    const struct demo_opts *o;
    struct demo_home home;
    struct demo_world *world;
    struct serve_config config;
    char *model_file; /* NULL: no engine is real */
    const char *model;
    int has_config, code;
    struct demo_story story;
};

/* ---- who ends it ----------------------------------------------------------------------------- */

static _Atomic(struct server *) running; /* NULL: there is none to stop */
static _Atomic int n_stops;

static void on_stop(int sig)
{
    struct server *s = atomic_load(&running);

    if (atomic_fetch_add(&n_stops, 1))
        _exit(128 + sig); /* asked twice: at once */
    if (s)
        serve_drain(s);
}

static void catch_signals(void)
{
    struct sigaction a = {.sa_handler = on_stop, .sa_flags = SA_RESTART};

    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGINT, &a, NULL);
    a.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &a, NULL);
}

/* ---- what is told ---------------------------------------------------------------------------- */

static void on_tell(void *ctx, int64_t wall_us, const char *text)
{
    struct demo *d = ctx;
    struct demo_story *s = &d->story;
    char day[DAY_TEXT_MAX];

    if (s->n_events < DEMO_EVENTS_MAX) {
        struct demo_event *v = &s->event[s->n_events++];
        v->at_s = wall_us / 1000000;
        snprintf(v->text, sizeof v->text, "%s", text);
    }
    cmd_line(stderr, "%s  %s", day_show(wall_us / 1000000, NULL, day), text);
}

static void on_over(void *ctx)
{
    struct server *s = atomic_load(&running);

    (void)ctx;
    if (s)
        serve_drain(s);
}

static void print_schedule(const struct demo *d)
{
    char day[DAY_TEXT_MAX];
    int64_t at_s;
    const char *text;

    fprintf(stderr, "\nWhat will be seen, by your watch and by its calendar:\n\n");
    for (int i = 0; (text = demo_scene(i, &at_s)); i++) {
        int64_t s = (at_s - d->story.from_s) / clock_pace();
        if (at_s < d->story.from_s + d->o->days * DAY_S)
            fprintf(stderr, "  %3d:%02d  %s  %s\n", (int)(s / 60), (int)(s % 60),
                    day_show(at_s, NULL, day), text);
    }
}

static void print_beginning(const struct demo *d, const char *url)
{
    fprintf(stderr,
            "\nSimulated: %d days of a cloud of 33 sites in %g minutes. Sites, weather, tenants, "
            "failures\nand money are made up. The server is real, with its routing, contracts, "
            "ledger and console%s.\n",
            (int)d->o->days, d->o->minutes, d->model ? ",\nand so is the engine of sioux-1" : "");
    fprintf(stderr, "\n");
    cmd_line(stderr, "  Console    %s/console#/sites", url);
    fprintf(stderr, "  Admin key  %s\n", d->home.admin_key);
    print_schedule(d);
    fprintf(stderr, "\nIt begins now (ctrl-C ends it).\n\n");
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- its parts ------------------------------------------------------------------------------- */

static int find_model(struct demo *d)
{
    struct err e = {0};

    if (!strcmp(d->o->model, MODEL_NONE))
        return 0;
    if (demo_model_find(d->o->model, &d->model_file, &e)) {
        cmd_note("%s; so all sites are simulated, and no engine is real", e.text);
        return 0;
    }
    d->model = strrchr(d->o->model, '/') ? "small" : d->o->model;
    return strpbrk(d->model_file, "\"\\\n") ? -1 : 0;
}

static int make_config(struct demo *d, struct err *e)
{
    const struct demo_places places = {d->o->host, d->home.path, (int)d->o->port, d->model_file};
    char path[DEMO_PATH_MAX + 32];
    struct buf text;
    int r;

    buf_init(&text, DEMO_TEXT_MAX);
    r = demo_config(d->world, &places, &text, e);
    if (!r)
        r = demo_home_write(&d->home, CONFIG_FILE, &text, e);
    buf_done(&text);
    if (!r)
        r = demo_home_fill(&d->home, d->story.from_s, e);
    if (r)
        return r;
    setenv("GAUFRE_HOME", d->home.path, 1);
    serve_config_init(&d->config);
    d->has_config = 1;
    r = configured(&d->config, demo_home_file(&d->home, CONFIG_FILE, path), e);
    log_setup((enum log_level)d->config.log_level, d->config.log_format);
    return r ? r : log_open(d->config.log_file, e);
}

static int make_world(struct demo *d, struct err *e)
{
    const struct demo_setup setup = {.seed = (uint64_t)d->o->seed,
                                     .n_days = (int)d->o->days,
                                     .model = d->model,
                                     .tell = on_tell,
                                     .over = on_over,
                                     .ctx = d};
    int r = demo_home_open(&d->home, d->o->keep, e);

    if (!r)
        r = demo_open(&d->world, &setup, e);
    return r ? r : make_config(d, e);
}

static int begin(struct demo *d, struct server *s, struct err *e)
{
    char url[SERVE_URL_MAX];
    struct demo_doors doors = {.url = serve_config_url(&d->config, serve_port(s), url, sizeof url),
                               .admin_key = d->home.admin_key};

    for (int i = 0; i < DEMO_TENANTS; i++)
        doors.key[i] = d->home.key[i];
    print_beginning(d, url);
    return demo_start(d->world, &doors, e);
}

/* From the first day to the last, or until somebody stops it. */
static int live(struct demo *d, struct err *e)
{
    struct server *s = NULL;
    int r = serve_open(&s, &d->config, e);

    if (r)
        return r;
    atomic_store(&running, s);
    if (atomic_load(&n_stops))
        serve_drain(s);
    r = serve_wait_ready(s, e);
    if (!r)
        r = begin(d, s, e);
    if (r) {
        r = r == ERR_DRAINING ? 0 : r;
        serve_drain(s);
    }
    while (serve_run(s, e) == SERVE_RELOAD)
        serve_reloaded(s, NULL); /* nothing of its configuration changes */
    demo_stop(d->world);
    atomic_store(&running, NULL);
    demo_close(d->world, &d->story.counts);
    d->world = NULL;
    d->story.until_s = least(clock_wall_us() / 1000000, d->story.from_s + d->o->days * DAY_S);
    serve_close(s);
    return r;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int play(struct demo *d)
{
    struct err e = {0};
    int r;

    r = make_world(d, &e);
    if (!r)
        r = live(d, &e);
    if (!r && d->story.until_s > d->story.from_s)
        r = demo_summary(&d->home, &d->story, d->o->json, &e);
    if (!r && d->story.counts.n_acts_failed)
        r = err_set(&e, ERR_INTERNAL, "the server refused %d of %d acts of the script",
                    d->story.counts.n_acts_failed, d->story.counts.n_acts);
    if (!r && d->home.is_kept)
        cmd_note("configuration, ledger and log of this demonstration are in %s", d->home.path);
    return r ? cmd_fail(d->cmd, &e) : CMD_OK;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    const struct demo_opts *o = opts_;
    struct demo *d;
    int code;

    (void)argc;
    (void)argv;
    if (o->minutes * 60 < (double)o->days * SECONDS_LEAST)
        return cmd_usage(cmd, "%d days take at least %.2f minutes; --days N shows fewer",
                         (int)o->days, (double)o->days * SECONDS_LEAST / 60);
    d = calloc(1, sizeof *d);
    if (!d)
        return CMD_FAILED;
    d->cmd = cmd;
    d->o = o;
    day_read(DEMO_FROM, NULL, &d->story.from_s);
    if (find_model(d)) {
        code = cmd_usage(cmd, "the model's path has quotes in it");
    } else {
        catch_signals();
        clock_pretend(d->story.from_s * 1000000,
                      (int64_t)((double)(o->days * DAY_S) / (o->minutes * 60)));
        code = play(d);
    }
    demo_close(d->world, NULL);
    if (d->has_config)
        serve_config_done(&d->config);
    demo_home_close(&d->home);
    free(d->model_file);
    free(d);
    return code;
}

const struct cmd cmd_demo = {
    .name = "demo",
    .help = "A simulated year of a cloud of 33 sites in ten minutes, to look at in the console",
    .about =
        "Around a real server in this process there are simulated sites, weather, tenants and\n"
        "contracts: a tranche is late, the grid calls, a supplier fails, a heat wave comes,\n"
        "demand spikes. All that is made up is named as simulated. Open the console at the URL\n"
        "that it prints. At the end it says what the year came to: energy by part, and what each\n"
        "contract owes. Everything is in a private folder that is removed, unless --keep.",
    .opts = opts,
    .opts_size = sizeof(struct demo_opts),
    .n_args_min = 0,
    .n_args_max = 0,
    .run = run,
};
