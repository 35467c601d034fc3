/* What a site's power became: pieces of time in which it was watched, added up into hours (or any
 * other span) whose parts sum to the energised energy exactly. Pure.
 *
 * Times are microseconds of the wall clock, power is in watts, energy in microjoules: watts times
 * microseconds, so that nothing is rounded but what a factor takes away, down to a microjoule.
 *
 * Of the energised energy of a span
 *
 *   encumbered  is held for other uses than serving,
 *   curtailed   is what the capacity factor took of the rest, whatever the cause,
 *   used        drew work of contracts within these, and work of others that pays for it,
 *   lent        drew work that borrowed what contracts left idle,
 *   sold        stood ready for contracts and nobody drew it,
 *   backstop    a buyer of last resort took (policy/backstop.h), or its work drew, if that is more,
 *   idle        is the rest.
 *
 * They are filled in this order, each with what is left at most; what work drew beyond that (it is
 * booked when an answer ends, perhaps in the next span) is told as `over`, and is no part. */
#ifndef POLICY_POWER_HOURS_H
#define POLICY_POWER_HOURS_H

#include <stdint.h>

#define POWER_PIECE_WATTS INT64_C(100000000000)
#define POWER_PIECE_US    INT64_C(60000000)   /* a piece is of one minute, or less */
#define POWER_HOUR_US     INT64_C(3600000000) /* in a demonstration, of one hour or less */
#define POWER_PIECE_UJ    (POWER_PIECE_WATTS * POWER_PIECE_US) /* no energy of it is more */
#define POWER_PPM         1000000

/* An energy that may pass what an int64_t holds: of a large site for more than an hour. */
__extension__ typedef __int128 power_uj;

#define POWER_UJ_TEXT_MAX 44
char *power_uj_show(power_uj v, char out[POWER_UJ_TEXT_MAX]); /* every digit; returns out */

/* Why power was not there. */
enum power_cause {
    POWER_ENVIRONMENT, /* weather, cooling, the feeder: what sensors said */
    POWER_CURTAILMENT, /* the grid's */
    POWER_MAINTENANCE,
    POWER_OPERATOR, /* an order, a file or the configuration */
    POWER_MEASURED, /* so many of them lower a factor */
    POWER_FORCE_MAJEURE = POWER_MEASURED,
    POWER_SUPPLIER, /* it was sold and never energised, or held for other uses */
    POWER_CUSTOMER,
    POWER_CAUSES
};
const char *power_cause_name(enum power_cause c); /* "force-majeure" */
int power_cause_find(const char *word);           /* -1: there is none */

/* A site at a moment. */
struct power_state {
    int64_t contracted_w; /* with the grid */
    int64_t energised_w;
    int64_t encumbered_w;   /* held for other uses; more than is energised counts as all of it */
    int64_t ready_w;        /* of tranches that are delivered there */
    int32_t factor_ppm;     /* what may be used of the rest */
    enum power_cause cause; /* of a factor that is not all; < POWER_MEASURED */
};

/* A piece of time. */
struct power_piece {
    int64_t from_us, until_us;
    int64_t contracted_uj, energised_uj, encumbered_uj, ready_uj;
    int64_t lost_uj[POWER_MEASURED]; /* to the factor, by its cause */
};
void power_piece_begin(struct power_piece *p, int64_t at_us);
/* It was so from the end of the piece until then, which becomes its end. 0, or -1 and nothing is
 * added: that is not later, it would pass the hour in which the piece began, or watts are out of
 * bounds. */
int power_piece_add(struct power_piece *p, const struct power_state *s, int64_t until_us);
/* The end of the span in which it began, POWER_PIECE_US or POWER_HOUR_US. */
int64_t power_piece_end(const struct power_piece *p, int64_t span_us);
/* The part of a piece that is within [from_us, until_us), in proportion to time, each energy
 * rounded down. 0, or -1: none of it is. */
int power_piece_cut(const struct power_piece *p, int64_t from_us, int64_t until_us,
                    struct power_piece *ret);
/* What may be used of it: energised less encumbered less lost. */
int64_t power_piece_usable(const struct power_piece *p);
/* Could watching have made it? For pieces that others wrote. */
int power_piece_ok(const struct power_piece *p);

/* Pieces of a span, added up. Begin with {0}. */
struct power_sum {
    power_uj contracted, energised, encumbered, ready, lost[POWER_MEASURED];
    int64_t watched_us;
};
void power_sum_add(struct power_sum *s, const struct power_piece *p);

/* What work drew in a span, by the rows of its answers. */
struct power_use {
    power_uj own, other, lent, backstop; /* own: of contracts, within these */
    power_uj taken;                      /* by buyers of last resort */
};
struct power_parts {
    power_uj energised, encumbered, curtailed, used, lent, backstop, sold, idle;
    power_uj over;
};
/* energised = encumbered + curtailed + used + lent + backstop + sold + idle, exactly. */
void power_parts(const struct power_sum *s, const struct power_use *u, struct power_parts *ret);

#endif
