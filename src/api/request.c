/* The neutral request: what can be checked only once the model is known, and its end. */
#include "api/field.h"
#include "api/wire_error.h"

int api_check_tokens(const struct api_request *r, int32_t n_vocab, struct err *e)
{
    static const char words[] = "token id %d is not in the model's vocabulary of %d";

    for (int32_t p = 0; p < r->n_prompts; p++) {
        for (int32_t i = 0; i < r->prompt[p].n_id; i++) {
            if (r->prompt[p].id[i] >= n_vocab)
                return field_bad(e, ERR_SCHEMA,
                                 r->n_prompts > 1 ? PATH("prompt.%d.%d", p, i)
                                                  : PATH("prompt.%d", i),
                                 words, r->prompt[p].id[i], n_vocab);
        }
    }
    for (int32_t i = 0; i < r->sampling.n_bias; i++) {
        if (r->sampling.bias[i].token >= n_vocab)
            return field_bad(e, ERR_SCHEMA, "logit_bias", words, r->sampling.bias[i].token,
                             n_vocab);
    }
    for (int32_t i = 0; i < r->sampling.n_stop_token; i++) {
        if (r->sampling.stop_token[i] >= n_vocab)
            return field_bad(e, ERR_SCHEMA, PATH("stop_token_ids.%d", i), words,
                             r->sampling.stop_token[i], n_vocab);
    }
    return 0;
}

void api_request_recommend(struct api_request *r, const struct preset *s)
{
    if (r->sampling.temperature == 0)
        return;
    if (!(r->given & API_GIVEN_TEMPERATURE))
        r->sampling.temperature = (float)s->temperature;
    if (!(r->given & API_GIVEN_TOP_P))
        r->sampling.top_p = (float)s->top_p;
    if (!(r->given & API_GIVEN_TOP_K))
        r->sampling.top_k = s->top_k;
    if (!(r->given & API_GIVEN_MIN_P))
        r->sampling.min_p = (float)s->min_p;
}

int api_check_context(const struct api_request *r, int64_t n_prompt, int64_t context,
                      int32_t output_max, int32_t *ret_max, struct err *e)
{
    int64_t max = r->sampling.max_tokens;

    if (n_prompt < 1)
        return field_bad(e, ERR_SCHEMA, r->dialect->prompt_field, "has no tokens");
    if (n_prompt > context - (max < 0) || (max >= 0 && n_prompt + max > context))
        return api_err_context(e, n_prompt, max, context);
    if (max < 0) {
        max = context - n_prompt;
        if (output_max > 0 && max > output_max)
            max = output_max;
    }
    *ret_max = (int32_t)max;
    return 0;
}

void api_request_rendered(struct api_request *r)
{
    json_decref(r->messages);
    json_decref(r->template_kwargs);
    r->messages = r->template_kwargs = NULL;
}

void api_request_done(struct api_request *r)
{
    if (!r)
        return;
    api_request_rendered(r);
    json_decref(r->root);
    *r = (struct api_request){0};
}
