#include "serve/sensor_ask.h"

#include <string.h>

#include "base/clock.h"
#include "net/fetch.h"
#include "serve/command.h"
#include "serve/meter_key.h"
#include "serve/told_file.h"

#define AHEAD_US INT64_C(60000000) /* clocks may differ by so much */

struct asking {
    const struct sensor_ask *a;
    int64_t until_us;
};

/* ---- sources --------------------------------------------------------------------------------- */

static int is_late(void *ctx, int64_t bytes, int64_t total)
{
    const struct asking *x = ctx;

    (void)bytes;
    (void)total;
    return clock_now_us() > x->until_us || x->a->is_over(x->a->ctx);
}

/* What a URL says beside its host may be secret: it is told to nobody. */
static int ask_url(const struct sensor_ask *a, struct buf *text, struct err *e)
{
    struct asking x = {a, clock_now_us() + a->sensor->timeout * 1000};
    char header[METER_HEADER_MAX];
    const char *headers[] = {"Accept: application/json", header, NULL};
    struct fetch_result got;
    struct fetch_options f;
    int r = meter_key_header(a->sensor->key, header, e);

    if (r)
        return r;
    fetch_options_init(&f, a->sensor->url);
    if (!*header)
        headers[1] = NULL;
    f.headers = headers;
    f.body = text;
    f.size_max = f.unsized_max = (int64_t)SENSOR_REPLY_MAX;
    f.connect_timeout_ms = f.stall_timeout_ms = (int)a->sensor->timeout;
    f.ca_file = a->sensor->ca_file;
    f.progress = is_late;
    f.ctx = &x;
    r = fetch_get(&f, &got, e);
    if (r == ERR_CANCELLED && !a->is_over(a->ctx))
        r = ERR_TIMEOUT;
    if (r)
        err_set(e, r, "its url: %s (HTTP %d)", err_text(r), got.status);
    explicit_bzero(header, sizeof header);
    return r;
}

static int ask_file(const struct serve_sensor *s, struct buf *text, int64_t *ret_wall_us,
                    struct err *e)
{
    struct stat st;
    int r = told_file_read(s->file, text, &st, e);

    if (!r && !text->len)
        r = err_set(e, ERR_AGAIN, "%.80s: is empty", s->file); /* it is just being written */
    if (!r)
        *ret_wall_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
    return r;
}

static int ask_command(const struct sensor_ask *a, struct buf *text, struct err *e)
{
    const char *argv[CONFIG_STRS_MAX + 1] = {NULL};
    const struct command c = {argv, NULL, a->sensor->timeout, a->is_over, a->ctx};
    int r;

    memcpy(argv, a->sensor->command.v, (size_t)a->sensor->command.n * sizeof *argv);
    r = command_run(&c, text, e);
    return r ? err_prefix(e, "its command") : 0;
}

/* ---- what they said -------------------------------------------------------------------------- */

static int read_reply(const struct serve_sensor *s, const struct buf *text,
                      struct sensor_reading *ret, struct err *e)
{
    const struct sensor_want w = {.quantity = (enum envelope_quantity)s->quantity,
                                  .unit = (enum sensor_unit)s->unit,
                                  .path = s->path,
                                  .time_path = s->time_path,
                                  .when = s->when.v,
                                  .n_when = s->when.n};
    const char *all = text->data ? text->data : "";
    int r;

    if (s->kind == SERVE_SENSOR_REDFISH)
        r = sensor_reply_redfish(all, text->len, &w, ret, e);
    else if (s->kind == SERVE_SENSOR_JSON)
        r = sensor_reply_json(all, text->len, &w, ret, e);
    else
        r = sensor_reply_lines(all, text->len, &w, ret, e);
    if (r)
        e->code = ERR_FORMAT;
    return r ? ERR_FORMAT : 0;
}

static int age_of(const struct serve_sensor *s, int64_t wall_us, int64_t *ret, struct err *e)
{
    int64_t age = clock_wall_us() - wall_us;

    if (age < -AHEAD_US)
        return err_set(e, ERR_FORMAT, "it is of a time to come");
    if (age > s->max_age * 1000)
        return err_set(e, ERR_AGAIN, "it is %lld seconds old", (long long)(age / 1000000));
    *ret = age < 0 ? 0 : age;
    return 0;
}

int sensor_ask(const struct sensor_ask *a, struct sensor_reading *ret, int64_t *ret_age_us,
               struct err *e)
{
    const struct serve_sensor *s = a->sensor;
    int64_t wall_us = -1;
    struct buf text;
    int r;

    *ret_age_us = 0;
    buf_init(&text, SENSOR_REPLY_MAX);
    if (s->url)
        r = ask_url(a, &text, e);
    else if (s->file)
        r = ask_file(s, &text, &wall_us, e);
    else
        r = ask_command(a, &text, e);
    if (!r)
        r = read_reply(s, &text, ret, e);
    buf_done(&text);
    if (!r && ret->wall_s >= 0)
        wall_us = ret->wall_s * 1000000;
    return !r && wall_us >= 0 ? age_of(s, wall_us, ret_age_us, e) : r;
}
