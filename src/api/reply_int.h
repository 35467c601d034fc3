/* Inside the api room: the neutral state of one response, and a place for what its dialect keeps.
 */
#ifndef API_REPLY_INT_H
#define API_REPLY_INT_H

#include "api/reply.h"

struct choice {
    unsigned char finished, finish;
    int32_t n_tokens;
    double logprob_sum;         /* for best_of */
    struct buf text, reasoning; /* escaped; without stream */
};

struct api_reply {
    struct api_reply_setup s;
    const struct api_request *req;
    const struct api_dialect *dialect; /* the request's */
    const struct api_frame *frame;
    void *own; /* the dialect's */
    struct choice *choice;
    int32_t n_choices, n_prompts, n_finished, n_done;
    unsigned char ended, failed;
    size_t used, text_max;
    struct usage usage;
    struct receipt receipt; /* zeroed: of nothing */
    struct times times;
};

/* All that is gathered shares one ceiling: what grew. 0 or ERR_LIMIT. */
int reply_charge(struct api_reply *r, size_t before, size_t after);

#endif
