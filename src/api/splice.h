/* A request in the client's words, changed only where its supplier needs it: members at the top of
 * the JSON text are replaced, added or left out; every other byte stays as it is. Pure. */
#ifndef API_SPLICE_H
#define API_SPLICE_H

#include <stdint.h>

#include "base/buf.h"

struct api_splice {
    const char *model;  /* the supplier's name of it */
    int32_t max_tokens; /* in place of the client's, by its most widely known name; 0: as is */
    int32_t max_held;   /* the maximum that the client is held to, under whatever name it gave one;
                         * 0: it gave none */
    const char *tier;   /* in place of the client's service_tier, where it names one; NULL: as is */
    int ask_usage;      /* a stream is to tell its usage: stream_options.include_usage */
    int known_only;     /* members that the contract does not name are left out ... */
    unsigned kind;      /* ... 1: of chat, 2: of completions */
};

/* body: an object that was read and found well-formed. 0, ERR_FORMAT, or the buffer's failure. */
int api_splice(const char *body, size_t n, const struct api_splice *s, struct buf *out);

#endif
