/* A conversation to be made a prompt of, by the template of a model. */
#ifndef JOB_CHAT_H
#define JOB_CHAT_H

#include "base/json.h"
#include "base/patience.h"

struct chat {
    const json_t *messages; /* array, checked by who read it */
    const json_t *tools;    /* array or NULL */
    const json_t *kwargs;   /* more variables for the template, or NULL */
    int no_generation_prompt;
    int continue_final;              /* leave the last (assistant) message open */
    const struct patience *patience; /* with the work on it; NULL: endless */
};

#endif
