/* gaufre site curtail: the grid's calls for a site of a running server. */
#ifndef CMD_CURTAILING_H
#define CMD_CURTAILING_H

#include "cmd/admin_ask.h"

struct curtail_opts {
    const char *to, *from, *lasts, *ramp;
    int64_t cancel, call; /* ids; 0: none */
    int is_dry;
};
/* Is anything of it said? */
int curtail_is_said(const struct curtail_opts *o);
/* What is wrong with it, as a sentence; NULL: nothing. */
const char *curtail_opts_fault(const struct curtail_opts *o);
/* Take a call, look at one or all, or cancel one, and print it. */
int curtail_run(const struct admin_server *at, const char *site, const struct curtail_opts *o,
                int json, struct err *e);

#endif
