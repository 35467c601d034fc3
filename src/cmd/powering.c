/* gaufre power: what the power of sites became, hour by hour, from the ledger; the rows behind it,
 * and notes on causes that nothing measures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/day.h"
#include "base/money.h"
#include "books/power_by_hour.h"
#include "books/taken_log.h"
#include "cloud/site.h"
#include "cmd/cmd.h"
#include "cmd/ledger_path.h"

#define SECOND_US     INT64_C(1000000)
#define DAY_S         86400
#define NOTE_AHEAD_US (366 * DAY_S * SECOND_US)
#define KWH_UJ        3.6e12

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

/* ---- hours ----------------------------------------------------------------------------------- */

struct hours {
    struct power_opts *o;
    int n_places;
    struct err *e;
};

static void print_parts(const char *first, const struct power_parts *p, int64_t unknown_us)
{
    printf("%-20s", first);
    for (int k = 0; k < POWER_PARTS; k++)
        printf(" %12.3f", (double)power_part(p, k) / KWH_UJ);
    printf(" %10.1f\n", (double)unknown_us / 6e7);
}

static void print_head(const struct hours *h, const char *site)
{
    cmd_line(stdout, "%s%s, kWh", h->n_places ? "\n" : "", site);
    printf("%-20s", "hour (UTC)");
    for (int k = 0; k < POWER_PARTS; k++)
        printf(" %12s", power_part_name(k));
    printf(" %10s\n", "unknown min");
}

static int print_json(const char *site, const struct power_hour *hour, size_t n)
{
    int r = 0;

    for (size_t i = 0; !r && i < n; i++)
        r = cmd_json(power_hour_json(site, &hour[i]), JSON_COMPACT);
    return r;
}

static void print_hours(const struct hours *h, const char *site, const struct power_hour *hour,
                        size_t n)
{
    struct power_parts all = {0};
    int64_t unknown_us = 0, n_unmetered = 0;

    print_head(h, site);
    for (size_t i = 0; i < n; i++) {
        struct power_parts p;
        char from[32];
        power_parts(&hour[i].sum, &hour[i].use, &p);
        power_parts_add(&all, &p);
        unknown_us += POWER_HOUR_US - hour[i].sum.watched_us;
        n_unmetered += hour[i].n_unmetered;
        print_parts(moment(hour[i].from_us, from), &p, POWER_HOUR_US - hour[i].sum.watched_us);
    }
    print_parts("sum", &all, unknown_us);
    if (all.over)
        cmd_note("%s: answers drew %.3f kWh more than the site had in the hours in which they "
                 "ended",
                 site, (double)all.over / KWH_UJ);
    if (n_unmetered)
        cmd_note("%s: the energy of %lld answers is not known, and so in 'sold' or 'idle'", site,
                 (long long)n_unmetered);
}

static int hours_of(void *arg, const char *site)
{
    struct hours *h = arg;
    struct power_hour *hour = NULL;
    size_t n = 0;
    int r;

    if (power_is_region(site)) /* its sites are listed */
        return 0;
    r = power_hours(h->o->path, site, h->o->from_us, h->o->until_us, &hour, &n, h->e);
    if (!r && h->o->json)
        r = print_json(site, hour, n);
    else if (!r)
        print_hours(h, site, hour, n);
    free(hour);
    h->n_places++;
    return r;
}

static int hours(struct power_opts *o, const char *place, struct err *e)
{
    struct hours h = {.o = o, .e = e};

    if (place && power_is_region(place))
        return err_set(e, ERR_ARG, "hours are of sites: what work drew is booked by site");
    return place ? hours_of(&h, place) : power_log_places(o->path, hours_of, &h, e);
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

struct search {
    const char *place;
    char others[200]; /* places that there are */
    int is_found;
};

static int look_for(void *arg, const char *place)
{
    struct search *s = arg;
    size_t n = strlen(s->others);

    s->is_found |= !strcmp(place, s->place);
    snprintf(s->others + n, sizeof s->others - n, "%s%s", n ? ", " : "", place);
    return 0;
}

/* A note stays for ever: one of a place that nobody has watched is a slip, where others were. */
static int check_place(const char *path, const char *place, struct err *e)
{
    struct search s = {.place = place};
    int r = power_log_places(path, look_for, &s, e);

    if (r || s.is_found || !*s.others)
        return r;
    return err_set(e, ERR_NOTFOUND, "the ledger has no power of '%s'; it has that of %s", place,
                   s.others);
}

static int print_taken(void *arg, const struct taken_entry *r)
{
    const struct power_opts *o = arg;
    char from[32], until[32], at[32], price[MONEY_TEXT_MAX];

    moment(r->from_us, from);
    moment(r->until_us, until);
    money_show(r->price, price);
    if (!o->json) {
        cmd_line(stdout, "%8lld %-20s %-16s %-16s %s %s %14.6f MWh at %s %s", (long long)r->seq,
                 r->contract, r->tranche, r->site, from, until, (double)r->joules / 3.6e9, price,
                 r->currency);
        return 0;
    }
    return cmd_json(json_pack("{s:I, s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:s, s:s}", "seq",
                              (json_int_t)r->seq, "contract", r->contract, "tranche", r->tranche,
                              "site", r->site, "from_us", (json_int_t)r->from_us, "until_us",
                              (json_int_t)r->until_us, "recorded", moment(r->at_us, at), "joules",
                              (json_int_t)r->joules, "price", price, "currency", r->currency),
                    JSON_COMPACT);
}

static int taken(struct power_opts *o, const char *contract, struct err *e)
{
    const struct taken_query q = {
        .contract = contract, .from_us = o->from_us, .until_us = o->until_us};

    return taken_log_each(o->path, &q, print_taken, o, e);
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
    if (o->until_us > row.at_us + NOTE_AHEAD_US)
        return err_set(e, ERR_ARG, "--until: notes are of a year ahead at most");
    if (strlen(o->reason ? o->reason : "") >= sizeof row.reason)
        return err_set(e, ERR_ARG, "the reason has more than %zu bytes", sizeof row.reason - 1);
    snprintf(row.place, sizeof row.place, "%s", place);
    snprintf(row.cause, sizeof row.cause, "%s", o->cause);
    snprintf(row.reason, sizeof row.reason, "%s", o->reason ? o->reason : "");
    r = check_place(o->path, place, e);
    if (!r)
        r = power_log_put(o->path, &row, 1, NULL, &n, e);
    if (!r)
        cmd_note("recorded as row %lld", (long long)row.seq);
    return r;
}

/* ---- the command ----------------------------------------------------------------------------- */

static const struct verb {
    const char *name;
    int n_min;
    int (*run)(struct power_opts *o, const char *place, struct err *e);
} verbs[] = {{"hours", 0, hours},
             {"rows", 0, rows},
             {"taken", 0, taken},
             {"notes", 0, notes},
             {"note", 1, note}};

/* A site, or "region:NAME". */
static int is_place(const char *s)
{
    return site_name_ok(power_is_region(s) ? s + strlen(POWER_REGION) : s);
}

static const char *read_span(struct power_opts *o, const char *verb)
{
    int64_t now_s = clock_wall_us() / SECOND_US + 1; /* with the second that it is */
    int64_t from_s = now_s - DAY_S, until_s = now_s;

    if (!strcmp(verb, "notes")) { /* few: all of them */
        from_s = 0;
        until_s = INT64_C(1) << 40;
    }
    if ((o->from && day_read_moment(o->from, NULL, &from_s)) ||
        (o->until && day_read_moment(o->until, NULL, &until_s)))
        return "--from and --until want a day or a moment: 2027-03-01 or 2027-03-01T18:00:00Z";
    if (from_s < 0)
        return "--from is before 1970";
    if (from_s >= until_s)
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
        return cmd_usage(cmd, "wants hours, rows, taken, notes or note, not '%s'", argv[0]);
    if (argc - 1 < v->n_min)
        return cmd_usage(cmd, "%s wants the name of a site", v->name);
    if (argc > 1 && v->run != taken && !is_place(argv[1]))
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
    .args = "hours|rows|taken|notes|note [SITE|CONTRACT]",
    .about =
        "'hours' shows what became of the energised power: used, lent, taken by a buyer of last\n"
        "resort, ready for contracts (sold), idle, curtailed, held for other uses (encumbered).\n"
        "They sum to it exactly; --json has every microjoule. 'rows' are the pieces of time "
        "behind\n"
        "them, as servers wrote them into the ledger, also of a region (region:NAME). 'taken'\n"
        "lists what buyers of last resort took, of one contract or of all. 'note'\n"
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
