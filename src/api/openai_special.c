/* Readers of request fields that are more than one plain value, and refusals of what the contract
 * has and this server has not yet. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/openai.h"

static int unbuilt(struct reading *d, const char *name, const char *what)
{
    return field_unbuilt(d->o, d->e, ERR_UNSUPPORTED, name, "%s not supported yet by this server",
                         what);
}

/* Index of the string v in a NULL-ended list, or -1 with the sentence. */
static int read_choice(const json_t *v, const char *path, const char *const *names, struct err *e)
{
    char all[160] = "";
    size_t n = 0;

    if (!json_is_string(v))
        return field_must_be(e, path, "a string", v), -1;
    for (int i = 0; names[i]; i++) {
        if (!strcmp(json_string_value(v), names[i]))
            return i;
        if (n < sizeof all)
            n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", i ? ", " : "", names[i]);
    }
    field_bad(e, ERR_SCHEMA, path, "must be one of %s, not '%.40s'", all, json_string_value(v));
    return -1;
}

int read_stop(struct reading *d, const json_t *v, const char *name)
{
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    int max = d->o->strict ? 4 : SAMPLING_STOPS_MAX;

    if (!json_is_array(v) && !json_is_string(v))
        return field_must_be(d->e, name, "a string or an array of strings", v);
    for (size_t i = 0; i < n; i++) {
        const json_t *s = json_is_array(v) ? json_array_get(v, i) : v;
        const char *path = json_is_array(v) ? PATH("%s.%zu", name, i) : name;
        const char *text;
        int r = read_str(s, path, SAMPLING_STOP_LEN, &text, d->e);
        if (r)
            return r;
        if (!*text)
            continue;
        if (d->r.sampling.n_stop == max)
            return field_bad(d->e, ERR_SCHEMA, name, "has more than %d strings", max);
        d->r.sampling.stop[d->r.sampling.n_stop++] = (struct text){text, json_string_length(s)};
    }
    return 0;
}

int read_stop_ids(struct reading *d, const json_t *v, const char *name)
{
    return read_ids(d->a, v, name, API_STOP_IDS_MAX, &d->r.sampling.stop_token,
                    &d->r.sampling.n_stop_token, d->e);
}

/* A token id as text: decimal digits, no leading zero, so that no id has two spellings. */
static int64_t id_of(const char *key)
{
    size_t n = strspn(key, "0123456789");

    if (!n || n > 10 || key[n] || (n > 1 && key[0] == '0'))
        return -1;
    return strtoll(key, NULL, 10);
}

int read_logit_bias(struct reading *d, const json_t *v, const char *name)
{
    size_t n = json_object_size(v);
    struct bias *bias;
    const char *key;
    json_t *item;

    if (!json_is_object(v))
        return field_must_be(d->e, name, "an object", v);
    if (n > API_BIAS_MAX)
        return field_bad(d->e, ERR_SCHEMA, name, "has %zu tokens; the limit is %d", n,
                         API_BIAS_MAX);
    bias = arena_array(d->a, n ? n : 1, sizeof *bias);
    if (!bias)
        return field_no_room(d->a, d->e);
    d->r.sampling.bias = bias;
    json_object_foreach((json_t *)v, key, item)
    {
        int64_t id = id_of(key);
        double x;
        int r;
        if (id < 0 || id > INT32_MAX)
            return field_bad(d->e, ERR_SCHEMA, name, "'%.40s' is not a token id", key);
        if (json_is_null(item))
            continue;
        r = read_real(item, PATH("%s.%s", name, key), -100, 100, &x, d->e);
        if (r)
            return r;
        bias[d->r.sampling.n_bias++] = (struct bias){(int32_t)id, (float)x};
    }
    return 0;
}

int read_stream_options(struct reading *d, const json_t *v, const char *name)
{
    static const char *const known[] = {"include_usage", "include_obfuscation", NULL};
    const json_t *usage;

    if (!json_is_object(v))
        return field_must_be(d->e, name, "an object", v);
    if (d->o->strict && check_known(v, "body.stream_options.", known, d->e))
        return ERR_SCHEMA;
    usage = get_field(v, "include_usage");
    return usage ? read_bool(usage, "stream_options.include_usage", &d->r.include_usage, d->e) : 0;
}

int read_logprobs_count(struct reading *d, const json_t *v, const char *name)
{
    int64_t n;
    int r = read_int(v, name, 0, SAMPLING_TOP_MAX, &n, d->e);

    if (r)
        return r;
    d->r.logprobs = 1;
    d->r.sampling.n_top = (int32_t)n;
    return 0;
}

int read_tools(struct reading *d, const json_t *v, const char *name)
{
    if (!json_is_array(v))
        return field_must_be(d->e, name, "an array", v);
    d->has_tools = json_array_size(v) > 0;
    return d->has_tools ? unbuilt(d, name, "tools are") : 0;
}

int read_tool_choice(struct reading *d, const json_t *v, const char *name)
{
    static const char *const names[] = {"none", "auto", "required", NULL};

    if (!json_is_object(v) && read_choice(v, name, names, d->e) < 0)
        return ERR_SCHEMA;
    d->tool_choice = v;
    return 0;
}

int read_response_format(struct reading *d, const json_t *v, const char *name)
{
    static const char *const names[] = {"text", "json_object", "json_schema", NULL};
    static const char *const known[] = {"type", "json_schema", NULL};
    const json_t *type = get_field(v, "type");
    int i;

    if (!json_is_object(v))
        return field_must_be(d->e, name, "an object", v);
    if (!type)
        return field_must_be(d->e, "response_format.type", "a string", NULL);
    if (d->o->strict && check_known(v, "body.response_format.", known, d->e))
        return ERR_SCHEMA;
    i = read_choice(type, "response_format.type", names, d->e);
    if (i < 0)
        return ERR_SCHEMA;
    return i ? unbuilt(d, name,
                       i == 1 ? "structured output (json_object) is"
                              : "structured output (json_schema) is")
             : 0;
}

int read_prediction(struct reading *d, const json_t *v, const char *name)
{
    static const char *const types[] = {"content", NULL}, *const known[] = {"type", "content",
                                                                            NULL};
    const json_t *type = get_field(v, "type"), *content = get_field(v, "content");
    json_t *text;
    int r;

    if (!json_is_object(v))
        return field_must_be(d->e, name, "an object", v);
    if (!type || !content)
        return field_must_be(d->e, type ? "prediction.content" : "prediction.type", "", NULL);
    if (d->o->strict && check_known(v, "body.prediction.", known, d->e))
        return ERR_SCHEMA;
    if (read_choice(type, "prediction.type", types, d->e) < 0)
        return ERR_SCHEMA;
    r = read_content(content, "prediction.content", d->o, &text, d->e);
    if (r)
        return r;
    d->r.prediction.n = json_string_length(text);
    d->r.prediction.s = arena_strndup(d->a, json_string_value(text), d->r.prediction.n);
    json_decref(text);
    return d->r.prediction.s ? 0 : field_no_room(d->a, d->e);
}

int read_effort(struct reading *d, const json_t *v, const char *name)
{
    static const char *const lenient[] = {"none",    "low",   "medium", "high",
                                          "minimal", "xhigh", "max",    NULL};
    static const char *const strict[] = {"none", "low", "medium", "high", NULL};
    static const enum effort effort[] = {EFFORT_NONE, EFFORT_LOW,  EFFORT_MEDIUM, EFFORT_HIGH,
                                         EFFORT_LOW,  EFFORT_HIGH, EFFORT_HIGH};
    int i = read_choice(v, name, d->o->strict ? strict : lenient, d->e);

    if (i < 0)
        return ERR_SCHEMA;
    d->effort = effort[i];
    return 0;
}

int read_reasoning_format(struct reading *d, const json_t *v, const char *name)
{
    static const char *const names[] = {"none", "raw", "parsed", "text_parsed", "hidden", NULL};
    int i = read_choice(v, name, names, d->e);

    if (i < 0)
        return ERR_SCHEMA;
    return i > 1 ? unbuilt(d, name, "splitting reasoning from the answer is") : 0;
}

int read_thinking(struct reading *d, const json_t *v, const char *name)
{
    static const char *const names[] = {"enabled", "disabled", NULL};
    const json_t *type = get_field(v, "type");
    int i;

    if (!json_is_object(v))
        return field_must_be(d->e, name, "an object", v);
    if (!type)
        return field_must_be(d->e, "thinking.type", "a string", NULL);
    i = read_choice(type, "thinking.type", names, d->e);
    if (i < 0)
        return ERR_SCHEMA;
    d->disable_reasoning |= i == 1;
    d->thinking_enabled = i == 0;
    return 0;
}

int read_tier(struct reading *d, const json_t *v, const char *name)
{
    static const char *const names[] = {"default", "auto",  "flex", "priority",
                                        "batch",   "scale", NULL};
    static const enum tier tiers[] = {TIER_DEFAULT,  TIER_AUTO,  TIER_FLEX,
                                      TIER_PRIORITY, TIER_BATCH, TIER_DEFAULT};
    int i = read_choice(v, name, names, d->e);

    if (i < 0)
        return ERR_SCHEMA;
    d->r.tier = tiers[i];
    return 0;
}

int read_kwargs(struct reading *d, const json_t *v, const char *name)
{
    /* Variables that this server gives to templates: a request may not replace them. */
    static const char *const reserved[] = {"messages",     "tools",     "documents",
                                           "bos_token",    "eos_token", "add_generation_prompt",
                                           "chat_template"};

    if (!json_is_object(v))
        return field_must_be(d->e, name, "an object", v);
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        if (json_object_get(v, reserved[i]))
            return field_bad(d->e, ERR_SCHEMA, PATH("%s.%s", name, reserved[i]),
                             "cannot be set by a request");
    }
    d->kwargs = v;
    return 0;
}

/* Seconds, or text with a unit ("300", "90s", "5m", "2h"); any negative number: for ever. */
int read_keep_alive(struct reading *d, const json_t *v, const char *name)
{
    const char *s = json_string_value(v);
    double x = json_number_value(v), unit = 1;
    char *end;

    if (s) {
        x = strtod(s, &end);
        unit = *end == 'h' ? 3600 : *end == 'm' ? 60 : 1;
        if (end == s || (*end && (!strchr("smh", *end) || end[1])))
            return field_bad(d->e, ERR_SCHEMA, name, "must be seconds, or text like \"5m\"");
    } else if (!json_is_number(v)) {
        return field_must_be(d->e, name, "a number of seconds", v);
    }
    if (!(x * unit < 1e9 && x * unit > -1e9))
        return field_bad(d->e, ERR_SCHEMA, name, "must be below 1e9 seconds");
    return 0;
}

int read_modalities(struct reading *d, const json_t *v, const char *name)
{
    if (!json_is_array(v))
        return field_must_be(d->e, name, "an array", v);
    for (size_t i = 0; i < json_array_size(v); i++) {
        const char *s = json_string_value(json_array_get(v, i));
        if (!s)
            return field_must_be(d->e, PATH("%s.%zu", name, i), "a string", json_array_get(v, i));
        if (strcmp(s, "text"))
            return unbuilt(d, name, "output other than text is");
    }
    return 0;
}

int read_functions(struct reading *d, const json_t *v, const char *name)
{
    if (!json_is_array(v))
        return field_must_be(d->e, name, "an array", v);
    return json_array_size(v) ? unbuilt(d, name, "functions are") : 0;
}

int read_function_call(struct reading *d, const json_t *v, const char *name)
{
    static const char *const names[] = {"none", "auto", NULL};

    if (json_is_object(v))
        return unbuilt(d, name, "functions are");
    return read_choice(v, name, names, d->e) < 0 ? ERR_SCHEMA : 0;
}

int read_model_parameters(struct reading *d, const json_t *v, const char *name)
{
    static const char *const known[] = {NULL};

    if (!json_is_object(v))
        return field_must_be(d->e, name, "an object", v);
    return d->o->strict ? check_known(v, "body.model_parameters.", known, d->e) : 0;
}

int read_suffix(struct reading *d, const json_t *v, const char *name)
{
    if (!json_is_string(v))
        return field_must_be(d->e, name, "a string", v);
    return json_string_length(v) ? unbuilt(d, name, "completion before a suffix is") : 0;
}

/* How many prompts an array of prompts may have, and one prompt of it. */
static int read_prompt_array(struct reading *d, const json_t *v)
{
    size_t n = json_array_size(v), max = d->o->prompts_max ? (size_t)d->o->prompts_max : 128;
    struct api_prompt *p;

    if (n > max)
        return field_bad(d->e, ERR_SCHEMA, "prompt", "has %zu prompts; the limit is %zu", n, max);
    p = arena_array(d->a, n, sizeof *p);
    if (!p)
        return field_no_room(d->a, d->e);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(v, i);
        p[i] = (struct api_prompt){json_string_value(item), json_string_length(item), NULL, 0};
        if (json_is_array(item)) {
            int r =
                read_ids(d->a, item, PATH("prompt.%zu", i), INT32_MAX, &p[i].id, &p[i].n_id, d->e);
            if (r)
                return r;
            if (!p[i].n_id)
                return field_bad(d->e, ERR_SCHEMA, PATH("prompt.%zu", i), "must not be empty");
        } else if (!json_is_string(item)) {
            return field_must_be(d->e, PATH("prompt.%zu", i), "a string or an array of token ids",
                                 item);
        }
    }
    d->r.prompt = p;
    d->r.n_prompts = (int32_t)n;
    return 0;
}

int read_prompt(struct reading *d, const json_t *v, const char *name)
{
    struct api_prompt *p;

    if (!json_is_string(v) && !json_is_array(v))
        return field_must_be(d->e, name, "a string or an array", v);
    if (json_is_array(v) && !json_array_size(v))
        return field_bad(d->e, ERR_SCHEMA, name, "must not be empty");
    if (json_is_array(v) && !json_is_number(json_array_get(v, 0)))
        return read_prompt_array(d, v);
    p = arena_zalloc(d->a, sizeof *p);
    if (!p)
        return field_no_room(d->a, d->e);
    d->r.prompt = p;
    d->r.n_prompts = 1;
    p->text = json_string_value(v);
    p->n_text = json_string_length(v);
    return p->text ? 0 : read_ids(d->a, v, name, INT32_MAX, &p->id, &p->n_id, d->e);
}

int template_kwargs(const struct reading *d, json_t **ret)
{
    static const char *const effort[] = {NULL, NULL, "low", "medium", "high"};
    json_t *k = d->kwargs ? json_copy((json_t *)d->kwargs) : json_object();
    int r = !k;

    /* chat_template_kwargs, which name a variable, win over fields that only imply it. */
    if (d->effort == EFFORT_NONE || d->thinking_enabled)
        r |=
            json_object_get(k, "enable_thinking")
                ? 0
                : json_object_set_new(k, "enable_thinking", json_boolean(d->effort != EFFORT_NONE));
    if (effort[d->effort] && !json_object_get(k, "reasoning_effort"))
        r |= json_object_set_new(k, "reasoning_effort", json_string(effort[d->effort]));
    if (!d->clear_thinking && !json_object_get(k, "clear_thinking"))
        r |= json_object_set_new(k, "clear_thinking", json_false());
    if (r || !json_object_size(k)) {
        json_decref(k);
        k = NULL;
    }
    *ret = k;
    return r ? ERR_NOMEM : 0;
}
