/* What a request may ask for and what it gets: stops, limits, echo, choices, bias, bans, and clear
 * refusals. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "base/team.h"
#include "base/utf8.h"
#include "engine/gguf.h"
#include "engine/sample.h"
#include "jobs.h"
#include "tiny.h"

enum { CONTEXT = 512, EOS = 257, LETTERS = 12 };

static int32_t prompt[CONTEXT];
static struct bias letters[LETTERS]; /* only these are ever drawn */
static struct team *team;
static struct engine *engine;
static struct jobs_answer answer, other;

static int begin(void **state)
{
    const struct tiny t = {.arch = TINY_LLAMA, .context = CONTEXT, .quantised = 1};
    struct engine_config c = {.path = tiny_file(&t, "rules.gguf"), .chunk = 64};
    struct err err = {0};
    (void)state;

    for (int i = 0; i < CONTEXT; i++) {
        uint32_t r[4];
        rand_philox(6, (uint64_t)i, 0, r);
        prompt[i] = (int32_t)(r[0] % 256);
    }
    for (int i = 0; i < LETTERS; i++)
        letters[i] = (struct bias){'a' + i, 60};
    if (team_open(&team, 2, &err) || engine_open(&engine, &c, team, NULL, NULL, &err))
        fail_msg("%s", err.text);
    return 0;
}

static int end(void **state)
{
    (void)state;
    engine_close(engine);
    team_close(team);
    return 0;
}

static struct jobs_spec request(int n_prompt, int max_tokens)
{
    struct jobs_spec s = {
        .prompt = prompt, .n_prompt = n_prompt, .sampling = jobs_greedy(max_tokens)};
    s.sampling.ignore_eos = 1;
    return s;
}

/* A seeded answer of letters. */
static struct jobs_spec words(int max_tokens, uint64_t seed)
{
    struct jobs_spec s = request(20, max_tokens);
    s.sampling = jobs_seeded(max_tokens, seed);
    s.sampling.temperature = 20; /* nearly even among the letters */
    s.sampling.bias = letters;
    s.sampling.n_bias = LETTERS;
    s.sampling.ignore_eos = 1;
    for (int i = 0; i < LETTERS; i++)
        letters[i].bias = 2000;
    return s;
}

static void run(struct jobs_spec s)
{
    memset(&answer, 0, sizeof answer);
    jobs_run(engine, &s, 1, &answer, 1);
}

static void stop_strings(void **state)
{
    char full[512];
    (void)state;
    for (uint64_t seed = 1; seed < 12; seed++) {
        struct jobs_spec s = words(100, seed);
        run(s);
        assert_int_equal(answer.err, 0);
        assert_int_equal(answer.n_text, 100);
        strcpy(full, answer.text);
        for (size_t len = 1; len < 9; len += 3) { /* each token is one letter: borders inside */
            char stop[16];
            size_t at = 10 + 7 * (size_t)seed % 60;
            const char *first;
            snprintf(stop, sizeof stop, "%.*s", (int)len, full + at);
            first = strstr(full, stop);
            s.sampling.min_tokens = 0;
            s.sampling.n_stop = 2;
            s.sampling.stop[0].s = "ZZZ";
            s.sampling.stop[0].n = 3;
            s.sampling.stop[1].s = stop;
            s.sampling.stop[1].n = len;
            run(s);
            assert_int_equal(answer.finish, FINISH_STOP);
            assert_int_equal(answer.n_text, first - full);
            assert_memory_equal(answer.text, full, answer.n_text);
            assert_int_equal(answer.n_tokens, first - full + (ptrdiff_t)len);
            assert_int_equal(answer.n_dropped, len);
            s.sampling.min_tokens = (int32_t)(first - full + (ptrdiff_t)len) + 1; /* not yet */
            run(s);
            assert_true(answer.n_text > (size_t)(first - full));
        }
        s.sampling.n_stop = 1; /* could be one until the end, and is not: all is shown */
        s.sampling.min_tokens = 0;
        {
            char stop[16];
            snprintf(stop, sizeof stop, "%.6s!", full + 94);
            s.sampling.stop[0].s = stop;
            s.sampling.stop[0].n = strlen(stop);
            run(s);
        }
        assert_int_equal(answer.finish, FINISH_LENGTH);
        assert_int_equal(answer.n_dropped, 0);
        assert_string_equal(answer.text, full);
    }
}

/* Bytes of characters come in several tokens; a stop string of such characters, and one that ends
 * while another character has begun. */
static void stop_inside_characters(void **state)
{
    static const struct bias bytes[] = {{195, 2000}, {169, 2000}, {'x', 2000}};
    static const char *const stops[] = {"\xc3\xa9", "\xef\xbf\xbd", "x\xc3\xa9",
                                        "\xc3\xa9\xc3\xa9"};
    char full[2048];
    int32_t id[256];
    int n = 0;
    (void)state;

    /* The vocabulary spells bytes by characters of its own: ask it. */
    for (int i = 0; i < 256; i++) {
        size_t len;
        const char *p = engine_token_bytes(engine, i, &len);
        assert_int_equal(len, 1);
        id[(unsigned char)*p] = i;
    }
    for (uint64_t seed = 1; seed < 8; seed++) {
        struct bias bias[3];
        struct jobs_spec s = words(120, seed);
        for (int i = 0; i < 3; i++)
            bias[i] = (struct bias){id[bytes[i].token], bytes[i].bias};
        s.sampling.bias = bias;
        s.sampling.n_bias = 3;
        run(s);
        assert_int_equal(answer.err, 0);
        assert_true(utf8_valid(answer.text, answer.n_text, NULL));
        strcpy(full, answer.text);
        for (size_t k = 0; k < sizeof stops / sizeof *stops; k++) {
            const char *first = strstr(full, stops[k]);
            if (!first)
                continue;
            n++;
            s.sampling.n_stop = 1;
            s.sampling.stop[0].s = stops[k];
            s.sampling.stop[0].n = strlen(stops[k]);
            run(s);
            assert_int_equal(answer.finish, FINISH_STOP);
            assert_int_equal(answer.n_text, first - full); /* nothing after it, no half character */
            assert_memory_equal(answer.text, full, answer.n_text);
        }
    }
    assert_true(n > 15);
}

/* A control token has no text to be found in; its name stops where it is drawn. */
static void stop_strings_name_control_tokens(void **state)
{
    static const struct {
        int32_t token;
        const char *text;
    } named[] = {{258, "<|im_start|>"}, {EOS, "</s>"}, {256, "<s>"}};
    (void)state;

    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        struct bias bias[] = {{named[i].token, 3000}};
        struct jobs_spec s = request(30, 40);
        s.sampling.bias = bias;
        s.sampling.n_bias = 1;
        s.sampling.n_stop = 2;
        s.sampling.stop[0].s = "<|im_sta";
        s.sampling.stop[1].s = named[i].text;
        for (int k = 0; k < 2; k++)
            s.sampling.stop[k].n = strlen(s.sampling.stop[k].s);
        run(s);
        assert_int_equal(answer.err, 0);
        assert_int_equal(answer.finish, FINISH_STOP);
        assert_int_equal(answer.n_tokens, 0);
        s.sampling.min_tokens = 7;
        run(s);
        assert_int_equal(answer.finish, FINISH_STOP);
        assert_int_equal(answer.n_tokens, named[i].token == EOS ? 7 : 6);
        s.sampling.n_stop = 1; /* another string stops nothing */
        run(s);
        assert_int_equal(answer.finish, FINISH_LENGTH);
        assert_int_equal(answer.n_tokens, 40);
    }
}

static void ends(void **state)
{
    struct bias eos[] = {{EOS, 3000}};
    int32_t stop[1];
    struct jobs_spec s = request(30, 40);
    (void)state;
    s.sampling.ignore_eos = 0;
    s.sampling.bias = eos;
    s.sampling.n_bias = 1;
    run(s); /* at once */
    assert_int_equal(answer.finish, FINISH_STOP);
    assert_int_equal(answer.n_tokens, 0);
    s.sampling.min_tokens = 7;
    run(s);
    assert_int_equal(answer.finish, FINISH_STOP);
    assert_int_equal(answer.n_tokens, 7);
    for (int i = 0; i < 7; i++)
        assert_int_not_equal(answer.token[i], EOS);
    s.sampling.ignore_eos = 1; /* it is drawn as before, and goes on: nothing else is likely */
    run(s);
    assert_int_equal(answer.finish, FINISH_LENGTH);
    assert_int_equal(answer.n_tokens, 40);
    for (int i = 0; i < 40; i++)
        assert_int_equal(answer.token[i] == EOS, i >= 7);
    s.sampling.min_tokens = 0;
    run(s);
    assert_int_equal(answer.finish, FINISH_LENGTH);
    assert_int_equal(answer.n_text, 0);
    for (int i = 0; i < 40; i++)
        assert_int_equal(answer.token[i], EOS);
    run(request(30, 40));
    other = answer;
    stop[0] = other.token[20];
    s = request(30, 40);
    s.sampling.stop_token = stop;
    s.sampling.n_stop_token = 1;
    run(s);
    assert_int_equal(answer.finish, FINISH_STOP);
    for (int i = 0; i <= answer.n_tokens; i++) /* the first of it, and it is not told */
        assert_int_equal(other.token[i] == stop[0], i == answer.n_tokens);
    s.sampling.n_stop_token = 0;
    s.sampling.max_tokens = 0;
    run(s);
    assert_int_equal(answer.err, 0);
    assert_int_equal(answer.n_tokens, 0);
    assert_int_equal(answer.finish, FINISH_LENGTH);
    s.n_prompt = CONTEXT; /* nothing to generate, so the prompt may fill the context */
    run(s);
    assert_int_equal(answer.err, 0);
    s.n_prompt = CONTEXT - 5;
    s.sampling.max_tokens = -1;
    run(s);
    assert_int_equal(answer.n_tokens, 5);
    assert_int_equal(answer.finish, FINISH_LENGTH);
}

struct rows {
    const struct kern_table *kern;
    const int32_t *id;
    int32_t n, n_vocab;
    float logprob[CONTEXT];
};

static int take_row(void *arg, int32_t i, const float *logits)
{
    struct rows *r = arg;
    struct sample_out o;
    if (i + 1 < r->n) {
        if (sample_logprobs(r->kern, logits, r->n_vocab, r->id[i + 1], 0, &o))
            return ERR_NUMERIC;
        r->logprob[i + 1] = o.logprob;
    }
    return 0;
}

/* The prompt's log-probabilities are those of an offline evaluation, to the bit. */
static void echo_equals_eval(void **state)
{
    static struct rows r;
    struct err err;
    (void)state;
    for (int n = 1; n < CONTEXT; n += 85) {
        struct jobs_spec s = request(n, n % 2 ? 0 : 5);
        s.echo = 1;
        r = (struct rows){.kern = kern_open(KERN_N_ISA - 1),
                          .id = prompt,
                          .n = n,
                          .n_vocab = engine_info(engine)->n_vocab};
        assert_int_equal(engine_eval(engine, prompt, n, take_row, &r, &err), 0);
        run(s);
        assert_int_equal(answer.err, 0);
        assert_int_equal(answer.n_prompt_events, n);
        assert_true(isnan(answer.prompt_logprob[0]));
        assert_memory_equal(answer.prompt_logprob + 1, r.logprob + 1,
                            sizeof(float) * (size_t)(n - 1));
        assert_int_equal(answer.n_tokens, n % 2 ? 0 : 5);
    }
}

static void choices(void **state)
{
    static struct jobs_answer many[JOB_CHOICES_MAX];
    struct jobs_spec s = request(70, 30);
    int different = 0;
    (void)state;
    s.sampling = jobs_seeded(30, 3);
    s.sampling.ignore_eos = 1;
    s.n_choices = JOB_CHOICES_MAX;
    jobs_run(engine, &s, 1, many, JOB_CHOICES_MAX);
    assert_int_equal(many[0].err, 0);
    for (int i = 0; i < JOB_CHOICES_MAX; i++) {
        assert_int_equal(many[i].n_tokens, 30);
        assert_int_equal(many[i].finish, FINISH_LENGTH);
        different += memcmp(many[i].token, many[0].token, sizeof(int32_t) * 30) != 0;
    }
    assert_int_equal(different, JOB_CHOICES_MAX - 1); /* each draws for itself */
    s.n_choices = 1;
    run(s);
    assert_memory_equal(answer.token, many[0].token, sizeof(int32_t) * 30); /* the first as alone */
    s.sampling = jobs_greedy(30);
    s.n_choices = 3;
    s.sampling.ignore_eos = 1;
    jobs_run(engine, &s, 1, many, JOB_CHOICES_MAX);
    assert_memory_equal(many[1].token, many[0].token, sizeof(int32_t) * 30);
    assert_memory_equal(many[2].token, many[0].token, sizeof(int32_t) * 30);
}

static int submit_error(struct jobs_spec s, struct err *err)
{
    struct job j;
    struct mbox box;
    int rc;
    assert_int_equal(mbox_open(&box), 0);
    memset(err, 0, sizeof *err);
    rc = jobs_start(engine, &j, &box, &s, err);
    assert_true(rc < 0); /* a job that started would be lost here */
    mbox_close(&box);
    return rc;
}

static void refusals(void **state)
{
    static const struct {
        int n_prompt, max_tokens;
        const char *current;
    } lengths[] = {{CONTEXT, -1, " 513 "},
                   {CONTEXT, 1, " 513 "},
                   {CONTEXT - 10, 11, " 513 "},
                   {1, INT32_MAX, " 2147483648 "},
                   {5, CONTEXT, " 517 "}};
    struct bias bias = {TINY_VOCAB, 1};
    int32_t bad[] = {1, TINY_VOCAB};
    struct jobs_spec s;
    struct err err;
    (void)state;

    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        assert_int_equal(submit_error(request(lengths[i].n_prompt, lengths[i].max_tokens), &err),
                         ERR_CONTEXT);
        if (!strstr(err.text, lengths[i].current) || !strstr(err.text, " 512"))
            fail_msg("%s", err.text);
    }
    assert_int_equal(submit_error(request(0, 5), &err), ERR_ARG);
    s = request(2, 5);
    s.prompt = bad;
    assert_int_equal(submit_error(s, &err), ERR_ARG);
    bad[1] = -1;
    assert_int_equal(submit_error(s, &err), ERR_ARG);
    assert_non_null(strstr(err.text, "-1"));
#define REFUSED(field, value)                                                                      \
    do {                                                                                           \
        s = request(2, 5);                                                                         \
        s.field = (value);                                                                         \
        assert_int_equal(submit_error(s, &err), ERR_ARG);                                          \
        assert_true(*err.param &&*err.text);                                                       \
    } while (0)
    REFUSED(n_choices, JOB_CHOICES_MAX + 1);
    REFUSED(n_choices, -1);
    REFUSED(sampling.temperature, -1);
    REFUSED(sampling.temperature, NAN);
    REFUSED(sampling.temperature, INFINITY);
    REFUSED(sampling.repetition_penalty, 0);
    REFUSED(sampling.repetition_penalty, INFINITY);
    REFUSED(sampling.frequency_penalty, NAN);
    REFUSED(sampling.presence_penalty, -INFINITY);
    REFUSED(sampling.top_p, NAN);
    REFUSED(sampling.n_stop, SAMPLING_STOPS_MAX + 1);
    REFUSED(sampling.n_stop, 1); /* of no bytes */
    REFUSED(sampling.n_top, SAMPLING_TOP_MAX + 1);
    REFUSED(sampling.n_top, -1);
    s = request(2, 5);
    s.sampling.bias = &bias;
    s.sampling.n_bias = 1;
    assert_int_equal(submit_error(s, &err), ERR_ARG);
    bias = (struct bias){3, NAN};
    assert_int_equal(submit_error(s, &err), ERR_ARG);
}

/* Weights that are not numbers end the jobs that met them, not the engine. */
static void not_numbers(void **state)
{
    static const uint32_t bits[] = {0x7fc00000, 0x7f800000, 0xff800000};
    const struct tiny t = {.arch = TINY_LLAMA, .context = 64};
    struct buf b;
    (void)state;

    for (int k = 0; k < 3; k++) {
        struct engine_config c = {.path = NULL};
        struct jobs_spec s[3] = {request(5, 4), request(9, 4), request(4, 0)};
        static struct jobs_answer a[3];
        struct engine *e = NULL;
        struct gguf *g = NULL;
        struct err err;
        char *at;
        tiny_write(&b, &t);
        assert_int_equal(gguf_open(&g, tiny_save(b.data, b.len, "nan.gguf"), &err), 0);
        at = memmem(b.data, b.len, gguf_find_tensor(g, "output_norm.weight")->data, 64);
        gguf_close(g);
        assert_non_null(at);
        memcpy(at + 12, &bits[k], 4);
        c.path = tiny_save(b.data, b.len, "nan.gguf");
        buf_done(&b);
        if (engine_open(&e, &c, team, NULL, NULL, &err))
            fail_msg("%s", err.text);
        s[1].echo = 1;
        jobs_run(e, s, 3, a, 1);
        assert_int_equal(a[0].err, ERR_NUMERIC);
        assert_int_equal(a[1].err, ERR_NUMERIC);
        assert_int_equal(a[2].err, 0); /* asked for no number */
        jobs_run(e, s, 1, a, 1);
        assert_int_equal(a[0].err, ERR_NUMERIC);
        engine_close(e);
    }
}

/* The context is lowered by the memory for KV, never in silence where it was asked for. */
static void context_by_memory(void **state)
{
    const struct tiny t = {.arch = TINY_LLAMA, .context = CONTEXT, .quantised = 1};
    char path[200];
    struct engine_config c = {.path = path};
    struct engine *e = NULL;
    struct err err;
    (void)state;
    strcpy(path, tiny_file(&t, "context.gguf"));
    c.kv_bytes_max = (size_t)engine_info(engine)->kv_token_bytes * 256;
    assert_int_equal(engine_open(&e, &c, team, NULL, NULL, &err), 0);
    assert_true(engine_info(e)->context >= 128 && engine_info(e)->context <= 256);
    assert_int_equal(engine_info(e)->context_trained, CONTEXT);
    engine_close(e);
    e = NULL;
    c.context_max = 400;
    assert_int_equal(engine_open(&e, &c, team, NULL, NULL, &err), ERR_LIMIT);
    assert_non_null(strstr(err.text, "400"));
    assert_null(e);
    c.kv_bytes_max = 0;
    c.context_max = CONTEXT + 1;
    assert_int_equal(engine_open(&e, &c, team, NULL, NULL, &err), ERR_ARG);
    c.context_max = 100;
    assert_int_equal(engine_open(&e, &c, team, NULL, NULL, &err), 0);
    assert_int_equal(engine_info(e)->context, 100);
    engine_close(e);
}

/* No layer sees the whole text, as in a file of one layer of a family that takes turns. */
static void a_window_in_every_layer(void **state)
{
    const struct tiny t = {
        .arch = TINY_GEMMA3, .context = CONTEXT, .window = 40, .all_windows = 1, .quantised = 1};
    struct engine_config c = {.path = tiny_file(&t, "windows.gguf"), .chunk = 64};
    struct jobs_spec s = request(300, 30);
    struct err err = {0};
    (void)state;

    for (int i = 0; i < 2; i++) {
        struct engine *e = NULL;
        if (engine_open(&e, &c, team, NULL, NULL, &err))
            fail_msg("%s", err.text);
        assert_true(engine_info(e)->kv_bytes > 0);
        jobs_run(e, &s, 1, i ? &other : &answer, 1);
        engine_close(e);
        c.chunk = 7;
    }
    assert_int_equal(answer.err, 0);
    assert_int_equal(answer.n_tokens, 30);
    assert_memory_equal(answer.token, other.token, 30 * sizeof *answer.token);
    assert_memory_equal(answer.logprob, other.logprob, 30 * sizeof *answer.logprob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stop_strings),
        cmocka_unit_test(stop_inside_characters),
        cmocka_unit_test(stop_strings_name_control_tokens),
        cmocka_unit_test(ends),
        cmocka_unit_test(echo_equals_eval),
        cmocka_unit_test(choices),
        cmocka_unit_test(refusals),
        cmocka_unit_test(not_numbers),
        cmocka_unit_test(context_by_memory),
        cmocka_unit_test(a_window_in_every_layer),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
