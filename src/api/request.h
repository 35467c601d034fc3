/* The neutral request: what every dialect's body becomes, and what can be asked of it. */
#ifndef API_REQUEST_H
#define API_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#include "api/dialect.h"
#include "api/header_list.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "job/feature.h"
#include "job/job.h"
#include "job/preset.h"
#include "job/sampling.h"
#include "job/text.h"
#include "job/tier.h"

#define API_CHOICES_MAX  256
#define API_BIAS_MAX     4096
#define API_STOP_IDS_MAX 128
#define API_BODY_MAX     ((size_t)32 << 20)

/* What a request asks for that the engine of this process has not. Zeroed: nothing. */
struct api_unbuilt {
    struct err err; /* of the first */
    uint32_t needs; /* of all: bits 1 << FEATURE_* */
};

/* Zero means "default" in every field. */
struct api_options {
    int strict; /* strict_compat: Cerebras' refusals (unknown fields, more than 4 stops ...) */
    int keep_developer;   /* the template knows the role developer; else it becomes system */
    size_t body_max;      /* API_BODY_MAX */
    size_t memory_max;    /* of the parsed tree; default by the body's size */
    int32_t messages_max; /* 65,536 */
    size_t
        *arguments_left; /* api's own: bytes that parsed arguments of tool calls may still take */
    /* What this server's engine lacks is noted here, the first of it, and not refused: for requests
     * that another supplier may take. NULL: it is refused. */
    struct api_unbuilt *unbuilt;
    int32_t prompts_max; /* 128; prompts x choices is at most API_CHOICES_MAX */
};

struct api_prompt {
    const char *text; /* NULL: token ids */
    size_t n_text;
    const int32_t *id;
    int32_t n_id;
};

/* Bits of api_request.given: the client sent it (null is not sending). Every field has its default
 * otherwise; these are those where a server may put another. */
enum {
    API_GIVEN_TEMPERATURE = 1 << 0,
    API_GIVEN_TOP_P = 1 << 1,
    API_GIVEN_TOP_K = 1 << 2,
    API_GIVEN_MIN_P = 1 << 3,
    API_GIVEN_SEED = 1 << 4,
    API_GIVEN_TIER = 1 << 5,
};

/* Lives until api_request_done; the strings lie in the arena. */
struct api_request {
    const struct api_dialect *dialect; /* that it was read in, and is answered in */
    const char *model;
    uint32_t given;

    /* chat */
    json_t *messages;        /* normalised: see api_messages_check */
    int continue_final;      /* the last message is the assistant's: continue it */
    json_t *template_kwargs; /* object or NULL: variables for the chat template */
    struct text prediction;  /* what the answer may look like; s NULL: nothing given */

    /* completion */
    struct api_prompt *prompt;
    int32_t n_prompts; /* >= 1; 0 for chat */
    int parse_special; /* extension: control tokens in the texts of prompts */

    int32_t n;     /* choices answered per prompt */
    int32_t n_run; /* choices to generate per prompt: max(n, best_of) */
    struct sampling sampling;
    int logprobs; /* answer them; they are generated for best_of too */
    int echo;     /* completion: the prompt comes first */

    int stream, include_usage;
    int store;            /* the answer is to be kept while it is made, for who comes back */
    int return_token_ids; /* extension: token_ids beside the text */
    int raw_tokens;       /* completion: tokens instead of text */

    enum tier tier;
    int32_t queue_threshold_ms; /* 0: none */
    const char *cache_salt;     /* NULL: none */
    const char *cache_key;      /* likewise: where requests with an equal one go together */

    json_t *root; /* the body, while it is read */
};

/* Bytes that reading a body can take at most beside it; much less stays. */
size_t api_read_cost(const char *body, size_t n);
void api_request_rendered(struct api_request *r); /* messages and their variables may go */
void api_request_done(struct api_request *r);     /* accepts NULL and zeroed */

/* Check a messages array and make the neutral one (new reference): objects with only role (system,
 * user, assistant, tool; developer if kept), content (always a string: parts joined, empty where
 * there is none), name, reasoning_content, tool_calls (arguments an object where they parse),
 * tool_call_id. */
int api_messages_check(json_t **ret, const json_t *messages, const struct api_options *o,
                       struct err *e);

/* Once the model is known: token ids in prompts, bias and stops must be below n_vocab. */
int api_check_tokens(const struct api_request *r, int32_t n_vocab, struct err *e);
/* Draw with `s` where the request says nothing; one that asks to be greedy stays so. */
void api_request_recommend(struct api_request *r, const struct preset *s);
/* Does the prompt with what was asked for fit? Then *ret_max is the number of tokens to generate at
 * most (output_max: the server's cap where the client sets none, 0: none), else ERR_CONTEXT. */
int api_check_context(const struct api_request *r, int64_t n_prompt, int64_t context,
                      int32_t output_max, int32_t *ret_max, struct err *e);

/* ---- the fields, for docs and tests ---- */

enum api_field_state {
    API_FIELD_SERVED,
    API_FIELD_IGNORED, /* checked, without effect */
    API_FIELD_UNBUILT, /* without effect, and what would have one is refused */
};
struct api_field_doc {
    const char *name, *type, *range, *dflt;
    unsigned kinds; /* 1: chat, 2: completion */
    enum api_field_state state;
    int extension;
};
/* Row i of the table of request fields, and of the headers read like them; 0 past the end. */
int api_field_row(int i, struct api_field_doc *ret);
int api_header_row(int i, struct api_field_doc *ret);

#endif
