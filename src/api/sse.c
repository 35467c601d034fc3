#include "api/sse.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"

#define TYPE "text/event-stream; charset=utf-8"

static const struct api_frame plain = {TYPE, "data: ", "\n\n", ": ping\n\n"};
/* For readers that show a frame only when bytes follow it. */
static const struct api_frame extra = {TYPE, "data: ", "\n\n\n", ": ping\n\n\n"};

/* How the User-Agent of clients begins that need another form than the plain one. */
static const struct {
    const char *prefix;
    const struct api_frame *frame;
} clients[] = {{"Cerebras/JS", &extra}};

const struct api_frame *api_sse_frame(const char *user_agent)
{
    for (size_t i = 0; user_agent && i < ARRAY_LEN(clients); i++) {
        if (!strncmp(user_agent, clients[i].prefix, strlen(clients[i].prefix)))
            return clients[i].frame;
    }
    return &plain;
}

int api_sse_number(const struct buf *frames, const struct api_frame *f, const char *id, int64_t *n,
                   int64_t skip, struct buf *out)
{
    const char *at = frames->data, *end = at + frames->len, *to;
    size_t n_end = strlen(f->end);

    for (; at < end; at = to) {
        to = memmem(at, (size_t)(end - at), f->end, n_end);
        CHECK(to); /* whole frames */
        to += n_end;
        if (++*n <= skip)
            continue;
        buf_addf(out, "id: %s/%lld\n", id, (long long)*n);
        buf_add(out, at, (size_t)(to - at));
    }
    return out->failed;
}

int64_t api_sse_position(const char *text, const char *id)
{
    size_t n_id = strlen(id), n;

    if (!strncmp(text, id, n_id) && text[n_id] == '/')
        text += n_id + 1;
    n = strspn(text, "0123456789");
    return n && n <= 18 && !text[n] ? strtoll(text, NULL, 10) : -1;
}
