/* The admin API as an OpenAPI 3.1 document, made from the table of account fields. Pure. */
#ifndef SERVE_ADMIN_OPENAPI_H
#define SERVE_ADMIN_OPENAPI_H

#include "base/json.h"

json_t *admin_openapi(void); /* a new reference; NULL: no memory */

#endif
