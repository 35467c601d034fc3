/* A text in memory that is not this struct's. */
#ifndef JOB_TEXT_H
#define JOB_TEXT_H

#include <stddef.h>

struct text {
    const char *s; /* NUL-terminated */
    size_t n;
};

#endif
