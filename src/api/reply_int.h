/* Inside the api room: the state of one response. */
#ifndef API_REPLY_INT_H
#define API_REPLY_INT_H

#include "api/logprob.h"
#include "api/reply.h"

struct choice {
    unsigned char begun; /* stream: role or echo are out */
    unsigned char finished, finish;
    int32_t n_tokens;
    int64_t offset;             /* of the next token in the text, in code points */
    double logprob_sum;         /* for best_of */
    struct buf text, reasoning; /* escaped */
    struct logprobs lp;         /* stream: what is not sent yet */
};

struct prompt {
    int64_t n_points; /* of its text */
    int64_t offset;   /* of its next token */
    struct buf text;  /* escaped; with echo only */
    struct buf ids;
    struct logprobs lp;
};

struct api_reply {
    struct api_reply_setup s;
    const struct api_request *req;
    const struct api_frame *frame;
    struct buf head, mid, tail; /* of a chunk: up to the choice's index, up to its text, after it */
    size_t n_head;              /* of head, up to the list of choices */
    struct choice *choice;
    struct prompt *prompt;
    int32_t n_choices, n_prompts, n_finished, n_done;
    int32_t held; /* choice whose finish waits for the usage, or -1 */
    unsigned char ended, failed;
    size_t used, text_max;
    struct usage usage;
    struct times times;
};

/* reply_body.c: what bodies and chunks share. */
const char *reply_finish_text(int finish);
void reply_put_identity(struct buf *b, const struct api_reply *r); /* {"id":..,.. without end */
void reply_put_usage(struct buf *b, const struct api_reply *r);    /* ,"usage":..,"time_info":.. */

/* reply_stream.c: chunks of one event. 0 or the buffer's failure. */
int reply_stream_text(struct api_reply *r, const struct event *ev, struct buf *out);
int reply_stream_finish(struct api_reply *r, const struct event *ev, struct buf *out);
int reply_stream_done(struct api_reply *r, struct buf *out);

#endif
