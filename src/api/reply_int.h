/* Inside the api room: the state of one response. */
#ifndef API_REPLY_INT_H
#define API_REPLY_INT_H

#include "api/openai_logprob.h"
#include "api/reply.h"

struct choice {
    unsigned char finished, finish;
    int32_t n_tokens;
    double logprob_sum;         /* for best_of */
    struct buf text, reasoning; /* escaped; without stream */
    /* The dialect's: */
    unsigned char begun; /* stream: role or echo are out */
    int64_t offset;      /* of the next token in the text, in code points */
    struct logprobs lp;  /* stream: what is not sent yet */
};

struct prompt {
    int64_t n_points; /* of its text */
    int64_t offset;   /* of its next token */
    struct buf text;  /* escaped; with echo only */
    struct buf ids;
    struct logprobs lp; /* the dialect's */
};

struct api_reply {
    struct api_reply_setup s;
    const struct api_request *req;
    const struct api_frame *frame;
    struct choice *choice;
    struct prompt *prompt;
    int32_t n_choices, n_prompts, n_finished, n_done;
    unsigned char ended, failed;
    size_t used, text_max;
    struct usage usage;
    struct times times;
    /* The dialect's: */
    struct buf head, mid, tail; /* of a chunk: up to the choice's index, up to its text, after it */
    size_t n_head;              /* of head, up to the list of choices */
    int32_t held;               /* choice whose finish waits for the usage, or -1 */
};

/* All that is gathered shares one ceiling: what grew. 0 or ERR_LIMIT. */
int reply_charge(struct api_reply *r, size_t before, size_t after);

#endif
