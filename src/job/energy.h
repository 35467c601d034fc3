/* The energy of a job or of a reading, with what one must know to read the number: what is measured
 * (boundary), how (method), and how far it may be off. A number of joules without these means
 * nothing. */
#ifndef JOB_ENERGY_H
#define JOB_ENERGY_H

#include <stdint.h>

/* The numbers of both enums stand in ledgers: none of them ever changes. */
enum energy_boundary {
    ENERGY_ACCELERATOR, /* the chips that compute, and their memory */
    ENERGY_IT,          /* the whole machine, as its power supply draws */
    ENERGY_FACILITY,    /* with cooling and losses of the building: IT times PUE */
    ENERGY_BOUNDARIES
};

enum energy_method {
    ENERGY_UNKNOWN,    /* nothing is known; uj says nothing */
    ENERGY_RAPL,       /* counters of the processor */
    ENERGY_REDFISH,    /* the machine's management controller */
    ENERGY_FEED,       /* a smart plug, a PDU, any meter that is read as JSON */
    ENERGY_MODEL,      /* computed from CPU time by a curve of watts */
    ENERGY_STATED,     /* a supplier's word */
    ENERGY_CONTRACTED, /* joules a token that were agreed upon with a supplier */
    ENERGY_METHODS
};

struct energy {
    int64_t uj; /* microjoules */
    enum energy_boundary boundary;
    enum energy_method method;
    int32_t uncertainty_permille; /* of uj: the true value lies within, as far as is known */
};

/* A meter and where its energy went: attributed + unattributed = metered, but for what was guessed
 * between two readings. */
struct energy_look {
    struct energy label; /* uj is 0 */
    int64_t metered_uj, attributed_uj, unattributed_uj;
    int64_t power_uw; /* now, about */
    int64_t read_us;  /* the last reading, by the clock */
    uint64_t n_readings, n_failures;
    int is_late; /* silent for so long that nothing is guessed any more */
};

/* "accelerator", "it", "facility"; "unknown", "rapl", "redfish", "feed", "model", "stated",
 * "contracted". */
const char *energy_boundary_name(enum energy_boundary b);
const char *energy_method_name(enum energy_method m);
/* By its name; -1: none has it. */
int energy_boundary_find(const char *name);
int energy_method_find(const char *name);

/* Add what a further job used; a sum that is all zero is empty. A sum of which a part is unknown is
 * unknown. Of different boundaries the sum has the narrower one, of different methods the later of
 * the list, and the greater uncertainty: no more than all parts can claim. */
void energy_add(struct energy *sum, const struct energy *part);

#endif
