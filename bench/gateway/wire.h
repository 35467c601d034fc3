/* HTTP/1.1 messages, read as far as a bench needs them: the head's length, status and framing, and
 * the body without its chunks. Both sides of the bench use it, so it is strict where being wrong
 * would miscount and careless elsewhere. */
#ifndef GATEWAY_WIRE_H
#define GATEWAY_WIRE_H

#include <stddef.h>
#include <stdint.h>

enum wire_state {
    WIRE_HEAD, /* the head is not complete */
    WIRE_BODY,
    WIRE_DONE,
    WIRE_BAD,
};

struct wire {
    enum wire_state state;
    int status;    /* of an answer */
    int is_closed; /* the sender closes after it */
    int is_chunked;
    int64_t left; /* of the body or chunk; -1: until the end of the connection */
    int in_line;  /* bytes of a line between chunks */
    int is_last;  /* the chunk of length 0 was seen */
    int64_t size; /* being read from a chunk's line */
};

void wire_begin(struct wire *w);
/* The length of the head at p, and w->state is WIRE_BODY or WIRE_DONE; 0 while it is not complete;
 * WIRE_BAD where it is no HTTP. Interim answers are heads with a status below 200. */
size_t wire_head(struct wire *w, const char *p, size_t n, int is_answer);
/* Takes bytes of the body: how many, and what of them is content. Repeat until all are taken or the
 * state is no longer WIRE_BODY. */
size_t wire_body(struct wire *w, const char *p, size_t n, const char **ret, size_t *ret_n);

#endif
