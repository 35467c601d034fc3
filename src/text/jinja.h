/* Chat templates: a small Jinja2 interpreter for what templates of models use.
 *
 * Output equals that of Python's Jinja2 3.1 under the settings of Hugging Face's chat templates
 * (trim_blocks, lstrip_blocks, loop controls, generation blocks, their tojson, raise_exception and
 * strftime_now). Templates come from model files and are foreign: every run is bounded.
 *
 * Provenance. The output comes with the spans of it that are TRUSTED: bytes of the template's own
 * text and string literals, and of strings in `trusted` globals, followed through every operation
 * on strings (+, ~, slices, split, strip, replace, join, format, case, tojson ...). All else is
 * untrusted: message contents, names, tool schemas, numbers, dates. A tokenizer that parses control
 * tokens only where they lie entirely inside one trusted span keeps text from users text. In the
 * same way it comes with the spans that are ANSWERS: what messages of the assistant said.
 *
 * Threads. A compiled template is read-only: any number of threads may render it at once. Rendering
 * takes memory from one arena of its own; strings of the globals are read in place, so the caller
 * must keep them unchanged during the call.
 *
 * Limits (jinja_render fails with ERR_LIMIT, jinja_compile with ERR_LIMIT or ERR_FORMAT):
 * 1 MiB of template, JINJA_CPU_US_MAX of the thread's time and JINJA_STEPS_MAX steps (one per node
 * visited and item made, one per 16 or 64 bytes of string work: no template holds a thread longer
 * than half a second), JINJA_OUTPUT_MAX bytes in any one string and in the output, JINJA_MEM_MAX
 * bytes of memory, all counted, JINJA_MACRO_DEPTH nested macro calls, JINJA_DEPTH nested values and
 * expressions (so at most about 512 KiB of stack), range() of JINJA_RANGE_MAX items; integers have
 * 64 bits and their overflow is an error. */
#ifndef TEXT_JINJA_H
#define TEXT_JINJA_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/patience.h"

#define JINJA_TEXT_MAX    (1 << 20)
#define JINJA_STEPS_MAX   8000000
#define JINJA_CPU_US_MAX  400000 /* checked between pieces of work of up to 100 ms each */
#define JINJA_OUTPUT_MAX  (8 << 20)
#define JINJA_MEM_MAX     (192 << 20)
#define JINJA_MACRO_DEPTH 64
#define JINJA_RANGE_MAX   100000

struct jinja;

/* Compile n bytes of UTF-8. 0, or ERR_FORMAT (syntax), ERR_UNSUPPORTED (a tag, filter or test that
 * does not exist here, named), ERR_LIMIT, ERR_NOMEM; `e` says "chat template, line N: ...". */
int jinja_compile(struct jinja **ret, const char *text, size_t n, struct err *e);
void jinja_free(struct jinja *j); /* accepts NULL */

/* Variables. On equal names `trusted` wins over `globals` and `globals` over `kwargs`, so what a
 * client sends in kwargs replaces neither messages nor special tokens. */
struct jinja_input {
    const json_t *trusted; /* object or NULL: bos_token, eos_token ...: from the model's file */
    const json_t *globals; /* object or NULL: messages, tools, add_generation_prompt ... */
    const json_t *kwargs;  /* object or NULL: extra variables of the request */
    int64_t now_s;         /* time for strftime_now in seconds since 1970; 0: now */
    int64_t cpu_us_max;    /* 0: JINJA_CPU_US_MAX */
    const struct patience *patience; /* may be NULL */
    /* End the text where the content of the last message ends, so that a model goes on writing it.
     * Blanks at its end stay where the template keeps them. The last message needs a content that
     * is a string, be it empty; a template that leaves it out fails with ERR_ARG. */
    int continue_final;
};

struct jinja_span {
    size_t at, n; /* bytes of text */
};

struct jinja_out {
    struct buf text;
    /* Ascending, not empty, not touching. */
    struct jinja_span *spans, *answers; /* the trusted ones; those of answers */
    size_t n_spans, n_answers;
    uint64_t steps; /* how many the run took */
};

/* Fills *out (uninitialised before, then the caller's to jinja_out_done) only on success. Errors:
 * ERR_ARG with the template's own words when it calls raise_exception; ERR_FORMAT when running it
 * fails ("chat template, line N: ..."); ERR_UNSUPPORTED; ERR_LIMIT; ERR_NOMEM; ERR_CANCELLED and
 * ERR_TIMEOUT when the patience is over. */
int jinja_render(const struct jinja *j, const struct jinja_input *in, struct jinja_out *out,
                 struct err *e);
void jinja_out_done(struct jinja_out *out); /* accepts a zeroed one */

#endif
