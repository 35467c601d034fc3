/* The model of a demonstration's real engine: a file of this machine, or pulled. */
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/demo_home.h"
#include "cmd/progress.h"
#include "engine/engine.h"
#include "hub/hub.h"

struct pulling {
    struct progress bar;
    enum hub_stage stage;
    int has_bar;
};

static int on_progress(void *ctx, const struct hub_progress *p)
{
    struct pulling *v = ctx;

    if (v->has_bar && p->stage != v->stage) {
        progress_stop(&v->bar, 1);
        v->has_bar = 0;
    }
    v->stage = p->stage;
    if (!v->has_bar && (p->stage == HUB_DOWNLOAD || p->stage == HUB_CHECK)) {
        progress_start(&v->bar, p->stage == HUB_CHECK ? "checking" : "pulling", PROGRESS_BYTES,
                       p->total, p->done);
        v->has_bar = 1;
    }
    if (v->has_bar) {
        v->bar.total = p->total;
        progress_set(&v->bar, p->done);
    }
    return 0;
}

static int pull(struct hub *h, const char *spec, char **ret, struct err *e)
{
    struct pulling v = {0};
    const struct hub_pull o = {
        .spec = spec, .check = engine_check_file, .progress = on_progress, .ctx = &v};
    struct hub_pulled got = {0};
    int r;

    cmd_note("%s is not on this machine yet: it is pulled", spec);
    r = hub_pull(h, &o, &got, e);
    if (v.has_bar)
        progress_stop(&v.bar, 1);
    if (!r)
        *ret = got.path;
    return r;
}

int demo_model_find(const char *spec, char **ret, struct err *e)
{
    struct hub *h = NULL;
    char *path = NULL;
    int r = hub_open(&h, e);

    if (!r && hub_resolve(h, spec, &path, e) == ERR_NOTFOUND)
        r = pull(h, spec, &path, e);
    else if (!r && !path)
        r = e->code;
    hub_close(h);
    if (!r && !(*ret = realpath(path, NULL)))
        r = err_set(e, ERR_IO, "%s cannot be found", path);
    free(path);
    return r;
}
