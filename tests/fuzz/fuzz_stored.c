/* A stored answer's file: whatever its bytes, what is read makes an answer, or is nothing. The
 * checksums are made right first, so that what they guard is reached. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/check.h"
#include "cloud/stored.h"

enum { LEAD = 16, SIZE_AT = 12, STEP = 8 };

static void right_checksums(unsigned char *p, size_t n)
{
    static const unsigned char key[crypto_shorthash_KEYBYTES];
    uint32_t size;

    for (size_t at = 0; n - at >= LEAD; at += size + (-size % STEP)) {
        memcpy(&size, p + at + SIZE_AT, sizeof size);
        if (size < LEAD || size > n - at)
            return;
        crypto_shorthash(p + at, p + at + 8, size - 8, key);
        if (size + (-size % STEP) > n - at)
            return;
    }
}

/* As a follower tells it: events out of order would stop the program. */
static void tell(const char *image, size_t at, size_t end, const struct stored_head *h)
{
    struct api_request q = {.dialect = api_dialects[API_CHAT],
                            .model = h->text[STORED_MODEL],
                            .n = h->v.n,
                            .n_run = h->v.n_run,
                            .logprobs = h->v.logprobs,
                            .stream = 1};
    struct api_reply_setup setup = {.req = &q, .id = h->text[STORED_ID], .fingerprint = "fp"};
    struct api_reply *r = NULL;
    struct stored_event ev;
    struct buf out;

    buf_init(&out, 1 << 20);
    CHECK(!api_reply_new(&r, &setup) && !api_reply_prompt(r, 0, "", 0, NULL, 0));
    for (size_t n; at < end && (n = stored_read_event(image, end, at, &ev)); at += n) {
        if (api_reply_event(r, &ev.ev, &out))
            break;
    }
    api_reply_free(r);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
    unsigned char *copy = malloc(n + 1);
    struct stored_story story;
    const char *to;
    struct stored_head h;
    size_t end;

    if (!copy || sodium_init() < 0)
        abort();
    memcpy(copy, data, n);
    right_checksums(copy, n);
    if (!stored_story_read((const char *)copy, n, &h, &story, &end)) {
        CHECK(end <= n && stored_ends_at((const char *)copy, end) <= end);
        to = stored_read_move((const char *)copy, n, end);
        CHECK(!to || (to >= (const char *)copy + end && to + strlen(to) < (const char *)copy + n));
        tell((const char *)copy, stored_read_head((const char *)copy, n, &h), end, &h);
    }
    free(copy);
    return 0;
}
