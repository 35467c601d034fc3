/* What a curtailment costs and earns, as JSON: before it is taken, and when it is over. For prep
 * threads, as it asks the ledger and the store of accounts. */
#ifndef SERVE_CURTAIL_COST_H
#define SERVE_CURTAIL_COST_H

#include "base/json.h"
#include "cloud/site.h"

struct server;

/* What would be lost, what that earns, and what contracts that hold would be short of. NULL: no
 * memory. */
json_t *curtail_estimate_json(struct server *s, const struct site_terms *t,
                              const struct site_call *call, int64_t now_s);
/* What was used while it held, by the ledger, and what follows from it. NULL: no memory. */
json_t *curtail_settled_json(struct server *s, const struct site_terms *t,
                             const struct site_call *call);
int curtail_is_over(const struct site_terms *t, const struct site_call *call, int64_t now_us);

#endif
