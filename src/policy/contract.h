/* A contract: power that a supplier keeps ready for a customer, in dated tranches. Pure.
 *
 * A tranche is so many watts at a site (or in a region) from its target date on. It is *firm*, or
 * an *option* that becomes firm when the customer exercises it within a window. A firm tranche that
 * is not delivered by its target date is *late*; after its longstop date the customer may leave it.
 * Tranches of a buyer of last resort promise nothing: their watts are what it takes at most.
 *
 * Power is in watts, energy in joules, money in nano-units of the contract's currency
 * (base/money.h), shares in millionths, times in unix seconds. Periods are [from, until). */
#ifndef POLICY_CONTRACT_H
#define POLICY_CONTRACT_H

#include <stdint.h>

#define CONTRACT_TRANCHES_MAX 256
#define CONTRACT_LOADS_MAX    32
#define CONTRACT_NAMES_MAX    32
#define CONTRACT_YEARS_MAX    50 /* of a term */
#define CONTRACT_WATTS_MAX    INT64_C(100000000000)
#define CONTRACT_PRICE_MAX    INT64_C(100000000000000000) /* a hundred million units */
#define CONTRACT_MWH_J        INT64_C(3600000000)         /* of a megawatt-hour */
#define CONTRACT_PPM          1000000                     /* all of it */

/* An amount of many years, which may pass the nine billion units of an int64_t. */
__extension__ typedef __int128 contract_nano;

struct contract_names {
    int n;
    const char *v[CONTRACT_NAMES_MAX];
};

struct contract_party {
    const char *name;
    const char *owner;             /* NULL: nobody, or not said */
    struct contract_names related; /* parties that are not independent of it */
    struct contract_names tenants; /* of a customer: whose requests the contract serves */
};

/* One row of the basket, the work by which megawatts become tokens. */
struct contract_load {
    const char *model;
    const char *precision;    /* NULL: as it is served */
    int64_t input, output;    /* tokens of a request */
    int64_t cached_ppm;       /* share of the input that is found in a cache */
    int64_t ttft_ms, tpot_ms; /* limits at p99; 0: none */
    int64_t weight;           /* share of the basket: this by the sum of all */
};

struct tranche {
    const char *name;
    const char *site, *region; /* one of them */
    const char *hardware;      /* generation; NULL: any */
    int64_t watts;
    int64_t tokens_per_s; /* of output that these are declared to make; 0: not said */
    int64_t concurrency;  /* sequences at a time; 0: any number */
    int64_t target_s;     /* when it is to be delivered */
    int64_t until_s;      /* when it ends; 0: with the contract */
    int64_t longstop_s;   /* 0: none */
    int64_t delivered_s;  /* when it was; 0: it is not yet */
    int64_t cancelled_s;  /* 0: it is not */
    int is_option;
    int64_t exercise_from_s, exercise_until_s; /* of an option */
    int64_t exercised_s;                       /* 0: it is not (yet) */
    int64_t price;                             /* nano-units for a megawatt-hour kept ready */
};

/* A buyer of last resort: takes what nobody bought (policy/backstop.h), up to these in a year. */
struct contract_backstop {
    int is_there;
    int64_t yearly_mwh;   /* 0: any number */
    int64_t yearly_money; /* 0: any amount */
};

enum contract_basis { CONTRACT_IT, CONTRACT_FACILITY };
#define CONTRACT_BASIS_WORDS "it|facility"
/* What happens to work above the contract. */
enum contract_spillover { SPILL_REJECT, SPILL_PAY, SPILL_BORROW };
#define CONTRACT_SPILLOVER_WORDS "reject|pay|borrow"
/* Whose the gain is when an engine gets more tokens out of a watt. */
enum contract_gain { GAIN_CUSTOMER, GAIN_SUPPLIER, GAIN_SHARED };
#define CONTRACT_GAIN_WORDS "customer|supplier|shared"
enum contract_assignment { ASSIGN_WITH_CONSENT, ASSIGN_NEVER, ASSIGN_FREELY };
#define CONTRACT_ASSIGNMENT_WORDS "consent|never|free"

struct contract {
    const char *name;  /* the contract's id */
    const char *title; /* NULL: none */
    struct contract_party supplier, customer;
    int64_t signed_s; /* 0: it is a draft */
    int64_t from_s, until_s;
    const char *time_zone; /* NULL: UTC */
    char currency[4];
    enum contract_basis basis;
    int64_t prepayment;
    int64_t indexation_ppm;              /* prices grow by so much a year after ... */
    int64_t indexation_from_s;           /* ... this day; 0: after `from` */
    int64_t index_s[CONTRACT_YEARS_MAX]; /* these are the times when they do; they rise */
    int n_index;
    int64_t year_s[CONTRACT_YEARS_MAX]; /* on these its second year and later ones begin */
    int n_years;
    struct contract_backstop backstop; /* then its tranches keep nothing ready */
    int64_t take_or_pay_ppm;  /* of the energy kept ready, paid whether or not it is used */
    int64_t late_credit_ppm;  /* of its price, for each MWh of a tranche that is late */
    int64_t short_credit_ppm; /* of its price, for each MWh that was delivered and then missing */
    int64_t credit_cap_ppm;   /* credits are at most so much of a period's fee; 0: no cap */
    int64_t lend_share_ppm;   /* the customer's, of what others pay for its idle power */
    int64_t unlent_ppm;       /* of its entitlement: that is kept free for it, and never lent */
    int64_t borrow_ppm;       /* of it: so much more it may borrow (SPILL_BORROW); 0: any */
    enum contract_spillover spillover;
    int64_t spill_input, spill_output; /* SPILL_PAY: nano-units for a million tokens */
    enum contract_gain gain;
    enum contract_assignment assignment;
    int64_t notice_days; /* of a termination; 0: it cannot be ended early */
    int64_t termination_fee;
    struct contract_load load[CONTRACT_LOADS_MAX];
    int n_loads;
    struct tranche tranche[CONTRACT_TRANCHES_MAX];
    int n_tranches;
};

/* What is wrong with it: NULL, or a sentence, and where. Names are the fields' in a file. Whatever
 * else this header computes wants a contract without a fault. */
struct contract_place {
    int i_tranche, i_load; /* -1: none of them */
    const char *field;
};
const char *contract_fault(const struct contract *c, struct contract_place *ret);

/* A tenant that both serve while both run, which one of them would not do; NULL: there is none. */
const char *contract_shared_tenant(const struct contract *a, const struct contract *b);

enum tranche_state {
    TRANCHE_PLANNED,
    TRANCHE_ACTIVE,  /* delivered, and not over */
    TRANCHE_LATE,    /* past its target date, not delivered */
    TRANCHE_OVERDUE, /* past its longstop date, not delivered */
    TRANCHE_OPTION,  /* an option that may be exercised yet */
    TRANCHE_LAPSED,  /* an option that was not */
    TRANCHE_CANCELLED,
    TRANCHE_ENDED,
    TRANCHE_STATES
};
const char *tranche_state_name(enum tranche_state s);
/* How it was at that time: what happened later is not known then. */
enum tranche_state tranche_state(const struct contract *c, const struct tranche *t, int64_t now_s);
int64_t tranche_until(const struct contract *c, const struct tranche *t); /* its last moment */

/* When a tranche is promised and when it is there, as it is known at now_s; a later delivery than
 * now is not known. due_s <= ready_s; where end_s is not behind one of them, it is not. */
struct tranche_span {
    int64_t due_s, ready_s, end_s;
};
void tranche_spans(const struct contract *c, const struct tranche *t, int64_t now_s,
                   struct tranche_span *ret);

enum contract_power {
    POWER_FIRM,  /* promised: from target dates on, options that were exercised with it */
    POWER_READY, /* of these from delivery on; who delivers early is not paid for it */
};
/* Watts at a time, as it is known at now_s; of one site or region, or NULL: all. */
int64_t contract_watts(const struct contract *c, enum contract_power p, const char *site,
                       const char *region, int64_t now_s, int64_t at_s);

/* Of a period, as it is known at now_s. */
struct contract_due {
    int64_t firm_j;    /* promised: ready_j + late_j */
    int64_t ready_j;   /* of these delivered, or to be delivered by the target date, or now */
    int64_t late_j;    /* promised, and not there */
    contract_nano fee; /* for what is ready */
    contract_nano late_credit; /* for what is late, before any cap */
};
/* Amounts are rounded once for each tranche and price, half away from 0; energy that does not fit
 * is INT64_MAX. */
void contract_due(const struct contract *c, int64_t now_s, int64_t from_s, int64_t until_s,
                  struct contract_due *ret);
/* The price of a tranche's megawatt-hour at a time, with the years' indexation; at most
 * CONTRACT_PRICE_MAX. */
int64_t contract_price(const struct contract *c, const struct tranche *t, int64_t at_s);

#endif
