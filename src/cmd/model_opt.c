#include "cmd/model_opt.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/team.h"
#include "cmd/progress.h"
#include "hub/hub.h"

/* Fill an engine_config from the options. */
static int model_config(struct engine_config *c, const struct model_opt *o, struct err *e)
{
    int rc;

    *c = (struct engine_config){.template_file = o->template_file,
                                .cls = o->cls ? (enum engine_class)(o->cls - 1) : ENGINE_AUTO,
                                .kv = o->kv,
                                .kv_bytes_max = (size_t)o->kv_memory,
                                .context_max = (int32_t)o->context,
                                .chunk = (int32_t)o->chunk,
                                .batch_max = (int32_t)o->batch,
                                .no_prefix_cache = o->no_cache,
                                .no_speculation = o->no_speculation};
    if (o->cpu && strcmp(o->cpu, "auto")) {
        enum kern_isa isa;
        rc = kern_isa_parse(o->cpu, &isa, e);
        if (rc)
            return rc;
        c->cpu = 1 + (int)isa;
    }
    return 0;
}

static void on_progress(void *arg, double done)
{
    progress_set(arg, (uint64_t)(done * 1000));
}

/* The model's file, and the sampling that the catalogue recommends for it. */
static int find_file(struct model_run *r, struct engine_config *c, const char *spec, struct err *e)
{
    struct hub *hub = NULL;
    int rc = hub_open(&hub, e);

    if (!rc)
        rc = hub_resolve(hub, spec, &r->path, e);
    if (!rc && hub_sampling(hub, r->path, &r->sampling))
        c->sampling = &r->sampling;
    hub_close(hub);
    return rc;
}

int model_open(struct model_run *r, const char *spec, const struct model_opt *o, struct err *e)
{
    struct engine_config c;
    struct progress bar;
    int rc;

    *r = (struct model_run){0};
    rc = model_config(&c, o, e);
    if (!rc)
        rc = find_file(r, &c, spec, e);
    if (!rc)
        rc = team_open(&r->team, (int)o->threads, e);
    if (rc)
        goto fail;
    team_set_part_time(r->team, !o->no_part_time);
    c.path = r->path;
    c.name = strchr(spec, '/') ? NULL : spec;
    progress_start(&bar, "loading", PROGRESS_COUNT, 1000, 0);
    rc = engine_open(&r->engine, &c, r->team, on_progress, &bar, e);
    progress_stop(&bar, 1);
    if (rc)
        goto fail;
    return 0;
fail:
    model_close(r);
    return rc;
}

int model_describe(struct model_run *r, const char *spec, const struct model_opt *o, struct err *e)
{
    struct engine_config c;
    int rc;

    *r = (struct model_run){0};
    rc = model_config(&c, o, e);
    if (!rc)
        rc = find_file(r, &c, spec, e);
    if (!rc) {
        c.path = r->path;
        c.name = strchr(spec, '/') ? NULL : spec;
        c.describe_only = 1;
        rc = engine_open(&r->engine, &c, NULL, NULL, NULL, e);
    }
    if (rc)
        model_close(r);
    return rc;
}

void model_close(struct model_run *r)
{
    engine_close(r->engine);
    team_close(r->team);
    free(r->path);
    *r = (struct model_run){0};
}
