/* gaufre power: what the power of sites became, hour by hour, from the ledger; the rows behind it,
 * and notes on causes that nothing measures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/day.h"
#include "books/power_log.h"
#include "cloud/site.h"
#include "cmd/cmd.h"
#include "cmd/ledger_path.h"

#define HOURS_MAX 87840 /* ten years */
#define SECOND_US INT64_C(1000000)
#define DAY_S     86400
#define KWH_UJ    3.6e12

struct power_opts {
    const char *ledger, *from, *until, *cause, *reason;
    int json;
    /* What these say: */
    const char *path;
    int64_t from_us, until_us;
};

static const struct opt opts[] = {
    OPT_STR(0, "from", "DAY|TIME", NULL, power_opts, from,
            "from then on: 2027-03-01 or 2027-03-01T18:00:00Z (the last 24 hours)"),
    OPT_STR(0, "until", "DAY|TIME", NULL, power_opts, until, "before that"),
    OPT_STR(0, "cause", "CAUSE", NULL, power_opts, cause,
            "note: maintenance, force-majeure, customer, supplier, operator, environment, "
            "curtailment; none takes back"),
    OPT_STR(0, "reason", "TEXT", NULL, power_opts, reason, "note: what happened"),
    OPT_FLAG(0, "json", power_opts, json, "one JSON object a line"),
    OPT_LEDGER(power_opts),
    OPT_END,
};

static char *moment(int64_t us, char out[32])
{
    time_t t = us / SECOND_US;
    struct tm tm = {0};

    gmtime_r(&t, &tm);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return out;
}

static json_t *uj_json(power_uj v)
{
    char text[POWER_UJ_TEXT_MAX];

    return json_string(power_uj_show(v, text));
}

/* ---- hours ----------------------------------------------------------------------------------- */

struct hour {
    struct power_sum sum;
    struct power_use use;
    int64_t n_unmetered;
};

struct hours {
    struct power_opts *o;
    struct hour *hour;
    size_t n;
    int64_t first_us; /* when the first begins */
    const char *place;
    int n_places;
    struct err *e;
};

static struct hour *hour_of(struct hours *h, int64_t at_us)
{
    return &h->hour[(at_us - h->first_us) / POWER_HOUR_US];
}

static int add_piece(void *arg, const struct power_entry *r)
{
    struct hours *h = arg;

    if (r->piece.from_us >= h->first_us) /* it is within its hour: a piece is of one minute */
        power_sum_add(&hour_of(h, r->piece.from_us)->sum, &r->piece);
    return 0;
}

static int add_drawn(void *arg, const struct power_drawn *d)
{
    struct hour *hour = hour_of(arg, d->from_us);

    hour->use = d->use;
    hour->n_unmetered = d->n_unmetered;
    return 0;
}

/* The parts, in the order in which they are shown. */
static const struct {
    const char *name, *head;
    size_t at;
} parts[] = {
#define PART(name, head)                                                                           \
    {                                                                                              \
#name "_uj", head, offsetof(struct power_parts, name)                                      \
    }
    PART(energised, "energised"), PART(used, "used"),
    PART(lent, "lent"),           PART(backstop, "backstop"),
    PART(sold, "sold"),           PART(idle, "idle"),
    PART(curtailed, "curtailed"), PART(encumbered, "encumbered"),
#undef PART
};

static power_uj part_of(const struct power_parts *p, size_t i)
{
    return *(const power_uj *)(const void *)((const char *)p + parts[i].at);
}

static int hour_json(const struct hours *h, size_t i, const struct power_parts *p)
{
    const struct hour *hour = &h->hour[i];
    char from[32];
    json_t *causes = json_object(),
           *j = json_pack("{s:s, s:s}", "site", h->place, "from",
                          moment(h->first_us + (int64_t)i * POWER_HOUR_US, from));

    for (size_t k = 0; k < ARRAY_LEN(parts); k++)
        json_object_set_new(j, parts[k].name, uj_json(part_of(p, k)));
    for (int c = 0; c < POWER_MEASURED; c++)
        json_object_set_new(causes, power_cause_name((enum power_cause)c),
                            uj_json(hour->sum.lost[c]));
    json_object_set_new(j, "curtailed_by", causes);
    json_object_set_new(j, "contracted_uj", uj_json(hour->sum.contracted));
    json_object_set_new(j, "ready_uj", uj_json(hour->sum.ready));
    json_object_set_new(j, "beyond_uj", uj_json(p->over));
    json_object_set_new(j, "unknown_s",
                        json_real((double)(POWER_HOUR_US - hour->sum.watched_us) / 1e6));
    json_object_set_new(j, "without_energy", json_integer(hour->n_unmetered));
    return cmd_json(j, JSON_COMPACT);
}

static void print_parts(const char *first, const struct power_parts *p, int64_t unknown_us)
{
    printf("%-20s", first);
    for (size_t k = 0; k < ARRAY_LEN(parts); k++)
        printf(" %12.3f", (double)part_of(p, k) / KWH_UJ);
    printf(" %10.1f\n", (double)unknown_us / 6e7);
}

static void print_head(const struct hours *h)
{
    cmd_line(stdout, "%s%s, kWh", h->n_places ? "\n" : "", h->place);
    printf("%-20s", "hour (UTC)");
    for (size_t k = 0; k < ARRAY_LEN(parts); k++)
        printf(" %12s", parts[k].head);
    printf(" %10s\n", "unknown min");
}

static void add_parts(struct power_parts *to, const struct power_parts *p)
{
    to->over += p->over;
    for (size_t k = 0; k < ARRAY_LEN(parts); k++)
        *(power_uj *)(void *)((char *)to + parts[k].at) += part_of(p, k);
}

static int print_hours(struct hours *h)
{
    struct power_parts all = {0};
    int64_t unknown_us = 0, n_unmetered = 0;
    int r = 0;

    if (!h->o->json)
        print_head(h);
    for (size_t i = 0; !r && i < h->n; i++) {
        const struct hour *hour = &h->hour[i];
        struct power_parts p;
        char from[32];
        power_parts(&hour->sum, &hour->use, &p);
        add_parts(&all, &p);
        unknown_us += POWER_HOUR_US - hour->sum.watched_us;
        n_unmetered += hour->n_unmetered;
        if (h->o->json)
            r = hour_json(h, i, &p);
        else
            print_parts(moment(h->first_us + (int64_t)i * POWER_HOUR_US, from), &p,
                        POWER_HOUR_US - hour->sum.watched_us);
    }
    if (!h->o->json)
        print_parts("sum", &all, unknown_us);
    if (all.over)
        cmd_note("%s: answers drew %.3f kWh more than the site had in the hours in which they "
                 "ended",
                 h->place, (double)all.over / KWH_UJ);
    if (n_unmetered)
        cmd_note("%s: the energy of %lld answers is not known, and so in 'sold' or 'idle'",
                 h->place, (long long)n_unmetered);
    return r;
}

static int is_region(const char *place)
{
    return !strncmp(place, POWER_REGION, strlen(POWER_REGION));
}

static int hours_of(void *arg, const char *place)
{
    struct hours *h = arg;
    struct power_opts *o = h->o;
    const struct power_query q = {.place = place, .from_us = o->from_us, .until_us = o->until_us};
    int r;

    if (is_region(place)) /* its sites are listed */
        return 0;
    memset(h->hour, 0, h->n * sizeof *h->hour);
    h->place = place;
    r = power_log_each(o->path, &q, add_piece, h, h->e);
    if (!r)
        r = power_log_drawn(o->path, place, o->from_us, o->until_us, add_drawn, h, h->e);
    if (!r)
        r = print_hours(h);
    h->place = NULL;
    h->n_places++;
    return r;
}

static int hours(struct power_opts *o, const char *place, struct err *e)
{
    struct hours h = {.o = o, .e = e};
    int r;

    if (place && is_region(place))
        return err_set(e, ERR_ARG, "hours are of sites: what work drew is booked by site");
    o->from_us -= o->from_us % POWER_HOUR_US;
    o->until_us += (POWER_HOUR_US - o->until_us % POWER_HOUR_US) % POWER_HOUR_US;
    h.first_us = o->from_us;
    h.n = (size_t)((o->until_us - o->from_us) / POWER_HOUR_US);
    if (h.n > HOURS_MAX)
        return err_set(e, ERR_ARG, "at most ten years at a time");
    h.hour = calloc(h.n, sizeof *h.hour);
    if (!h.hour)
        return err_set(e, ERR_NOMEM, "out of memory");
    r = place ? hours_of(&h, place) : power_log_places(o->path, hours_of, &h, e);
    free(h.hour);
    return r;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static int print_row(void *arg, const struct power_entry *r)
{
    const struct power_opts *o = arg;
    const struct power_piece *p = &r->piece;
    char from[32], until[32], at[32];
    json_t *j;

    moment(p->from_us, from);
    moment(p->until_us, until);
    if (!o->json && *r->cause) {
        cmd_line(stdout, "%8lld %-24s %s %s %-14s %s", (long long)r->seq, r->place, from, until,
                 r->cause, r->reason);
        return 0;
    }
    if (!o->json) {
        cmd_line(stdout, "%8lld %-24s %s %s %12.3f kWh, %12.3f usable, %12.3f ready",
                 (long long)r->seq, r->place, from, until, (double)p->energised_uj / KWH_UJ,
                 (double)power_piece_usable(p) / KWH_UJ, (double)p->ready_uj / KWH_UJ);
        return 0;
    }
    j = json_pack("{s:I, s:s, s:I, s:I, s:s}", "seq", (json_int_t)r->seq, "place", r->place,
                  "from_us", (json_int_t)p->from_us, "until_us", (json_int_t)p->until_us,
                  "recorded", moment(r->at_us, at));
    if (*r->cause) {
        json_object_set_new(j, "cause", json_string(r->cause));
        json_object_set_new(j, "reason", cmd_json_str(r->reason));
        return cmd_json(j, JSON_COMPACT);
    }
    json_object_set_new(j, "contracted_uj", json_integer(p->contracted_uj));
    json_object_set_new(j, "energised_uj", json_integer(p->energised_uj));
    json_object_set_new(j, "encumbered_uj", json_integer(p->encumbered_uj));
    json_object_set_new(j, "ready_uj", json_integer(p->ready_uj));
    for (int c = 0; c < POWER_MEASURED; c++) {
        char name[40];
        snprintf(name, sizeof name, "%s_uj", power_cause_name((enum power_cause)c));
        json_object_set_new(j, name, json_integer(p->lost_uj[c]));
    }
    return cmd_json(j, JSON_COMPACT);
}

static int list(struct power_opts *o, const char *place, enum power_rows what, struct err *e)
{
    const struct power_query q = {
        .what = what, .place = place, .from_us = o->from_us, .until_us = o->until_us};

    return power_log_each(o->path, &q, print_row, o, e);
}

static int rows(struct power_opts *o, const char *place, struct err *e)
{
    return list(o, place, POWER_PIECES, e);
}

static int notes(struct power_opts *o, const char *place, struct err *e)
{
    return list(o, place, POWER_NOTES, e);
}

static int note(struct power_opts *o, const char *place, struct err *e)
{
    struct power_entry row = {.at_us = clock_wall_us(),
                              .piece = {.from_us = o->from_us, .until_us = o->until_us}};
    int64_t n = 0;
    int r;

    if (!o->cause || !o->from || !o->until)
        return err_set(e, ERR_ARG, "a note wants --cause, --from and --until");
    if (power_cause_find(o->cause) < 0 && strcmp(o->cause, POWER_NO_CAUSE) != 0)
        return err_set(e, ERR_ARG, "'%.40s' is no cause", o->cause);
    if (o->from_us % (60 * SECOND_US) || o->until_us % (60 * SECOND_US))
        return err_set(e, ERR_ARG, "notes are of whole minutes");
    if (strlen(o->reason ? o->reason : "") >= sizeof row.reason)
        return err_set(e, ERR_ARG, "the reason has more than %zu bytes", sizeof row.reason - 1);
    snprintf(row.place, sizeof row.place, "%s", place);
    snprintf(row.cause, sizeof row.cause, "%s", o->cause);
    snprintf(row.reason, sizeof row.reason, "%s", o->reason ? o->reason : "");
    r = power_log_put(o->path, &row, 1, &n, e);
    if (!r)
        cmd_note("recorded as row %lld", (long long)row.seq);
    return r;
}

/* ---- the command ----------------------------------------------------------------------------- */

static const struct verb {
    const char *name;
    int n_min;
    int (*run)(struct power_opts *o, const char *place, struct err *e);
} verbs[] = {{"hours", 0, hours}, {"rows", 0, rows}, {"notes", 0, notes}, {"note", 1, note}};

/* A site, or "region:NAME". */
static int is_place(const char *s)
{
    return site_name_ok(is_region(s) ? s + strlen(POWER_REGION) : s);
}

static const char *read_span(struct power_opts *o, const char *verb)
{
    int64_t now_s = clock_wall_us() / SECOND_US, from_s = now_s - DAY_S, until_s = now_s;

    if (!strcmp(verb, "notes")) { /* few: all of them */
        from_s = 0;
        until_s = INT64_C(1) << 40;
    }
    if ((o->from && day_read_moment(o->from, NULL, &from_s)) ||
        (o->until && day_read_moment(o->until, NULL, &until_s)))
        return "--from and --until want a day or a moment: 2027-03-01 or 2027-03-01T18:00:00Z";
    if (from_s < 0 || from_s >= until_s)
        return "--until is not after --from";
    o->from_us = from_s * SECOND_US;
    o->until_us = until_s * SECOND_US;
    return NULL;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    struct power_opts *o = opts_;
    const struct verb *v = NULL;
    char path[LEDGER_PATH_MAX];
    const char *wrong;
    struct err e = {0};
    int is_new = 0;

    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        v = strcmp(verbs[i].name, argv[0]) ? v : &verbs[i];
    if (!v)
        return cmd_usage(cmd, "wants hours, rows, notes or note, not '%s'", argv[0]);
    if (argc - 1 < v->n_min)
        return cmd_usage(cmd, "%s wants the name of a site", v->name);
    if (argc > 1 && !is_place(argv[1]))
        return cmd_usage(cmd, "'%s' is no name of a site or region:NAME", argv[1]);
    wrong = read_span(o, v->name);
    if (wrong)
        return cmd_usage(cmd, "%s", wrong);
    o->path = path;
    if (ledger_path(o->ledger, path, &is_new, &e))
        return cmd_fail(cmd, &e);
    if (is_new) {
        cmd_note("nothing is booked yet: 'gaufre serve' makes %s", o->path);
        return CMD_OK;
    }
    return v->run(o, argc > 1 ? argv[1] : NULL, &e) ? cmd_fail(cmd, &e) : CMD_OK;
}

const struct cmd cmd_power = {
    .name = "power",
    .help = "What the power of sites became, hour by hour, and notes on why some was missing",
    .args = "hours|rows|notes|note [SITE]",
    .about =
        "'hours' shows what became of the energised power: used, lent, taken by a buyer of last\n"
        "resort, ready for contracts (sold), idle, curtailed, held for other uses (encumbered).\n"
        "They sum to it exactly; --json has every microjoule. 'rows' are the pieces of time "
        "behind\n"
        "them, as servers wrote them into the ledger, also of a region (region:NAME). 'note'\n"
        "records a cause that nothing measures, for contracts to be settled by: the last note of "
        "a\n"
        "minute holds, and none is ever changed.\n\n"
        "  gaufre power hours fra1 --from 2027-03-01 --until 2027-03-02\n"
        "  gaufre power note fra1 --cause maintenance --from 2027-03-01T10:00:00Z \\\n"
        "    --until 2027-03-01T12:00:00Z --reason 'pump 2'",
    .opts = opts,
    .opts_size = sizeof(struct power_opts),
    .n_args_min = 1,
    .n_args_max = 2,
    .run = run,
};
