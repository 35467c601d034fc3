#include "cmd/energy_opt.h"

#include <stdio.h>

#include "base/log.h"
#include "base/team.h"
#include "hub/hub.h"

#define PATH_TEXT_MAX 4096

static int find_store(struct energy_opt *o, struct err *e)
{
    char path[PATH_TEXT_MAX];
    struct hub *h = NULL;
    int r = hub_open(&h, e);

    if (!r && snprintf(path, sizeof path, "%s/energy.json", hub_home(h)) >= (int)sizeof path)
        r = err_set(e, ERR_ARG, "gaufre's home has too long a name");
    if (!r && !(o->config.energy.store_path = arena_strdup(&o->config.arena, path)))
        r = err_set(e, ERR_NOMEM, "out of memory");
    hub_close(h);
    return r;
}

int energy_opt_read(struct energy_opt *o, const char *path, struct err *e)
{
    int r;

    log_setup(LOG_OFF, 0);
    serve_config_init(&o->config);
    o->source = NULL;
    r = path ? serve_config_read(&o->config, path, e) : 0;
    if (!r)
        r = energy_check(&o->config, e);
    if (!r)
        r = find_store(o, e);
    if (r)
        energy_opt_done(o);
    return r;
}

int energy_opt_open(struct energy_opt *o, int kind, struct err *e)
{
    struct serve_energy *s = &o->config.energy;
    int was = s->kind, r;

    if (kind)
        s->kind = kind;
    r = energy_source_open(&o->source, s, team_cpus(), e);
    s->kind = was;
    return r;
}

void energy_opt_close(struct energy_opt *o)
{
    energy_source_close(o->source);
    o->source = NULL;
}

void energy_opt_done(struct energy_opt *o)
{
    energy_opt_close(o);
    serve_config_done(&o->config);
}
