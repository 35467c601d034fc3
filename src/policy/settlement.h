/* What is owed for a period of a contract: from the contract, the pieces of time in which its sites
 * were watched (policy/power_hours.h), notes on causes, and what its requests used. Pure.
 *
 * A period is settled in *parts*: within one the version of the contract and its prices are the
 * same. Each part gives lines; then the period is closed: the cap of credits, what the prepayment
 * pays. A line's amount is computed from the numbers that it has (whole joules, price, share) and
 * rounded once, half away from 0; the total is the sum of the lines, exactly.
 *
 * **Delivered.** While a tranche is ready (tranche_ready) it needs its watts. In a piece of its
 * site, what may be used there is shared by all tranches that are ready there: of the site's usable
 * energy each is delivered its need, or where that is less than all need, need * usable / all. The
 * rest is *short*. What no piece tells of is *unknown*: it is neither, and is paid for.
 *
 * **Causes.** A short energy has the cause of the note that holds for that minute. Without one it
 * is shared in proportion to what was missing of the site's: what the factor took, by its cause;
 * and as the supplier's what was never energised of what is ready, or is held for other uses.
 *
 * Energies of a tranche sum: committed = late + ready, ready = delivered + short + unknown. They
 * are kept in microjoules, and in lines in whole joules: short and unknown are rounded down to
 * them, delivered has what is left of what is ready. */
#ifndef POLICY_SETTLEMENT_H
#define POLICY_SETTLEMENT_H

#include "policy/contract.h"
#include "policy/power_hours.h"

#define SETTLEMENT_UJ 1000000 /* of a joule */

enum settlement_kind {
    SETTLE_CAPACITY,  /* a tranche's ready energy at its price */
    SETTLE_LATE,      /* credit of a tranche that is late */
    SETTLE_SHORT,     /* credit of a tranche for what was missing, by cause */
    SETTLE_CAP,       /* what credits are more than the cap, given back */
    SETTLE_NOT_TAKEN, /* take-or-pay: what was delivered and is not paid */
    SETTLE_TRUE_UP,   /* by what was measured of the basket */
    SETTLE_SPILLOVER, /* work above the contract */
    SETTLE_LENT,      /* the customer's share of what its idle power earned */
    SETTLE_PREPAID,   /* what the prepayment pays */
    SETTLE_BACKSTOP,  /* what a buyer of last resort took */
    SETTLE_KINDS
};
const char *settlement_kind_name(enum settlement_kind k); /* "capacity" */

/* Of a tranche in a part. */
struct settlement_tranche {
    power_uj ready, watched, short_of[POWER_CAUSES]; /* watched: of ready */
    power_uj late;
    power_uj used;                         /* by requests within it */
    int64_t n_pieces, first_seq, last_seq; /* rows behind it */
};

/* What requests used in a part, by rows of the ledger. */
struct settlement_use {
    int64_t n_requests, n_unmetered, first_seq, last_seq;
    int64_t prompt_tokens, completion_tokens;
    contract_nano charge;
};

/* What a buyer of last resort took in a part, of one tranche at one price. */
#define SETTLEMENT_TAKEN_MAX 512
struct settlement_taken {
    int i_tranche; /* -1: the contract has it no more */
    int64_t price;
    power_uj joules;
    int64_t n_rows, first_seq, last_seq;
};

struct settlement {
    const struct contract *c;
    int64_t now_s, from_s, until_s;
    struct settlement_tranche tranche[CONTRACT_TRANCHES_MAX];
    struct settlement_use own, paid, lent; /* lent: to others */
    /* Of the pieces that follow, so many watts of the place are so many of the contract, which may
     * be on another basis (policy/power.h). own_watts 0: they are the same. */
    int32_t site_watts, own_watts;
    struct settlement_taken taken[SETTLEMENT_TAKEN_MAX];
    int n_taken;
};
/* Begin a part, as the contract is known at now_s, which is not before its end. */
void settlement_begin(struct settlement *s, const struct contract *c, int64_t now_s, int64_t from_s,
                      int64_t until_s);
/* A piece of a site or of a region (the other is NULL), in any order; each time of a place once.
 * note: the cause that a note tells, POWER_CAUSES: none. seq: the row's number. */
void settlement_piece(struct settlement *s, const char *site, const char *region,
                      const struct power_piece *p, enum power_cause note, int64_t seq);

/* Energy that was taken, by a row's number. 0, or -1: it is of more tranches and prices than are
 * kept apart. */
int settlement_take_energy(struct settlement *s, int i_tranche, int64_t price, int64_t joules,
                           int64_t seq);

struct settlement_line {
    enum settlement_kind kind;
    int i_tranche; /* -1: none */
    int i_part;    /* the caller's */
    int cause;     /* an enum power_cause; -1: none */
    int is_told;   /* it has no amount, and says so: what was not measured, or a cause that gives
                      no credit */
    power_uj joules;
    int64_t price;      /* nano-units for a megawatt-hour */
    int64_t share_ppm;  /* of it */
    contract_nano base; /* of which share_ppm is taken where there are no joules */
    contract_nano amount;
    int64_t n_rows, first_seq, last_seq;
};
/* 0, or what went wrong: the line could not be taken. */
typedef int settlement_take(void *arg, const struct settlement_line *l);
/* The lines of a part that is whole. measured: thousandths of a token a second of each tranche, as
 * measured; 0: it was not. */
int settlement_lines(const struct settlement *s, int i_part, const int64_t *measured,
                     settlement_take *take, void *arg);

/* What lines of all parts come to. Begin with {0}. */
struct settlement_sum {
    contract_nano fee, credits, total; /* credits: below 0 */
};
void settlement_add(struct settlement_sum *sum, const struct settlement_line *l);
/* Close a period by the terms of its last part: two lines at most. prepaid: what is left of the
 * prepayment before it. */
int settlement_close(const struct contract *c, int i_part, contract_nano prepaid,
                     struct settlement_sum *sum, settlement_take *take, void *arg);

/* joules * price * share, in nano-units, rounded once, half away from 0. All are at least 0. */
contract_nano settlement_amount(power_uj joules, int64_t price, int64_t share_ppm);
/* In whole joules: short of a cause, unknown, and what is left. */
power_uj settlement_short(const struct settlement_tranche *t, enum power_cause cause);
power_uj settlement_unknown(const struct settlement_tranche *t);
power_uj settlement_delivered(const struct settlement_tranche *t);
/* Delivered of what was watched, in millionths; -1: none was. */
int64_t settlement_availability(const struct settlement_tranche *t);

#endif
