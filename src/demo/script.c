/* What happens when. Each scene acts as somebody outside would: the weather and the suppliers
 * change in the world, contracts are amended, the grid calls and operators order by the admin
 * API. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/day.h"
#include "base/json.h"
#include "demo/world.h"

#define BODY_MAX   ((size_t)1 << 20)
#define ANSWER_MAX ((size_t)1 << 18)
#define DAY_S      86400

struct scene {
    const char *day, *text;
    void (*act)(struct demo_world *w, const struct scene *s); /* NULL: the calendar alone does it */
    const char *place;
    double much;
    int n;
};

/* ---- what the world does by itself ----------------------------------------------------------- */

static void heat(struct demo_world *w, const struct scene *s)
{
    for (int i = 0; i < DEMO_SITES; i++) {
        if (demo_site_is_in(i, s->place))
            w->site[i].heat_wanted = s->much;
    }
}

static void mood(struct demo_world *w, const struct scene *s)
{
    w->site[demo_site_find(s->place)].mood = (enum demo_mood)s->n;
}

static void demand(struct demo_world *w, const struct scene *s)
{
    w->demand[s->n] = s->much;
}

/* ---- what is asked of the admin API ---------------------------------------------------------- */

static void tell(struct demo_world *w, const char *text)
{
    w->setup.tell(w->setup.ctx, clock_wall_us(), text);
}

static void end_deed(struct demo_world *w, int failed, const char *why)
{
    struct demo_deed *d = &w->deed;
    char text[400];

    w->counts.n_acts++;
    if (failed) {
        w->counts.n_acts_failed++;
        snprintf(text, sizeof text, "The server refuses it: %.300s", why);
        tell(w, text);
    }
    d->r = NULL;
    buf_done(&d->body);
    buf_done(&d->answer);
}

static void on_head(void *ctx, struct upstream_request *r)
{
    (void)ctx;
    (void)r;
}

static void on_data(void *ctx, struct upstream_request *r, const char *p, size_t n)
{
    struct demo_world *w = ctx;

    (void)r;
    buf_add(&w->deed.answer, p, n);
}

static void on_end(void *ctx, struct upstream_request *r, const struct err *e)
{
    struct demo_world *w = ctx;
    int status = upstream_status(r), failed = e->code || status < 200 || status > 299;

    end_deed(w, failed,
             e->code               ? e->text
             : w->deed.answer.data ? w->deed.answer.data
                                   : "no reason is told");
}

/* The body lies in w->deed. */
static void ask(struct demo_world *w, const char *method, const char *path)
{
    struct demo_deed *d = &w->deed;
    const struct upstream_header header[] = {{"Authorization", w->admin},
                                             {"Content-Type", "application/json"}};
    const struct upstream_handler on = {w, on_head, on_data, on_end};
    const struct upstream_ask a = {.method = method,
                                   .path = path,
                                   .header = header,
                                   .n_header = 2,
                                   .body = d->body.data,
                                   .n_body = d->body.len};
    struct err e = {0};

    buf_init(&d->answer, ANSWER_MAX);
    if (d->body.failed || upstream_begin(w->server, 0, &a, &on, &d->r, &e))
        end_deed(w, 1, e.code ? e.text : "out of memory");
}

/* n: the contract in tens, and the stage of its text. */
static void amend(struct demo_world *w, const struct scene *s)
{
    struct err e = {0};
    struct buf text;

    buf_init(&text, BODY_MAX);
    buf_init(&w->deed.body, BODY_MAX);
    if (scenery_contract(s->n / 10, s->n % 10, &text, &e)) {
        end_deed(w, 1, e.text);
    } else {
        buf_add_str(&w->deed.body, "{\"text\":");
        json_put_text(&w->deed.body, text.data, text.len);
        buf_addf(&w->deed.body, ",\"effective\":\"%s\",\"reason\":", s->day);
        json_put_str(&w->deed.body, s->text);
        buf_add_char(&w->deed.body, '}');
        ask(w, "POST", "/admin/v1/contracts");
    }
    buf_done(&text);
}

/* The grid asks for less: so many megawatts, for n days. */
static void curtail(struct demo_world *w, const struct scene *s)
{
    char path[120];

    buf_init(&w->deed.body, BODY_MAX);
    buf_addf(&w->deed.body, "{\"from\":null,\"for_seconds\":%d,\"target_mw\":%.0f}", s->n * DAY_S,
             s->much);
    snprintf(path, sizeof path, "/admin/v1/sites/%s/curtailments", s->place);
    ask(w, "POST", path);
}

/* An operator's order; n 0 takes it back. */
static void order(struct demo_world *w, const struct scene *s)
{
    char path[120];

    buf_init(&w->deed.body, BODY_MAX);
    buf_addf(&w->deed.body, "{\"state\":%s}", s->n ? "\"draining\"" : "null");
    snprintf(path, sizeof path, "/admin/v1/sites/%s", s->place);
    ask(w, "PATCH", path);
}

/* ---- the script ------------------------------------------------------------------------------ */

static const struct scene scenes[] = {
    {"2026-12-14", "A site is born: montreal-2 goes live with 30 MW in ca-east.", NULL, NULL, 0, 0},
    {"2027-01-01", "A tranche is late: 250 MW of fast-750 in us-south are due, and not energised.",
     NULL, NULL, 0, 0},
    {"2027-01-25", "The grid calls: lulea-1 goes down to 25 of its 50 MW for a week.", curtail,
     "lulea-1", 25, 7},
    {"2027-02-22", "abilene-2 and abilene-3 are energised (240 MW) and being accepted.", NULL, NULL,
     0, 0},
    {"2027-03-08", "The late tranche is delivered, 66 days after its date: fast-750 is amended.",
     amend, NULL, 0, 1},
    {"2027-04-12", "A supplier fails: ashburn-1 answers 503. Its breaker opens, others take over.",
     mood, "ashburn-1", 0, DEMO_FAILING},
    {"2027-04-24", "ashburn-1 is back; its breaker lets a few requests try it, and closes.", mood,
     "ashburn-1", 0, DEMO_WELL},
    {"2027-05-10", "dublin-1 is slow to begin: its streams are hedged with a second supplier.",
     mood, "dublin-1", 0, DEMO_SLOW},
    {"2027-05-20", "dublin-1 is as quick as before.", mood, "dublin-1", 0, DEMO_WELL},
    {"2027-06-01", "spread-3 grows from 12 to 20 MW in eu-north: an amendment.", amend, NULL, 0,
     21},
    {"2027-07-05", "A heat wave in us-central: above 36 C sites give less, and traffic moves.",
     heat, "us-central", 19, 0},
    {"2027-07-27", "The heat is over; capacity comes back.", heat, "us-central", 0, 0},
    {"2027-08-16", "An option is exercised: 1,250 MW more for fast-750 from July 2028 on.", amend,
     NULL, 0, 2},
    {"2027-09-20", "Demand spikes: answers sends four times as much, more than it has contracted.",
     demand, NULL, 4, 0},
    {"2027-10-02", "The spike is over.", demand, NULL, 1, 0},
    {"2027-11-01", "An operator drains sioux-3 for repairs; sioux-2 goes on.", order, "sioux-3", 0,
     1},
    {"2027-11-09", "sioux-3 is repaired.", order, "sioux-3", 0, 0},
};

#define N_SCENES (int)(sizeof scenes / sizeof *scenes)

static int64_t time_of(const struct scene *s)
{
    int64_t at_s = INT64_MAX;

    day_read(s->day, NULL, &at_s);
    return at_s;
}

const char *demo_scene(int i, int64_t *ret_s)
{
    if (i >= N_SCENES)
        return NULL;
    *ret_s = time_of(&scenes[i]);
    return scenes[i].text;
}

/* The one that is due, of the days that are played; NULL: none is. */
static const struct scene *due(const struct demo_world *w)
{
    const struct scene *s = w->i_scene < N_SCENES ? &scenes[w->i_scene] : NULL;
    int64_t from_s = 0;

    day_read(DEMO_FROM, NULL, &from_s);
    if (!s || clock_wall_us() / 1000000 < time_of(s) ||
        time_of(s) >= from_s + (int64_t)w->setup.n_days * DAY_S)
        return NULL;
    return s;
}

int script_is_idle(const struct demo_world *w)
{
    return !w->deed.r && !due(w);
}

void script_tick(struct demo_world *w)
{
    const struct scene *s;

    while (!w->deed.r && (s = due(w))) {
        w->i_scene++;
        tell(w, s->text);
        if (s->act)
            s->act(w, s);
    }
}

void script_free(struct demo_world *w)
{
    buf_done(&w->deed.body);
    buf_done(&w->deed.answer);
}
