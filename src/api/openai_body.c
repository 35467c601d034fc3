/* A reply as one JSON body, and the parts that bodies and chunks share. */
#include <math.h>

#include "api/openai.h"
#include "api/receipt_text.h"
#include "base/check.h"
#include "base/json_write.h"
#include "base/put.h"

const char *openai_finish_text(int finish)
{
    static const char *const finishes[] = {
        [FINISH_STOP] = "stop",
        [FINISH_LENGTH] = "length",
        [FINISH_TOOL_CALLS] = "tool_calls",
        [FINISH_CONTENT_FILTER] = "content_filter",
    };
    return finishes[finish];
}

void openai_put_identity(struct buf *b, const struct api_reply *r, const char *object)
{
    buf_add_str(b, "{\"id\":");
    json_put_str(b, r->s.id);
    buf_add_str(b, ",\"object\":\"");
    buf_add_str(b, object);
    buf_add_str(b, "\",\"created\":");
    put_number(b, r->s.created);
    buf_add_str(b, ",\"model\":");
    json_put_str(b, r->req->model);
    buf_add_str(b, ",\"system_fingerprint\":");
    json_put_str(b, r->s.fingerprint);
}

static void put_seconds(struct buf *b, const char *key, int64_t us)
{
    buf_addf(b, "\"%s\":", key);
    json_put_fixed(b, (double)(us > 0 ? us : 1) / 1e6, 6); /* clients divide by these */
}

void openai_put_usage(struct buf *b, const struct api_reply *r)
{
    const struct usage *u = &r->usage;
    const struct times *t = &r->times;

    buf_addf(b,
             ",\"usage\":{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,\"total_tokens\":%lld,"
             "\"prompt_tokens_details\":{\"cached_tokens\":%lld},\"completion_tokens_details\":{"
             "\"reasoning_tokens\":%lld,\"accepted_prediction_tokens\":%lld,"
             "\"rejected_prediction_tokens\":%lld}",
             (long long)u->prompt_tokens, (long long)u->completion_tokens,
             (long long)(u->prompt_tokens + u->completion_tokens), (long long)u->cached_tokens,
             (long long)u->reasoning_tokens, (long long)u->accepted_prediction_tokens,
             (long long)u->rejected_prediction_tokens);
    api_receipt_put(b, &r->receipt);
    buf_add_str(b, "},\"time_info\":{");
    put_seconds(b, "queue_time", t->queue_us);
    buf_add_char(b, ',');
    put_seconds(b, "prompt_time", t->prompt_us);
    buf_add_char(b, ',');
    put_seconds(b, "completion_time", t->completion_us);
    buf_add_char(b, ',');
    put_seconds(b, "total_time", t->total_us);
    buf_add_char(b, ',');
    put_seconds(b, "created", t->created_us);
    buf_add_char(b, '}');
    if (r->req->tier == TIER_AUTO && r->s.tier_used) {
        buf_add_str(b, ",\"service_tier_used\":");
        json_put_str(b, r->s.tier_used);
    }
}

void openai_put_list(struct buf *out, const struct buf *a, const struct buf *b)
{
    buf_add_char(out, '[');
    buf_add(out, a->data, a->len);
    if (a->len && b->len)
        buf_add_char(out, ',');
    buf_add(out, b->data, b->len);
    buf_add_char(out, ']');
}

static void put_choice(struct buf *out, const struct api_reply *r, int32_t index, int32_t from)
{
    const struct openai_reply *own = openai_own(r);
    static const struct buf none;

    buf_addf(out, "%s{\"index\":%d", index ? "," : "", index);
    openai_of(r)->put_choice(r, from, out);
    if (r->req->return_token_ids) {
        buf_add_str(out, ",\"token_ids\":");
        openai_put_list(out, &none, &own->choice[from].lp.list[LP_IDS]);
        buf_add_str(out, ",\"prompt_token_ids\":");
        openai_put_list(out, &own->prompt[from / r->req->n_run].ids, &none);
    }
    buf_add_char(out, '}');
}

/* best_of: the choice of prompt p, not yet taken, with the best mean log-probability; one
 * without tokens has none and comes last. */
static int32_t best_left(const struct api_reply *r, int32_t p, const unsigned char *taken)
{
    int32_t best = -1;
    double best_mean = -HUGE_VAL;

    for (int32_t k = 0; k < r->req->n_run; k++) {
        const struct choice *c = &r->choice[p * r->req->n_run + k];
        double mean = c->n_tokens ? c->logprob_sum / c->n_tokens : -HUGE_VAL;
        if (!taken[k] && (best < 0 || mean > best_mean)) {
            best = k;
            best_mean = mean;
        }
    }
    return best;
}

int openai_body(struct api_reply *r, struct buf *out)
{
    const struct api_request *q = r->req;

    openai_put_identity(out, r, openai_of(r)->object);
    buf_add_str(out, ",\"choices\":[");
    for (int32_t p = 0; p < r->n_prompts; p++) {
        unsigned char taken[JOB_CHOICES_MAX] = {0};
        for (int32_t j = 0; j < q->n; j++) {
            int32_t k = q->n_run > q->n ? best_left(r, p, taken) : j;
            taken[k] = 1;
            put_choice(out, r, p * q->n + j, p * q->n_run + k);
        }
    }
    buf_add_char(out, ']');
    openai_put_usage(out, r);
    if (!(q->given & API_GIVEN_TIER))
        buf_add_str(out, ",\"service_tier\":null}");
    else
        buf_addf(out, ",\"service_tier\":\"%s\"}",
                 q->tier == TIER_AUTO || !r->s.tier_used ? tier_name(q->tier) : r->s.tier_used);
    return out->failed;
}
