/* The forms of a statement (cloud/settled.h), on stdout. */
#ifndef CMD_SETTLED_FORM_H
#define CMD_SETTLED_FORM_H

#include "cloud/settled.h"

void settled_print(const struct settled *s);
int settled_csv(const struct settled *s);  /* FOCUS; ERR_NOMEM */
int settled_page(const struct settled *s); /* ERR_NOMEM */

#endif
