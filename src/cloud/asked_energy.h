/* How much energy tokens will take at an offer: what was measured there, else what was contracted,
 * else of this process's own engine a first guess. */
#ifndef CLOUD_ASKED_ENERGY_H
#define CLOUD_ASKED_ENERGY_H

#include "cloud/cloud.h"

/* Before the first measurement: a tenth of a joule for a token of a prompt. */
#define ASKED_ENERGY_FIRST_NJ INT64_C(100000000)

struct energy_rates asked_energy(struct cloud_offer *of); /* [any]; of NULL: nothing is known */
/* A request has ended there. What was contracted teaches nothing. [any] */
void asked_energy_learn(struct cloud_offer *of, const struct cloud_use *u);

#endif
