/* What happens to a job's choices, as its reader is told. */
#ifndef JOB_EVENT_H
#define JOB_EVENT_H

#include <stddef.h>
#include <stdint.h>

#define JOB_CHOICES_MAX 16 /* of one job */

/* Why a choice ended. */
enum finish { FINISH_STOP, FINISH_LENGTH, FINISH_TOOL_CALLS, FINISH_CONTENT_FILTER };

/* A token that might have been drawn. */
struct top {
    int32_t token;
    float logprob;
    const char *bytes;
    size_t n_bytes;
};

#endif
