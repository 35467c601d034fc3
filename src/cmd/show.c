/* gaufre show MODEL: what a model is and what it will take. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cmd/model_opt.h"

struct show {
    int json, template_;
    struct model_opt model;
};

static const struct opt opts[] = {
    OPT_FLAG(0, "template", show, template_, "print the chat template and nothing else"),
    OPT_FLAG(0, "json", show, json, "print one JSON object"),
    MODEL_OPT_CONTEXT(show, model),
    MODEL_OPT_ROWS(show, model),
    OPT_END,
};

static void row(const char *name, const char *value)
{
    if (value && *value)
        cmd_line(stdout, "%-14s %s", name, value);
}

static void print_sampling(const struct engine_info *i)
{
    struct buf b;

    buf_init(&b, 256);
    preset_tell(&b, &i->sampling);
    buf_addf(&b, " (recommended by %s)",
             !strcmp(i->sampling_from, "file")     ? "the file"
             : !strcmp(i->sampling_from, "family") ? "the family's makers"
                                                   : "the catalogue");
    row("sampling", b.data);
    buf_done(&b);
}

static void print_plain(const struct engine_info *i)
{
    char a[32], b[32], line[256];

    row("model", i->general_name);
    row("file", i->path);
    row("licence", i->license);
    snprintf(line, sizeof line, "%s, %.1f M parameters", i->family, (double)i->n_params / 1e6);
    row("family", line);
    snprintf(line, sizeof line, "%d x %d, %d heads of %d (%d KV), feed-forward %d", i->n_layers,
             i->n_embd, i->n_heads, i->head_dim, i->n_kv_heads, i->n_ff);
    row("layers", line);
    if (i->n_experts) {
        snprintf(line, sizeof line, "%d, %d used per token", i->n_experts, i->n_experts_used);
        row("experts", line);
    }
    if (i->window) {
        snprintf(line, sizeof line, "%d tokens in some layers", i->window);
        row("window", line);
    }
    snprintf(line, sizeof line, "%d tokens", i->n_vocab);
    row("vocabulary", line);
    row("formats", i->formats);
    snprintf(line, sizeof line, "%d tokens trained, %d served here", i->context_trained,
             i->context);
    row("context", line);
    snprintf(line, sizeof line, "%s weights (file: %s)", cmd_bytes(i->weight_bytes, a, sizeof a),
             cmd_bytes(i->file_bytes, b, sizeof b));
    row("memory", line);
    snprintf(line, sizeof line, "%s KV cache at most (%s a token, %s)",
             cmd_bytes(i->kv_bytes, a, sizeof a), cmd_bytes(i->kv_token_bytes, b, sizeof b), i->kv);
    printf("%-14s %s\n", "", line);
    snprintf(line, sizeof line, "%s vocabulary", cmd_bytes(i->vocab_bytes, a, sizeof a));
    printf("%-14s %s\n", "", line);
    snprintf(line, sizeof line, "%s of weights read per token",
             cmd_bytes(i->bytes_per_token, a, sizeof a));
    printf("%-14s %s\n", "", line);
    row("kernels", i->kernels);
    print_sampling(i);
    if (i->has_template)
        printf("%-14s yes, %zu bytes (gaufre show --template prints it)\n", "chat template",
               strlen(i->template_text));
    else
        row("chat template", i->no_template_why);
}

static int print_json(const struct engine_info *i)
{
    json_t *o = json_pack(
        "{s:o, s:o, s:o, s:s, s:I, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:s}", "name",
        cmd_json_str(i->general_name), "path", cmd_json_str(i->path), "license",
        cmd_json_str(i->license), "family", i->family, "parameters", (json_int_t)i->n_params,
        "layers", i->n_layers, "embedding", i->n_embd, "heads", i->n_heads, "kv_heads",
        i->n_kv_heads, "head_dim", i->head_dim, "feed_forward", i->n_ff, "vocabulary", i->n_vocab,
        "experts", i->n_experts, "experts_used", i->n_experts_used, "window", i->window, "formats",
        i->formats);
    json_t *m = json_pack(
        "{s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:s, s:b, s:o}", "context_trained",
        i->context_trained, "context", i->context, "file_bytes", (json_int_t)i->file_bytes,
        "weight_bytes", (json_int_t)i->weight_bytes, "kv_bytes", (json_int_t)i->kv_bytes,
        "kv_token_bytes", (json_int_t)i->kv_token_bytes, "vocabulary_bytes",
        (json_int_t)i->vocab_bytes, "bytes_per_token", (json_int_t)i->bytes_per_token, "kernels",
        i->kernels, "class", i->cls, "kv", i->kv, "chat", i->has_template, "chat_template",
        cmd_json_str(i->has_template ? i->template_text : ""));
    json_t *s = json_pack("{s:f, s:f, s:i, s:f, s:s}", "temperature", i->sampling.temperature,
                          "top_p", i->sampling.top_p, "top_k", i->sampling.top_k, "min_p",
                          i->sampling.min_p, "from", i->sampling_from);
    int rc = o && m && s && !json_object_update(o, m)
                 ? json_object_set(o, "recommended_sampling", s)
                 : ERR_NOMEM;

    json_decref(m);
    json_decref(s);
    if (rc) {
        json_decref(o);
        o = NULL;
    }
    return cmd_json(o, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
}

static int run(const struct cmd *c, void *opts_, int argc, char **argv)
{
    const struct show *o = opts_;
    struct model_run r;
    struct err e;
    const struct engine_info *i;
    int rc = model_describe(&r, argv[0], &o->model, &e);

    (void)argc;
    if (rc)
        return cmd_fail(c, &e);
    i = engine_info(r.engine);
    if (o->template_ && !i->has_template)
        rc = err_set(&e, ERR_NOTFOUND, "%s", i->no_template_why);
    else if (o->template_)
        cmd_data(i->template_text, strlen(i->template_text));
    else if (!o->json)
        print_plain(i);
    else if (print_json(i))
        rc = err_set(&e, ERR_NOMEM, "no memory for the description");
    model_close(&r);
    return rc ? cmd_fail(c, &e) : CMD_OK;
}

const struct cmd cmd_show = {
    .name = "show",
    .help = "Describe a model: shapes, formats, memory, template, licence",
    .args = "MODEL",
    .opts = opts,
    .opts_size = sizeof(struct show),
    .n_args_min = 1,
    .n_args_max = 1,
    .complete = CMD_COMPLETE_MODEL,
    .run = run,
};
