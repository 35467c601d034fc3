/* gaufre list: models here and in the catalogue. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cmd/cmd.h"
#include "hub/hub.h"

struct list_opts {
    int json, names, local;
};

static const struct opt list_table[] = {
    OPT_FLAG('l', "local", list_opts, local, "only what is on this machine"),
    OPT_FLAG(0, "names", list_opts, names, "names only, one a line"),
    OPT_FLAG(0, "json", list_opts, json, "print JSON"),
    OPT_END,
};

static json_t *make_row(const struct hub_model *m)
{
    json_t *j = json_pack("{s:o, s:b, s:b, s:I, s:s}", "name", cmd_json_str(m->name), "local",
                          m->path != NULL, "in_catalogue", m->known, "bytes", (json_int_t)m->bytes,
                          "sha256", m->sha256);

    if (m->path)
        json_object_set_new(j, "path", cmd_json_str(m->path));
    if (m->partial)
        json_object_set_new(j, "partial_bytes", json_integer((json_int_t)m->partial));
    json_object_set_new(j, "title", cmd_json_str(m->title));
    json_object_set_new(j, "description", cmd_json_str(m->description));
    json_object_set_new(j, "licence", cmd_json_str(m->licence));
    json_object_set_new(j, "source", cmd_json_str(m->source));
    return j;
}

static void print_json(const struct hub_models *m, int local)
{
    json_t *list = json_array();

    for (size_t i = 0; i < m->n; i++) {
        if (m->v[i].path || !local)
            json_array_append_new(list, make_row(&m->v[i]));
    }
    cmd_json(list, JSON_INDENT(2));
}

static void print_row(const struct hub_model *m, int width)
{
    char size[32], state[48] = "";

    if (m->path)
        snprintf(state, sizeof state, "here");
    else if (m->partial)
        snprintf(state, sizeof state, "%d%%",
                 (int)(m->partial < m->bytes ? m->partial * 100 / m->bytes : 99));
    cmd_line(stdout, "%-*s  %10s  %-5s  %s%s%s", width, m->name,
             cmd_bytes(m->bytes, size, sizeof size), state, m->title[0] ? m->title : m->source,
             m->licence[0] ? "; " : "", m->licence);
}

static int list_run(const struct cmd *c, void *opts, int argc, char **argv)
{
    const struct list_opts *o = opts;
    struct hub_models m;
    struct hub *hub;
    struct err e = {0};
    int width = 12, n_shown = 0;

    if (hub_open(&hub, &e))
        return cmd_fail(c, &e);
    if (hub_list(hub, &m, &e)) {
        hub_close(hub);
        return cmd_fail(c, &e);
    }
    for (size_t i = 0; i < m.n; i++) {
        if ((int)strlen(m.v[i].name) > width)
            width = (int)strlen(m.v[i].name);
    }
    if (o->json)
        print_json(&m, o->local);
    for (size_t i = 0; i < m.n && !o->json; i++) {
        if (o->local && !m.v[i].path)
            continue;
        n_shown++;
        if (o->names)
            cmd_line(stdout, "%s", m.v[i].name);
        else
            print_row(&m.v[i], width);
    }
    if (!o->json && !n_shown)
        cmd_note("no model under %s yet; 'gaufre pull smollm2-135m' gets one", hub_home(hub));
    hub_models_done(&m);
    hub_close(hub);
    return CMD_OK;
}

const struct cmd cmd_list = {
    .name = "list",
    .help = "List the models here and in the catalogue",
    .about = "'here' marks a model that is on this machine, a percentage one whose pull was cut.\n"
             "Rows of your own go into $GAUFRE_HOME/catalogue.json, in the form of the built-in\n"
             "catalogue.",
    .opts = list_table,
    .opts_size = sizeof(struct list_opts),
    .run = list_run,
};
