/* Inside the api room: the OpenAI family, which is chat and text completions with Cerebras'
 * additions. What the two share is in openai_*.c. What differs is in one row of struct openai for
 * each, in openai_chat.c and openai_completion.c. */
#ifndef API_OPENAI_H
#define API_OPENAI_H

#include "api/dialect.h"
#include "api/field.h"
#include "api/openai_logprob.h"
#include "api/reply_int.h"
#include "api/request.h"

/* Content of a message: a string, or an array of text parts joined without separator (new
 * reference). */
int read_content(const json_t *v, const char *path, const struct api_options *o, json_t **ret,
                 struct err *e);

/* What arguments of tool calls may take, parsed from their texts in the body. */
size_t arguments_max(const char *body, size_t n);

enum effort { EFFORT_UNSET, EFFORT_NONE, EFFORT_LOW, EFFORT_MEDIUM, EFFORT_HIGH };

/* A request while its fields are read: what has aliases or depends on other fields. */
struct reading {
    struct api_request r;
    struct arena *a;
    const struct api_options *o;
    struct err *e;
    int64_t max_completion, max_tokens, min_completion, min_tokens; /* -2: absent */
    int32_t best_of, n_top;
    enum effort effort;
    int disable_reasoning, thinking_enabled, clear_thinking, has_tools;
    const json_t *tool_choice, *kwargs;
    union {
        int32_t i32;
        const char *s;
    } unused; /* values of fields without effect */
};

/* Readers of fields that are more than one value; `name` is the field. */
int read_stop(struct reading *d, const json_t *v, const char *name);
int read_stop_ids(struct reading *d, const json_t *v, const char *name);
int read_logit_bias(struct reading *d, const json_t *v, const char *name);
int read_stream_options(struct reading *d, const json_t *v, const char *name);
int read_logprobs_count(struct reading *d, const json_t *v, const char *name);
int read_tools(struct reading *d, const json_t *v, const char *name);
int read_tool_choice(struct reading *d, const json_t *v, const char *name);
int read_response_format(struct reading *d, const json_t *v, const char *name);
int read_prediction(struct reading *d, const json_t *v, const char *name);
int read_effort(struct reading *d, const json_t *v, const char *name);
int read_reasoning_format(struct reading *d, const json_t *v, const char *name);
int read_thinking(struct reading *d, const json_t *v, const char *name);
int read_tier(struct reading *d, const json_t *v, const char *name);
int read_kwargs(struct reading *d, const json_t *v, const char *name);
int read_keep_alive(struct reading *d, const json_t *v, const char *name);
int read_modalities(struct reading *d, const json_t *v, const char *name);
int read_functions(struct reading *d, const json_t *v, const char *name);
int read_function_call(struct reading *d, const json_t *v, const char *name);
int read_model_parameters(struct reading *d, const json_t *v, const char *name);
int read_suffix(struct reading *d, const json_t *v, const char *name);
int read_messages(struct reading *d, const json_t *v, const char *name);
int read_prompt(struct reading *d, const json_t *v, const char *name);

/* The object of template variables from chat_template_kwargs and the reasoning fields; *ret NULL
 * when there are none. */
int template_kwargs(const struct reading *d, json_t **ret);

/* What is kept for a reply beside its neutral state. */
struct openai_choice {
    unsigned char begun; /* stream: role or echo are out */
    int64_t offset;      /* of the next token in the text, in code points */
    struct logprobs lp;  /* stream: what is not sent yet */
};
struct openai_prompt {
    int64_t offset;  /* of its next token in the text, in code points */
    struct buf text; /* escaped; with echo only */
    struct buf ids;
    struct logprobs lp;
};
struct openai_reply {
    struct buf head, mid, tail; /* of a chunk: up to the choice's index, up to its text, after it */
    size_t n_head;              /* of head, up to the list of choices */
    int32_t held;               /* choice whose finish waits for the usage, or -1 */
    struct openai_choice *choice;
    struct openai_prompt *prompt;
};

static inline struct openai_reply *openai_own(const struct api_reply *r)
{
    return r->own;
}

/* Bits of the rows in the table of fields. */
enum { OPENAI_CHAT = 1, OPENAI_COMPLETION = 2 };

struct openai {
    struct api_dialect d;
    /* openai_parse.c */
    unsigned fields;                  /* its bit in the table of fields */
    int32_t max_tokens_least;         /* that may be asked for */
    int (*settle)(struct reading *d); /* what its own fields mean together; NULL: nothing more */
    /* openai_body.c, openai_stream.c */
    const char *object, *chunk; /* what a body and a chunk call themselves */
    const char *mid, *tail;     /* around the text of a chunk that has nothing else */
    const char *last;           /* the text of a chunk that has none */
    /* What comes before the first text of a choice. */
    void (*put_first)(struct api_reply *r, int32_t choice, struct buf *out);
    /* The text of a chunk that has more. */
    void (*put_text)(const struct api_reply *r, const struct event *ev, struct buf *out);
    /* A choice of a body, but for its index and token ids. */
    void (*put_choice)(const struct api_reply *r, int32_t choice, struct buf *out);
    /* As in openai_logprob.h. */
    int (*add_token)(struct logprobs *lp, const struct event *ev, int32_t n_top, int64_t offset);
    int (*put_logprobs)(struct buf *out, const struct logprobs *first, const struct logprobs *lp);
};
extern const struct openai openai_chat, openai_completion;

static inline const struct openai *openai_of(const struct api_reply *r)
{
    return (const struct openai *)(const void *)r->dialect; /* its first member */
}

/* What the rows share of struct api_dialect. */
int openai_parse(const struct api_dialect *d, struct api_request *ret, struct arena *a,
                 const char *body, size_t n, const struct api_request_headers *h,
                 const struct api_options *o, struct err *e);
int openai_open(struct api_reply *r);
void openai_close(struct api_reply *r);
int openai_prompt(struct api_reply *r, int32_t i, const char *text, size_t n, const int32_t *id,
                  int32_t n_id);
int openai_event(struct api_reply *r, const struct event *ev, struct buf *out);
int openai_body(struct api_reply *r, struct buf *out);
int openai_error(struct buf *out, const struct err *e, int in_stream);

/* openai_body.c: what bodies and chunks share. */
const char *openai_finish_text(int finish);
/* {"id":..,.. without its end; object: openai.object or .chunk */
void openai_put_identity(struct buf *b, const struct api_reply *r, const char *object);
void openai_put_usage(struct buf *b, const struct api_reply *r); /* ,"usage":..,"time_info":.. */
void openai_put_list(struct buf *out, const struct buf *a, const struct buf *b); /* [a,b] */

/* openai_stream.c */
void openai_put_head(const struct api_reply *r, int32_t choice, struct buf *out);
void openai_put_tail(const struct api_reply *r, struct buf *out); /* after its text or delta */
void openai_put_shown_ids(const struct openai_choice *c, struct buf *out);
void openai_begin_choice(struct api_reply *r, int32_t choice, struct buf *out);

#endif
