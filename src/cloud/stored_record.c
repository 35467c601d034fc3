#include "cloud/stored_record.h"

#include <sodium.h>
#include <string.h>

#include "base/put.h"
#include "base/utf8.h"

#define STEP     8 /* records begin at multiples of it */
#define TEXT_MAX 1024

enum kind { HEAD = 1, EVENT, MOVE };

/* What a record begins with. The checksum is of all that follows it. */
struct lead {
    uint64_t checksum;
    char magic[3];
    uint8_t kind;
    uint32_t size; /* of the record, without the zeros behind it */
};
_Static_assert(sizeof(struct lead) == 16, "the lead has no holes");

/* What DONE tells. */
struct cost {
    struct usage usage;
    struct times times;
    struct energy energy;
    int64_t charge_nano;
    int32_t has_receipt;
    char currency[4];
};

/* An event's numbers; behind them its cost (DONE), the token's bytes, the alternatives,
 * each with its bytes, the text. */
struct numbers {
    int32_t kind, choice, token, n_unshown, n_generated, n_cached;
    int32_t channel, special, finish, n_top;
    float logprob;
    uint32_t n_bytes, n_text;
};
struct top_numbers {
    int32_t token;
    float logprob;
    uint32_t n_bytes;
};

static uint64_t checksum(const char *record, size_t size)
{
    static const unsigned char key[crypto_shorthash_KEYBYTES];
    unsigned char sum[crypto_shorthash_BYTES];
    uint64_t v;

    crypto_shorthash(sum, (const unsigned char *)record + sizeof v, size - sizeof v, key);
    memcpy(&v, sum, sizeof v);
    return v;
}

/* ---- writing --------------------------------------------------------------------------------- */

static size_t begin(struct buf *out, enum kind kind)
{
    struct lead l = {.magic = "gfa", .kind = (uint8_t)kind};
    size_t from = out->len;

    buf_add(out, &l, sizeof l);
    return from;
}

static int end(struct buf *out, size_t from)
{
    static const char zeros[STEP];
    struct lead l;

    if (out->failed)
        return out->failed;
    memcpy(&l, out->data + from, sizeof l);
    l.size = (uint32_t)(out->len - from);
    memcpy(out->data + from, &l, sizeof l);
    l.checksum = checksum(out->data + from, l.size);
    memcpy(out->data + from, &l, sizeof l);
    return buf_add(out, zeros, -l.size % STEP);
}

int stored_put_head(struct buf *out, const struct stored_head *h)
{
    size_t from = begin(out, HEAD);
    uint32_t n_body = (uint32_t)h->n_body;
    struct stored_numbers v = h->v;

    v.has_phases = h->answer != NULL;
    buf_add(out, &v, sizeof v);
    for (int i = 0; i < STORED_TEXTS; i++) {
        const char *s = h->text[i] ? h->text[i] : "";
        buf_add(out, s, strnlen(s, TEXT_MAX - 1));
        buf_add_char(out, 0);
    }
    buf_add(out, &n_body, sizeof n_body);
    buf_add(out, h->body, h->n_body);
    buf_add(out, h->prompt, (size_t)v.n_prompt * sizeof *h->prompt);
    if (h->answer)
        buf_add(out, h->answer, ((size_t)v.n_prompt + 31) / 32 * sizeof *h->answer);
    return end(out, from);
}

static void put_cost(struct buf *out, const struct event *ev)
{
    const struct receipt *r = ev->receipt;
    struct cost c;

    memset(&c, 0, sizeof c); /* holes too */
    c.usage = *ev->usage;
    c.times = *ev->times;
    c.has_receipt = r != NULL;
    if (r) {
        c.energy = r->energy;
        c.charge_nano = r->charge_nano;
        put_text(c.currency, sizeof c.currency, r->currency ? r->currency : "");
    }
    buf_add(out, &c, sizeof c);
}

int stored_put_event(struct buf *out, const struct event *ev)
{
    struct numbers v = {.kind = (int32_t)ev->kind,
                        .choice = ev->choice,
                        .token = ev->token,
                        .n_unshown = ev->n_unshown,
                        .n_generated = ev->n_generated,
                        .n_cached = ev->n_cached,
                        .channel = (int32_t)ev->channel,
                        .special = ev->special,
                        .finish = (int32_t)ev->finish,
                        .n_top = ev->n_top,
                        .logprob = ev->logprob,
                        .n_bytes = (uint32_t)ev->n_bytes,
                        .n_text = (uint32_t)ev->n_text};
    size_t from = begin(out, EVENT);

    buf_add(out, &v, sizeof v);
    if (ev->kind == EVENT_DONE)
        put_cost(out, ev);
    buf_add(out, ev->bytes, ev->n_bytes);
    for (int32_t i = 0; i < ev->n_top; i++) {
        struct top_numbers t = {ev->top[i].token, ev->top[i].logprob, (uint32_t)ev->top[i].n_bytes};
        buf_add(out, &t, sizeof t);
        buf_add(out, ev->top[i].bytes, ev->top[i].n_bytes);
    }
    buf_add(out, ev->text, ev->n_text);
    return end(out, from);
}

int stored_put_move(struct buf *out, const char *to)
{
    size_t from = begin(out, MOVE);

    buf_add(out, to, strnlen(to, TEXT_MAX - 1));
    buf_add_char(out, 0);
    return end(out, from);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* What is left of a record. */
struct rest {
    const char *p;
    size_t n;
    int failed;
};

static const char *take(struct rest *r, size_t n)
{
    const char *p = r->p;

    if (r->failed || n > r->n) {
        r->failed = 1;
        return NULL;
    }
    r->p += n;
    r->n -= n;
    return p;
}

static void take_into(struct rest *r, void *to, size_t n)
{
    const char *p = take(r, n);

    if (p)
        memcpy(to, p, n);
    else
        memset(to, 0, n);
}

static const char *take_text(struct rest *r)
{
    const char *nul = r->failed ? NULL : memchr(r->p, 0, r->n < TEXT_MAX ? r->n : TEXT_MAX);

    return take(r, nul ? (size_t)(nul - r->p) + 1 : SIZE_MAX);
}

/* The record of that kind at a place: all its bytes, with the zeros; 0 where none is whole. */
static size_t open_record(const char *image, size_t n, size_t at, enum kind kind, struct rest *ret)
{
    struct lead l;

    if (at > n || n - at < sizeof l)
        return 0;
    memcpy(&l, image + at, sizeof l);
    if (memcmp(l.magic, "gfa", sizeof l.magic) || l.kind != (uint8_t)kind || l.size < sizeof l ||
        l.size > STORED_ANSWER_MAX || l.size + (-l.size % STEP) > n - at ||
        checksum(image + at, l.size) != l.checksum)
        return 0;
    *ret = (struct rest){.p = image + at + sizeof l, .n = l.size - sizeof l};
    return l.size + (-l.size % STEP);
}

static int head_is_sane(const struct stored_head *h)
{
    const struct stored_numbers *v = &h->v;

    return *h->text[STORED_ID] && strlen(h->text[STORED_ID]) < STORED_ID_MAX &&
           *h->text[STORED_REQUEST_ID] && *h->text[STORED_MODEL] && v->n_run >= 1 &&
           v->n_run <= JOB_CHOICES_MAX && v->n >= 1 && v->n <= v->n_run && v->n_top >= 0 &&
           v->n_top <= SAMPLING_TOP_MAX && v->tier >= 0 && v->tier < TIER_AUTO &&
           v->asked_tier >= 0 && v->asked_tier <= TIER_AUTO && v->max_tokens >= 0;
}

size_t stored_read_head(const char *image, size_t n, struct stored_head *ret)
{
    struct rest r;
    size_t size = open_record(image, n, 0, HEAD, &r);
    uint32_t n_body = 0;

    *ret = (struct stored_head){.n_body = 0};
    if (!size)
        return 0;
    take_into(&r, &ret->v, sizeof ret->v);
    for (int i = 0; i < STORED_TEXTS; i++)
        ret->text[i] = take_text(&r);
    take_into(&r, &n_body, sizeof n_body);
    ret->n_body = n_body;
    ret->body = take(&r, n_body);
    if (r.failed || ret->v.n_prompt < 1)
        return 0;
    ret->prompt = (const void *)take(&r, (size_t)ret->v.n_prompt * sizeof *ret->prompt);
    if (ret->v.has_phases)
        ret->answer =
            (const void *)take(&r, ((size_t)ret->v.n_prompt + 31) / 32 * sizeof *ret->answer);
    return !r.failed && !r.n && head_is_sane(ret) ? size : 0;
}

static int event_is_sane(const struct numbers *v)
{
    int is_kept = v->kind == EVENT_STARTED || v->kind == EVENT_TEXT || v->kind == EVENT_FINISH ||
                  v->kind == EVENT_DONE;

    return is_kept && v->choice >= 0 && v->choice < JOB_CHOICES_MAX && v->n_top >= 0 &&
           v->n_top <= SAMPLING_TOP_MAX && v->n_unshown >= 0 && v->n_generated >= 0 &&
           v->n_cached >= 0 && v->channel >= 0 && v->channel <= CHANNEL_REASONING &&
           v->finish >= 0 && v->finish <= FINISH_CONTENT_FILTER;
}

static void take_tops(struct rest *r, struct stored_event *ret)
{
    for (int32_t i = 0; i < ret->ev.n_top; i++) {
        struct top_numbers t;
        take_into(r, &t, sizeof t);
        ret->top[i] = (struct top){.token = t.token,
                                   .logprob = t.logprob,
                                   .bytes = take(r, t.n_bytes),
                                   .n_bytes = t.n_bytes};
    }
}

static int energy_is_sane(const struct energy *e)
{
    return (unsigned)e->boundary < ENERGY_BOUNDARIES && (unsigned)e->method < ENERGY_METHODS;
}

static void take_cost(struct rest *r, struct stored_event *ret)
{
    struct cost c;

    take_into(r, &c, sizeof c);
    if ((unsigned)c.usage.state > USAGE_DISPUTED || c.usage.prompt_tokens < 0 ||
        c.usage.completion_tokens < 0 || !energy_is_sane(&c.usage.energy) ||
        !energy_is_sane(&c.energy) || !memchr(c.currency, 0, sizeof c.currency))
        r->failed = 1;
    ret->usage = c.usage;
    ret->times = c.times;
    memcpy(ret->currency, c.currency, sizeof ret->currency);
    ret->receipt = (struct receipt){
        .energy = c.energy, .charge_nano = c.charge_nano, .currency = ret->currency};
    ret->ev.usage = &ret->usage;
    ret->ev.times = &ret->times;
    ret->ev.receipt = c.has_receipt ? &ret->receipt : NULL;
}

size_t stored_read_event(const char *image, size_t n, size_t at, struct stored_event *ret)
{
    struct rest r;
    size_t size = open_record(image, n, at, EVENT, &r);
    struct numbers v;

    if (!size)
        return 0;
    take_into(&r, &v, sizeof v);
    if (r.failed || !event_is_sane(&v))
        return 0;
    ret->ev = (struct event){.kind = (enum event_kind)v.kind,
                             .choice = v.choice,
                             .token = v.token,
                             .n_unshown = v.n_unshown,
                             .n_generated = v.n_generated,
                             .n_cached = v.n_cached,
                             .channel = (enum channel)v.channel,
                             .special = v.special,
                             .finish = (enum finish)v.finish,
                             .logprob = v.logprob,
                             .n_top = v.n_top,
                             .top = ret->top,
                             .n_bytes = v.n_bytes,
                             .n_text = v.n_text};
    if (v.kind == EVENT_DONE)
        take_cost(&r, ret);
    ret->ev.bytes = take(&r, v.n_bytes);
    take_tops(&r, ret);
    ret->ev.text = take(&r, v.n_text);
    return !r.failed && !r.n && utf8_valid(ret->ev.text, ret->ev.n_text, NULL) ? size : 0;
}

const char *stored_read_move(const char *image, size_t n, size_t at)
{
    struct rest r;
    const char *to = open_record(image, n, at, MOVE, &r) ? take_text(&r) : NULL;

    return to && !r.n ? to : NULL;
}

/* ---- the story ------------------------------------------------------------------------------- */

static int take_choice(struct stored_story *s, const struct event *ev)
{
    int32_t c = ev->choice, n;

    if (c >= s->n_choices || s->is_over[c])
        return -1;
    n = s->n_told[c] + (ev->kind == EVENT_TEXT);
    if (ev->n_unshown > n || ev->n_generated < n || ev->n_generated > n + 1 ||
        (ev->kind == EVENT_TEXT && ev->n_generated != n))
        return -1;
    s->n_told[c] = n;
    s->n_generated[c] = ev->n_generated;
    s->is_over[c] = ev->kind == EVENT_FINISH;
    s->n_over += s->is_over[c];
    return 0;
}

void stored_story_begin(struct stored_story *s, const struct stored_head *h)
{
    *s = (struct stored_story){.n_choices = h->v.n_run, .n_prompt = h->v.n_prompt};
}

int stored_story_take(struct stored_story *s, const struct event *ev)
{
    if (s->is_done || (s->has_started ? ev->kind == EVENT_STARTED : ev->kind != EVENT_STARTED))
        return -1;
    if (ev->kind == EVENT_STARTED) {
        if (ev->n_cached > s->n_prompt)
            return -1;
        s->has_started = 1;
        s->n_cached = ev->n_cached;
        return 0;
    }
    if (ev->kind != EVENT_DONE)
        return take_choice(s, ev);
    if (s->n_over < s->n_choices)
        return -1;
    s->is_done = 1;
    return 0;
}

int stored_story_read(const char *image, size_t n, struct stored_head *ret_head,
                      struct stored_story *ret, size_t *ret_end)
{
    struct stored_event ev;
    size_t at = stored_read_head(image, n, ret_head), size;

    if (!at)
        return -1;
    stored_story_begin(ret, ret_head);
    while ((size = stored_read_event(image, n, at, &ev)) && !stored_story_take(ret, &ev.ev))
        at += size;
    *ret_end = at;
    return 0;
}

size_t stored_ends_at(const char *image, size_t n)
{
    struct stored_head h;
    struct stored_event ev;
    size_t at = stored_read_head(image, n, &h), size, ends = at;

    for (; (size = stored_read_event(image, n, at, &ev)); at += size) {
        if (ev.ev.kind == EVENT_TEXT || ev.ev.kind == EVENT_STARTED)
            ends = at + size;
    }
    return ends;
}
