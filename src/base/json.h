/* JSON: jansson behind one header. See json.c for limits. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>

#endif
