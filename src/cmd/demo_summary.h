/* What a demonstration came to: energies by part, a statement of each contract, what happened. */
#ifndef CMD_DEMO_SUMMARY_H
#define CMD_DEMO_SUMMARY_H

#include "cmd/demo_home.h"

#define DEMO_EVENTS_MAX 64

struct demo_event {
    int64_t at_s;
    char text[400];
};

struct demo_story {
    int64_t from_s, until_s;
    struct demo_counts counts;
    int n_events;
    struct demo_event event[DEMO_EVENTS_MAX];
};

/* By the ledger and the accounts in the home, on stdout. ERR_*. */
int demo_summary(const struct demo_home *h, const struct demo_story *s, int is_json, struct err *e);

#endif
