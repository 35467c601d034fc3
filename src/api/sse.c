#include "api/sse.h"

#include <string.h>

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
