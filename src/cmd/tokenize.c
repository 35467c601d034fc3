/* gaufre tokenize MODEL [TEXT...]: token ids of a text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/plain.h"
#include "cmd/input.h"
#include "cmd/model_opt.h"

struct tokenize {
    int json, special, no_bos;
    const char *file;
};

static const struct opt opts[] = {
    OPT_FILE('f', "file", NULL, tokenize, file, "read the text from a file"),
    OPT_FLAG(0, "special", tokenize, special, "control tokens in the text count as such"),
    OPT_FLAG(0, "no-bos", tokenize, no_bos, "do not begin with BOS where the model wants it"),
    OPT_FLAG(0, "json", tokenize, json, "print {\"tokens\": [...]}"),
    OPT_END,
};

static void print_plain(const struct engine *e, const struct tokens *t)
{
    char hidden[PLAIN_UNIT];

    for (int32_t i = 0; i < t->n; i++) {
        size_t n;
        const char *p = engine_token_bytes(e, t->id[i], &n);
        printf("%7d  \"", t->id[i]);
        for (size_t k = 0, len; k < n; k += len) {
            len = plain_unit(p + k, n - k, hidden);
            if (hidden[0])
                fputs(hidden, stdout);
            else
                printf("%s%.*s", strchr("\"\\", p[k]) ? "\\" : "", (int)len, p + k);
        }
        puts("\"");
    }
}

static int run(const struct cmd *c, void *opts_, int argc, char **argv)
{
    const struct tokenize *o = opts_;
    const struct model_opt m = {0};
    struct tokens t = {0};
    struct model_run r = {0};
    struct buf text;
    struct err e;
    int rc;
    unsigned flags = (o->special ? PROMPT_SPECIAL : 0) | (o->no_bos ? 0 : PROMPT_BOS);

    rc = input_text(&text, o->file, argc - 1, argv + 1, &e);
    if (!rc)
        rc = model_describe(&r, argv[0], &m, &e);
    if (!rc)
        rc = engine_tokenize(r.engine, text.data ? text.data : "", text.len, flags,
                             (size_t)INT32_MAX / 8, NULL, &t, &e);
    if (!rc && o->json) {
        fputs("{\"tokens\":[", stdout);
        for (int32_t i = 0; i < t.n; i++)
            printf("%s%d", i ? "," : "", t.id[i]);
        puts("]}");
    } else if (!rc) {
        print_plain(r.engine, &t);
    }
    tokens_done(&t);
    model_close(&r);
    buf_done(&text);
    return rc ? cmd_fail(c, &e) : CMD_OK;
}

const struct cmd cmd_tokenize = {
    .name = "tokenize",
    .help = "Show the tokens of a text",
    .args = "MODEL [TEXT...]",
    .about = "The text comes from the arguments, from --file, or from standard input.",
    .opts = opts,
    .opts_size = sizeof(struct tokenize),
    .n_args_min = 1,
    .n_args_max = -1,
    .complete = CMD_COMPLETE_MODEL,
    .run = run,
};
