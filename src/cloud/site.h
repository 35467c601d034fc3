/* A door of the cloud room: sites. A site is a place with machines and a supply of power, to which
 * suppliers belong. What it is, the configuration says (struct site_terms); how much of it may be
 * used now is its *capacity factor*, which four may lower: the configuration, a file that is read
 * again and again, an operator, and the sensors of its environment; curtailment lowers it, too. The
 * lowest holds. Its *state*
 * goes by the dates of its life (policy/lifecycle.h), unless an operator orders one: it may let
 * nobody in, whatever the factor is, or some only, or lower the factor. Admission obeys at once: of
 * each supplier there as many places are used as the factor leaves (policy/derate.h), and with 0
 * nothing new is sent there. What runs there goes on to its end; what waits there and was not sent
 * is sent back, to be routed elsewhere.
 *
 * A site is *generally available*, or *dedicated* to the tenants that it names: for all others its
 * suppliers do not exist.
 *
 * Threads: all functions [any]. Limits: SITES_MAX sites in one configuration, SITES_EVER_MAX since
 * the start. */
#ifndef CLOUD_SITE_H
#define CLOUD_SITE_H

#include <stdint.h>

#include "base/err.h"
#include "base/zone.h"
#include "cloud/carbon.h"
#include "job/energy.h"
#include "policy/curtail.h"
#include "policy/lend_nodes.h"
#include "policy/lifecycle.h"
#include "policy/power.h"

#define SITES_MAX          128
#define SITES_EVER_MAX     256
#define SITE_NAME_MAX      64 /* of sites and regions, with the NUL */
#define SITE_FILE_MAX      64 /* bytes of a file with a factor */
#define SITE_SENSORS_MAX   16
#define SITE_SCHEDULES_MAX 32      /* of a site */
#define SITE_CALLS_MAX     64      /* of a site, that are not over */
#define SITE_CURTAIL_MAX_S 2678400 /* one event lasts 31 days at most */
#define SITE_NODES_MAX     32      /* that may be lent to other work */

struct cloud;
struct cloud_offer;
struct account_who;

/* Is it a name of a site or a region: letters, digits and - _ . ? */
int site_name_ok(const char *s);
/* "0.85" as millionths, 0 to 1 with at most six digits behind the point. ERR_ARG with a sentence.
 */
int site_factor_parse(const char *text, int32_t *ret_ppm, struct err *e);
#define SITE_FACTOR_TEXT 16
char *site_factor_show(int32_t ppm, char out[SITE_FACTOR_TEXT]); /* "0.85"; returns out */

/* A target of curtailment: watts of the energised ones, or a part of these. */
struct site_target {
    int64_t watts; /* < 0: the part */
    int32_t ppm;
};

/* A curtailment that the configuration has: one event, or hours of days. */
struct site_schedule {
    int64_t from_s, until_s;    /* until_s 0: hours of days */
    int from_minute, n_minutes; /* of the site's day, by its clock */
    unsigned days;              /* bit 0 is Monday */
    int64_t ramp_us;
    struct site_target target;
};

/* What was agreed with the grid. */
struct site_curtail_terms {
    const struct site_schedule *schedule;
    int n_schedules;
    int64_t ramp_us, notice_s; /* of calls that say none, and that they come before their start */
    int64_t calls_a_year;      /* < 0: any number */
    int64_t credit, clawback;  /* nano-units for a MWh that is not used, or used all the same;
                                  < 0: not said */
    enum curtail_baseline baseline;
    int baseline_days;
};

/* A call of the grid, in the store of accounts. */
struct site_call {
    int64_t id; /* of the store, from 1 */
    char site[SITE_NAME_MAX];
    int64_t called_s, from_s, until_s;
    int64_t cancelled_s; /* 0: it was not; from then on the site goes up again */
    int64_t ramp_us;
    struct site_target target;
    int is_short; /* it came later than was agreed */
};

/* Its nodes that may be lent to other work (policy/lend_nodes.h). */
struct site_node_terms {
    int n, n_keep;  /* n 0: none may */
    int64_t node_w; /* of one, on the site's basis; POWER_UNKNOWN: its share of what is free */
};

/* What the configuration says. Strings outlive the cloud. */
struct site_terms {
    const char *name, *region, *time_zone; /* NULL: not said */
    const char *const *tenants;            /* it is dedicated to these ... */
    int n_tenants;                         /* ... or, 0, generally available */
    const char *const *testers;            /* tenants who are served while it is accepted */
    int n_testers;
    enum lifecycle_state state;        /* without steps: at any time */
    const struct lifecycle_step *step; /* its life, without a fault */
    int n_steps;
    const struct power_row *power; /* its ledgers of megawatts, without a fault */
    int n_power;
    enum power_basis basis; /* of these */
    int32_t pue_permille;   /* where it is not measured; 0: not said */
    struct site_curtail_terms curtail;
    int32_t factor_ppm;
    int64_t carbon_mg[CARBON_BASES]; /* for a kilowatt-hour at any hour; < 0: by its hours */
    int has_hours;                   /* a file or a feed tells these */
    int has_factor_file;             /* a file tells a factor */
    int has_environment;             /* sensors tell one ... */
    int32_t blind_ppm;               /* ... and before they did it is this */
    struct site_node_terms nodes;
    const struct zone *zone; /* NULL: UTC */
};

/* By its dates, or as it is at any time. */
struct lifecycle_now site_terms_life(const struct site_terms *t, int64_t now_s);

/* Its ledgers of megawatts at a time; NULL: nothing is said of then. Lives as long as the terms. */
const struct power_row *site_terms_power(const struct site_terms *t, int64_t at_s);
/* A call as an event, with the power that there is at a time. */
struct curtail_event site_call_event(const struct site_terms *t, int64_t at_s,
                                     const struct site_call *call);

struct cloud_sites {
    const struct site_terms *list;
    int n;
};
/* These from now on, all or none. They and all earlier ones outlive the cloud. ERR_LIMIT. */
int cloud_set_sites(struct cloud *c, const struct cloud_sites *s, struct err *e);
/* What time it is: states go by it. To be told often; unix microseconds. */
void cloud_tick_sites(struct cloud *c, int64_t wall_us);

/* What a file says now: a factor, or < 0 for "nothing" (with `why`, a sentence, where it cannot be
 * read: the last one holds on then). */
void cloud_tell_site_factor(struct cloud *c, const char *site, int32_t ppm, const char *why);
/* Its hours from now on; the cloud's then. NULL: they could not be had, `why` says so, and those of
 * before stay. */
void cloud_tell_site_carbon(struct cloud *c, const char *site, struct carbon_hours *h,
                            const char *why);

/* What one of its sensors says. */
struct site_reading {
    char name[SITE_NAME_MAX];
    const char *quantity, *unit; /* live for ever; "" of what is 0 or 1 */
    char source[160];            /* what is read, without what may be secret */
    const char *quality;         /* lives for ever: good, stale, refused, or "not heard" */
    int has_value;
    int64_t value;      /* thousandths of the unit: the last that could be */
    int64_t at_us;      /* when that was so, of the monotonic clock */
    int64_t change;     /* within an hour, at the pace of late */
    int32_t factor_ppm; /* what it leaves */
    char why[200];      /* "", or why it was not read, or is refused */
    int64_t limit[4];   /* low_allowed, low, high, high_allowed; INT64_MIN: none */
    int64_t rate;       /* INT64_MIN: none */
};

struct site_environment {
    int32_t factor_ppm;
    char cause[200]; /* which sensor, its reading and limit; "": it leaves all */
    int n;
    struct site_reading row[SITE_SENSORS_MAX];
};
/* What its sensors say now; copied. */
void cloud_tell_site_environment(struct cloud *c, const char *site,
                                 const struct site_environment *v);
/* The PUE that its meters say, in thousandths; < 0: they do not. */
void cloud_tell_site_pue(struct cloud *c, const char *site, int32_t permille);
/* And what they said last. ERR_NOTFOUND: there is no site, or it has no sensors, or they have not
 * said anything. */
int cloud_view_site_environment(struct cloud *c, const char *site, struct site_environment *ret);

/* Nodes of a site that are lent to other work. */
struct site_lent {
    int n[LEND_STATES]; /* by their state */
    int n_wanted;       /* lent, by what was decided last */
    int64_t changed_s;  /* when a node was lent or came back, unix seconds; 0: none did */
    int is_heard;       /* the batch system answered; else all is as it was told last */
    const char *cause;  /* why no more are wanted; lives for ever */
    char why[160];      /* "", or why it did not answer, or a node is not back */
};
struct site_node {
    char name[SITE_NAME_MAX];
    enum lend_state state;
    int64_t since_s;
};
struct site_nodes {
    struct site_lent lent;
    int n;
    struct site_node row[SITE_NODES_MAX];
};
/* How its nodes are; copied. Before anything was told all but those that always serve are taken as
 * lent. */
void cloud_tell_site_nodes(struct cloud *c, const char *site, const struct site_nodes *v);
/* ERR_NOTFOUND: there is no site, or it has no nodes, or nothing was told yet. */
int cloud_view_site_nodes(struct cloud *c, const char *site, struct site_nodes *ret);
/* How it is, for deciding which of its nodes are lent. ERR_NOTFOUND. */
int cloud_view_site_work(struct cloud *c, const char *site, struct lend_site *ret);

/* What an operator says of a site; < 0: nothing. */
struct site_order {
    int state; /* an enum lifecycle_state */
    int32_t factor_ppm;
};
/* Change it, with a line of the audit log, in the store of accounts: so it survives a restart, and
 * all servers of the store obey. Members that are SITE_KEEP stay. It is in force when this returns.
 * Waits for the database. ERR_NOTFOUND: the configuration has no such site; ERR_UNSUPPORTED: there
 * is no store. */
#define SITE_KEEP (-2)
int cloud_order_site(struct cloud *c, int64_t now_us, const struct account_who *w, const char *site,
                     const struct site_order *o, struct err *e);

/* A call of the grid for a site, with a line of the audit log, in the store of accounts: it
 * survives a restart, and all servers of the store obey. Of io the id and is_short are filled in.
 * Waits for the database. ERR_NOTFOUND; ERR_UNSUPPORTED: there is no store; ERR_ARG: what the
 * site's terms or limits do not allow; ERR_EXISTS: the year has as many as were agreed. */
int cloud_call_site(struct cloud *c, int64_t now_us, const struct account_who *w,
                    struct site_call *io, struct err *e);
/* It is over from now on: the site goes up again, or never down. ERR_NOTFOUND: there is none of
 * that id; ERR_EXISTS: it is over, or was cancelled. */
int cloud_cancel_call(struct cloud *c, int64_t now_us, const struct account_who *w, int64_t id,
                      struct site_call *ret, struct err *e);
/* What would be said of it: ERR_ARG, ERR_NOTFOUND. Fills in is_short. */
int cloud_check_call(struct cloud *c, int64_t now_s, struct site_call *io, struct err *e);

/* The curtailment of a site that holds: of several the lowest. */
struct site_curtailed {
    struct curtail_now now;
    int64_t until_s; /* it goes up from then on */
    int64_t id;      /* of the call; 0: a schedule */
};

/* How a site is now. Strings of `terms` live as long as the cloud. */
struct site_view {
    const struct site_terms *terms;
    struct site_order order;
    enum lifecycle_state state;    /* in force */
    struct lifecycle_now life;     /* by its dates alone */
    const struct power_row *power; /* that holds; NULL: none does */
    int32_t file_ppm;              /* < 0: no file says anything */
    int32_t environment_ppm;       /* < 0: it has no sensors */
    struct site_curtailed curtailed;
    int32_t pue_permille; /* measured, or as the configuration says; 0: neither */
    int is_pue_measured;
    int32_t factor_ppm;                        /* in force; 0 where nobody is let in */
    int64_t carbon_mg[CARBON_BASES];           /* in this hour, or CARBON_UNKNOWN */
    int64_t n_requests;                        /* served there, since the start */
    struct energy used;                        /* by these; method unknown: nothing is known */
    int64_t n_unmetered;                       /* of them: their energy is not known */
    int32_t n_running, n_waiting, n_suppliers; /* at its suppliers */
    int32_t n_places;                          /* in use at most, by the factor and lent nodes */
    struct site_lent lent;                     /* of a site with nodes */
    int32_t places_ppm;                        /* the part of its places that these leave */
    int64_t lent_w;                            /* by nodes that are lent or return */
    char why_factor[160], why_carbon[160];     /* "", or why a file or a feed could not be read */
    char cause[200]; /* of what the environment leaves; "": it leaves all */
};
/* Those of the configuration in force, in its order, as of the last tick; carbon is of the hour of
 * wall_s. */
int cloud_view_sites(struct cloud *c, int64_t wall_s, struct site_view ret[SITES_MAX]);
int cloud_view_site(struct cloud *c, int64_t wall_s, const char *name, struct site_view *ret);

/* The name of an offer's site; "": it has none. Lives as long as the cloud. */
const char *cloud_offer_site(const struct cloud *c, const struct cloud_offer *of);

#endif
