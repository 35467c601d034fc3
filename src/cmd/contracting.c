/* gaufre contract: contracts as files: begin one, check it, look at it as it was known on a day,
 * compare two, and hand it to other programs. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/day.h"
#include "cmd/cmd.h"
#include "cmd/configured.h"
#include "cmd/contract_form.h"

#define FILES_MAX 256

struct contract_opts {
    const char *as_of, *config;
    int json, csv;
    int64_t now_s;
};

static const struct opt opts[] = {
    OPT_STR(0, "as-of", "DAY", NULL, contract_opts, as_of,
            "show, export: as it was known on that day (today)"),
    OPT_FILE('c', "config", NULL, contract_opts, config,
             "check: its sites and tenants must be in this configuration"),
    OPT_FLAG(0, "json", contract_opts, json, "show, diff: as JSON"),
    OPT_FLAG(0, "csv", contract_opts, csv, "export: the tranches, comma-separated; else JSON"),
    OPT_END,
};

/* ---- check ----------------------------------------------------------------------------------- */

static int has_site(const struct serve_config *s, const struct tranche *t)
{
    for (int i = 0; i < s->n_sites; i++) {
        const char *region = s->sites[i].region;
        if (t->site ? !strcmp(s->sites[i].name, t->site) : region && !strcmp(region, t->region))
            return 1;
    }
    return 0;
}

/* What it names must be there. */
static int check_against(const struct contract_file *f, const struct serve_config *s, struct err *e)
{
    const struct contract *c = contract_file_contract(f);

    for (int i = 0; i < c->n_tranches; i++) {
        const struct tranche *t = &c->tranche[i];
        if (!has_site(s, t))
            return contract_file_err(f, i, t->site ? "site" : "region", e,
                                     "the configuration has no %s '%s'",
                                     t->site ? "site" : "region", t->site ? t->site : t->region);
    }
    return 0;
}

/* Names of contracts are unique among the files that are checked together. */
static int check_names(struct contract_file *const *f, int n, char **argv, struct err *e)
{
    for (int k = 0; k < n; k++) {
        if (!strcmp(contract_file_contract(f[k])->name, contract_file_contract(f[n])->name))
            return contract_file_err(f[n], -1, "contract", e, "%s has this name, too", argv[k]);
    }
    return 0;
}

static int check(const struct contract_opts *o, int n, char **argv, struct err *e)
{
    struct contract_file *f[FILES_MAX] = {NULL};
    struct serve_config config;
    int r = 0;

    serve_config_init(&config);
    if (o->config)
        r = configured(&config, o->config, e);
    for (int i = 0; !r && i < n; i++) {
        r = contract_file_open(&f[i], argv[i], e);
        if (!r)
            r = check_names(f, i, argv, e);
        if (!r && o->config)
            r = check_against(f[i], &config, e);
    }
    for (int i = 0; i < n; i++)
        contract_file_close(f[i]);
    serve_config_done(&config);
    if (!r)
        cmd_note("%d contract%s without a fault", n, plural(n));
    return r;
}

/* ---- show, export ---------------------------------------------------------------------------- */

static int new_form(const struct contract_opts *o, int n, char **argv, struct err *e)
{
    fputs(contract_form, stdout);
    return 0;
}

static int show(const struct contract_opts *o, int n, char **argv, struct err *e)
{
    int r = 0;

    for (int i = 0; !r && i < n; i++) {
        struct contract_file *f;
        r = contract_file_open(&f, argv[i], e);
        if (r)
            break;
        if (o->json) {
            r = cmd_json(contract_view_json(f, o->now_s), JSON_COMPACT | CONTRACT_JSON_FLAGS);
        } else {
            if (i)
                printf("\n");
            contract_print(f, o->now_s);
        }
        contract_file_close(f);
    }
    return r;
}

static int export(const struct contract_opts *o, int n, char **argv, struct err *e)
{
    int r = 0;

    for (int i = 0; !r && i < n; i++) {
        struct contract_file *f;
        r = contract_file_open(&f, argv[i], e);
        if (r)
            break;
        if (o->csv) {
            if (!i)
                contract_csv_head();
            contract_csv(f, o->now_s);
        } else {
            r = cmd_json(contract_json(f), JSON_INDENT(2) | CONTRACT_JSON_FLAGS);
        }
        contract_file_close(f);
    }
    return r;
}

/* ---- diff ------------------------------------------------------------------------------------ */

/* What is compared: the two, and what differs so far. */
struct diff {
    const struct contract_opts *o;
    json_t *changes;
};

static char *scalar(const json_t *v)
{
    return v ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | CONTRACT_JSON_FLAGS) : NULL;
}

static void differ(struct diff *d, const char *path, const json_t *a, const json_t *b)
{
    char *was = scalar(a), *is = scalar(b);

    if (d->o->json)
        json_array_append_new(d->changes,
                              json_pack("{s:s,s:O?,s:O?}", "field", path, "was", a, "is", b));
    else
        cmd_line(stdout, "%-32s %s -> %s", path, was ? was : "-", is ? is : "-");
    free(was);
    free(is);
}

static void compare(struct diff *d, const char *path, const json_t *a, const json_t *b);

/* Which row of another list it is: that of its name, and of its date where several have the name.
 * NULL: there is none. */
static const json_t *partner(const json_t *list, const json_t *row)
{
    const char *name = json_string_value(json_object_get(row, "name"));
    const json_t *target = json_object_get(row, "target"), *found = NULL, *o;
    size_t i;

    json_array_foreach(list, i, o)
    {
        if (strcmp(name, json_string_value(json_object_get(o, "name"))) != 0)
            continue;
        if (json_equal(target, json_object_get(o, "target")))
            return o;
        found = found ? found : o;
    }
    return found;
}

/* Tranches by their names. */
static void compare_tranches(struct diff *d, const json_t *a, const json_t *b)
{
    const json_t *row;
    char at[80];
    size_t i;

    json_array_foreach(a, i, row)
    {
        snprintf(at, sizeof at, "tranches.%s", json_string_value(json_object_get(row, "name")));
        compare(d, at, row, partner(b, row));
    }
    json_array_foreach(b, i, row)
    {
        snprintf(at, sizeof at, "tranches.%s", json_string_value(json_object_get(row, "name")));
        if (!partner(a, row))
            compare(d, at, NULL, row);
    }
}

/* Rows of the basket by their places. */
static void compare_rows(struct diff *d, const char *path, const json_t *a, const json_t *b)
{
    char at[80];

    for (size_t i = 0; i < json_array_size(a) || i < json_array_size(b); i++) {
        snprintf(at, sizeof at, "%s.%zu", path, i + 1);
        compare(d, at, json_array_get(a, i), json_array_get(b, i));
    }
}

static void compare(struct diff *d, const char *path, const json_t *a, const json_t *b)
{
    json_t *v;
    const char *key;
    char at[80];

    if (json_equal(a, b))
        return;
    if (json_is_object(a) && json_is_object(b)) {
        json_object_foreach((json_t *)(uintptr_t)a, key, v)
        {
            snprintf(at, sizeof at, *path ? "%s.%s" : "%s%s", path, key);
            compare(d, at, v, json_object_get(b, key));
        }
        json_object_foreach((json_t *)(uintptr_t)b, key, v)
        {
            snprintf(at, sizeof at, *path ? "%s.%s" : "%s%s", path, key);
            if (!json_object_get(a, key))
                compare(d, at, NULL, v);
        }
    } else if (!strcmp(path, "tranches")) {
        compare_tranches(d, a, b);
    } else if (!strcmp(path, "basket")) {
        compare_rows(d, path, a, b);
    } else {
        differ(d, path, a, b);
    }
}

static int diff(const struct contract_opts *o, int n, char **argv, struct err *e)
{
    struct diff d = {.o = o, .changes = json_array()};
    struct contract_file *f[2] = {NULL};
    json_t *j[2] = {NULL};
    int r = 0;

    for (int i = 0; !r && i < 2; i++) {
        r = contract_file_open(&f[i], argv[i], e);
        if (!r && !(j[i] = contract_json(f[i])))
            r = err_set(e, ERR_NOMEM, "out of memory");
    }
    if (!r)
        compare(&d, "", j[0], j[1]);
    if (!r && o->json)
        r = cmd_json(json_incref(d.changes), JSON_COMPACT | CONTRACT_JSON_FLAGS);
    for (int i = 0; i < 2; i++) {
        json_decref(j[i]);
        contract_file_close(f[i]);
    }
    json_decref(d.changes);
    return r;
}

/* ---- the command ----------------------------------------------------------------------------- */

static const struct verb {
    const char *name, *wants;
    int n_min, n_max;
    int (*run)(const struct contract_opts *o, int n, char **argv, struct err *e);
} verbs[] = {
    {"new", "nothing", 0, 0, new_form},        {"check", "files", 1, FILES_MAX, check},
    {"show", "files", 1, FILES_MAX, show},     {"diff", "two files", 2, 2, diff},
    {"export", "files", 1, FILES_MAX, export},
};

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    struct contract_opts *o = opts_;
    struct err e = {0};

    o->now_s = clock_wall_us() / 1000000;
    if (o->as_of && day_read_moment(o->as_of, NULL, &o->now_s))
        return cmd_usage(cmd, "--as-of wants a day: 2026-12-01");
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        const struct verb *v = &verbs[i];
        if (strcmp(v->name, argv[0]) != 0)
            continue;
        if (argc - 1 < v->n_min || argc - 1 > v->n_max)
            return cmd_usage(cmd, "%s wants %s", v->name, v->wants);
        return v->run(o, argc - 1, argv + 1, &e) ? cmd_fail(cmd, &e) : CMD_OK;
    }
    return cmd_usage(cmd, "wants new, check, show, diff or export, not '%s'", argv[0]);
}

const struct cmd cmd_contract = {
    .name = "contract",
    .help = "Contracts for power in dated tranches: begin, check, show, compare and export them",
    .args = "new|check|show|diff|export [FILE...]",
    .about =
        "'new' prints a commented contract to begin with. 'check' exits with 1 at the first fault\n"
        "and says where it is. 'show' has power, tranches and what is owed by the year; with\n"
        "--as-of nothing that happened later counts. 'diff' lists the fields in which two "
        "versions\n"
        "differ. What 'export' writes as JSON can be read again as a contract.\n\n"
        "  gaufre contract new > acme.yaml\n"
        "  gaufre contract check acme.yaml",
    .opts = opts,
    .opts_size = sizeof(struct contract_opts),
    .n_args_min = 1,
    .n_args_max = -1,
    .complete = CMD_COMPLETE_FILE,
    .run = run,
};
