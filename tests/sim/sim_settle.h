/* Parts of sim_settlement: what was injected into a world, as its script has it, and what must come
 * of that by a reckoning of the simulation's own, which reads no row of the product. Times are
 * microseconds or seconds of the wall clock; days are numbers since 1970. One thread. */
#ifndef TEST_SIM_SETTLE_H
#define TEST_SIM_SETTLE_H

#include <stdint.h>

#include "policy/settlement.h"

#define S         INT64_C(1000000)
#define MINUTE    (60 * S)
#define HOUR      (3600 * S)
#define DAY       86400 /* seconds */
#define MILLION   1000000
#define LOOK_MOST (10 * S) /* between two looks, or the time between is not known */
#define NOT_TOLD  (-1)

__extension__ typedef __int128 wide;

enum {
    SITES = 3,
    REGIONS = 2,
    PLACES = SITES + REGIONS,
    CONTRACTS = 2,
    TRANCHES = 4,
    VERSIONS = 12,
    LOST = 4, /* causes that lower a factor, in the order of the product's names */
    CAUSES = 7,
    PIECES_MAX = 8000,
    NOTES_MAX = 200,
    USES_MAX = 2000,
    LINES_MAX = 4000
};
enum { OWN, LENT, PAID }; /* whose power a request used, as the ledger has it */

void fail(const char *what, ...) __attribute__((noreturn, format(printf, 1, 2)));
int64_t below(int64_t n); /* a random number */

/* ---- the script: what is said and done --------------------------------------------------- */

extern const char *const place_name[PLACES]; /* of a region: without the word before it */
extern const int region_of[SITES];           /* a place */
/* Of a site: whose power its watts are, and the building's by the machines' in thousandths. */
struct basis_of {
    int is_facility;
    int64_t pue; /* 0: not known */
};
extern struct basis_of basis[SITES];

struct tranche_of {
    int name, is_option, place;              /* name: p<name> */
    int64_t watts, tokens, price;            /* price: nano-units */
    int target, until, delivered, cancelled; /* days; 0: not said */
    int window_from, window_until, exercised;
};

struct version_of {
    int64_t effective_s, recorded_s;
    int n;
    struct tranche_of tranche[TRANCHES];
    int64_t growth, late, missing, cap, take, lend; /* millionths */
    int growth_day;                                 /* prices grow a year after it */
    int64_t prepayment;
    int gain; /* as the product's words stand */
};

struct contract_of {
    const char *name;
    int is_facility, is_paris; /* is_paris: its days are; else of UTC */
    int from, until, signed_day;
    int n;
    struct version_of version[VERSIONS];
    int64_t measured[TRANCHES]; /* thousandths of a token a second; 0: it was not */
};
extern struct contract_of contract[CONTRACTS];

int day_number(int year, int month, int day);
void day_date(int n, int *ret_year, int *ret_month, int *ret_day);
int64_t day_s(const struct contract_of *c, int day); /* its first moment */
int64_t next_month(const struct contract_of *c, int64_t at_s);

/* ---- its contracts (sim_settle_terms.c) */

enum { SPAN_DAYS = 50 };         /* of a world */
extern int first_day, today_day; /* of a world, and now */
void draw_contract(int k);
void change_contract(struct version_of *v); /* as an amendment might */
struct sheet {
    char at[8192];
    int n;
};
void write_contract(struct sheet *x, const struct contract_of *c, const struct version_of *v);

/* A site as it is at a moment. */
struct state_of {
    int64_t contracted, energised, encumbered, ready; /* watts */
    int64_t factor;                                   /* millionths */
    int cause;
};

struct note_of {
    int place, cause; /* NOT_TOLD: those of before are taken back */
    int64_t from_us, until_us;
};
extern struct note_of note[NOTES_MAX];
extern int n_notes;

struct use_of {
    int64_t at_us, energy, charge, tokens; /* energy NOT_TOLD */
    int i_contract, name;                  /* of its tranche; -1: none */
    int lent, is_customer, is_foreign, is_correction, site;
};
extern struct use_of use[USES_MAX];
extern int n_uses;

/* ---- what was watched (sim_settle_power.c) ----------------------------------------------- */

/* A piece of a place: what was so within one minute and without a break. */
struct piece_of {
    int place, is_over, is_written, is_lost;
    int64_t from_us, until_us;
    wide contracted, energised, encumbered, ready, lost[LOST];
};
extern struct piece_of piece[PIECES_MAX];
extern int n_pieces;

void watch_begin(void); /* a process starts ... */
/* ... and looks at its sites: state as it is at wall_us. */
void watch_look(int64_t wall_us, const struct state_of state[SITES]);
void watch_end(void);    /* it ends well */
void watch_kill(void);   /* it is killed: what was not written is lost */
void watch_forget(void); /* another world */
/* Watts that contracts have ready at a place, of the versions that are there. */
int64_t ready_at(int place, int64_t at_s);

/* ---- what must come of it (sim_settle_again.c) ------------------------------------------- */

/* How a period was settled: what of the script counts. */
struct known {
    int n_versions, n_pieces, n_notes, n_uses;
    int64_t made_s;
};
struct line_of {
    int kind, i_tranche, cause, is_told; /* kind: as policy/settlement.h has them */
    int64_t from_s, until_s;             /* of the part */
    wide joules, amount;
};
struct again {
    int n;
    struct line_of line[LINES_MAX];
    wide total, prepaid; /* what was left of the prepayment before */
    /* Of all parts, in microjoules, by tranche's number. */
    wide ready[TRANCHES], late[TRANCHES], watched[TRANCHES], missing[TRANCHES][CAUSES],
        used[TRANCHES];
};
void again_make(struct again *a, const struct contract_of *c, const struct known *k, int64_t from_s,
                int64_t until_s);
/* The version that holds at a time, of the first n. */
const struct version_of *version_at(const struct contract_of *c, int n, int64_t at_s);

#endif
