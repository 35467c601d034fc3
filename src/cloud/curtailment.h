/* What curtailment leaves of a site, by its schedules and the calls of the grid. Inside of the
 * cloud room; pure. */
#ifndef CLOUD_CURTAILMENT_H
#define CLOUD_CURTAILMENT_H

#include "cloud/site.h"

struct site_curtailed curtailment_none(void);
/* Of all calls, those of other sites too. */
struct site_curtailed curtailment_now(const struct site_terms *t, const struct site_call *calls,
                                      int n_calls, int64_t at_us);

#endif
