/* Conversations to prompts: which message is continued and where, and what counts as an answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "tiny.h"

/* As SmolLM2's, which keeps blanks. */
#define KEEPS                                                                                      \
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"     \
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
/* As Llama 3's and Gemma's, which trim. */
#define TRIMS                                                                                      \
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n"          \
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
/* Shows what was thought last, and drops it from older turns. */
#define THINKS                                                                                     \
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% set c = m.content %}"                     \
    "{% if '</think>' in c %}{% set t = c.split('</think>')[0].split('<think>')[-1] %}"            \
    "{% set c = c.split('</think>')[-1] | trim %}"                                                 \
    "{% if loop.last %}{{ '<think>' + t + '</think>\n' }}{% endif %}{% endif %}"                   \
    "{{ c }}<|im_end|>\n{% endfor %}"                                                              \
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
#define ASKED(text) "<|im_start|>user\n" text "<|im_end|>\n<|im_start|>assistant\n"

static struct engine *open_model(const char *text, int adds_bos)
{
    const struct tiny t = {
        .arch = TINY_LLAMA, .context = 512, .quantised = 1, .adds_bos = adds_bos};
    char path[256];
    struct engine_config c = {.describe_only = 1, .template_file = path};
    struct engine *e = NULL;
    struct err err = {0};

    strcpy(path, tiny_save(text, strlen(text), "render.jinja"));
    c.path = tiny_file(&t, "render.gguf");
    if (engine_open(&e, &c, NULL, NULL, NULL, &err))
        fail_msg("%s", err.text);
    return e;
}

static struct engine *open_template(const char *text)
{
    return open_model(text, 0);
}

/* messages: JSON. The prompt's text, to be freed; or NULL and the error. */
static char *render(const struct engine *e, json_t *messages, struct err *err)
{
    struct chat chat = {.messages = messages, .continue_final = 1};
    struct tokens t = {0};
    struct buf text;
    char *r = NULL;

    buf_init(&text, (size_t)16 << 20);
    if (!engine_render(e, &chat, &text, &t, err))
        r = strdup(text.data);
    tokens_done(&t);
    buf_done(&text);
    json_decref(messages);
    return r;
}

static json_t *user_and(const char *asked, const char *said)
{
    return json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "user", "content", asked, "role",
                     "assistant", "content", said);
}

struct final {
    const char *template, *asked, *said, *want;
};

static void the_text_ends_where_the_last_message_ends(void **state)
{
    static const struct final table[] = {
        {KEEPS, "Q", ">", ASKED("Q") ">"},
        {KEEPS, "Q", "<", ASKED("Q") "<"},
        {KEEPS, "Q", "|", ASKED("Q") "|"},
        {KEEPS, "Q", "e", ASKED("Q") "e"},
        {KEEPS, "Q", "end", ASKED("Q") "end"},
        {KEEPS, "Q", "im_end", ASKED("Q") "im_end"},
        {KEEPS, "Q", "<|im_end|>", ASKED("Q") "<|im_end|>"},
        {KEEPS, "Q", "assistant\n", ASKED("Q") "assistant\n"},
        {KEEPS, "same", "same", ASKED("same") "same"},
        {KEEPS, "same", "sam", ASKED("same") "sam"},
        {KEEPS, "Q", "def f():\n    ", ASKED("Q") "def f():\n    "},
        {KEEPS, "Q", "```py\n", ASKED("Q") "```py\n"},
        {KEEPS, "Q", "  ", ASKED("Q") "  "},
        {KEEPS, "Q", ". ", ASKED("Q") ". "},
        {TRIMS, "ok", " ok", ASKED("ok") "ok"},
        {TRIMS, "ok then", " ok  ", ASKED("ok then") "ok"},
        {TRIMS, "Q", "def f():\n    ", ASKED("Q") "def f():"},
        {TRIMS, "Q", " \n ", ASKED("Q")}, /* no more than the message */
        {THINKS, "Q", "<think>hm</think>so", ASKED("Q") "<think>hm</think>\nso"},
        {THINKS, "Q", "<think>hm</think>", ASKED("Q") "<think>hm</think>\n"},
        {THINKS, "Q", "<think>hm", ASKED("Q") "<think>hm"},
        {KEEPS "x", "Q", "end", ASKED("Q") "end"},
        {"{% for m in messages %}{{ m.content | upper }};{% endfor %}", "ab", "b", "AB;B"},
        {"{% for m in messages %}{{ m.content | tojson }};{% endfor %}", "q", "a\"b",
         "\"q\";\"a\\\"b"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct engine *e = open_template(table[i].template);
        struct err err = {0};
        char *got = render(e, user_and(table[i].asked, table[i].said), &err);
        if (!got)
            fail_msg("'%s': %s", table[i].said, err.text);
        if (strcmp(got, table[i].want) != 0)
            fail_msg("'%s': got %s", table[i].said, got);
        free(got);
        engine_close(e);
    }
}

/* Nothing is said yet: a new answer, as without the message. */
static void an_empty_message_is_a_new_answer(void **state)
{
    struct engine *e = open_template(KEEPS);
    struct err err = {0};
    char *got = render(e, user_and("Q", ""), &err);
    (void)state;

    assert_string_equal(got, ASKED("Q"));
    free(got);
    got = render(e,
                 json_pack("[{s:s, s:s}, {s:s, s:n}]", "role", "user", "content", "Q", "role",
                           "assistant", "content"),
                 &err);
    assert_string_equal(got, ASKED("Q"));
    free(got);
    engine_close(e);
}

/* The template decides what it prints; what it leaves out cannot go on. */
static void a_message_left_out_is_refused(void **state)
{
    struct engine *e = open_template("{% for m in messages if m.role == 'user' %}{{ m.content }}"
                                     "{% endfor %}");
    struct err err = {0};
    (void)state;

    assert_null(render(e, user_and("same", "same"), &err));
    assert_int_equal(err.code, ERR_ARG);
    assert_non_null(strstr(err.text, "cannot be continued"));
    engine_close(e);
}

/* The tokens of what the assistant said, and no others, are an answer's: those of the message that
 * goes on too, and of its reasoning. */
static void answers_are_known(void **state)
{
    struct engine *e =
        open_template("{% for m in messages %}<|im_start|>{{ m.role }}\n"
                      "{{ m.reasoning_content }}{{ m.content }}<|im_end|>{% endfor %}"
                      "{% if add_generation_prompt %}<|im_start|>{% endif %}");
    static const char want[] = "<|im_start|>user\n"
                               "abc<|im_end|>"
                               "<|im_start|>assistant\n"
                               "TXYZ assistant<|im_end|>"
                               "<|im_start|>user\n"
                               "XYZ<|im_end|>"
                               "<|im_start|>assistant\n"
                               "XYZ";
    json_t *messages = json_pack("[{s:s, s:s}, {s:s, s:s, s:s}, {s:s, s:s}, {s:s, s:s}]", "role",
                                 "user", "content", "abc", "role", "assistant", "content",
                                 "XYZ assistant", "reasoning_content", "T", "role", "user",
                                 "content", "XYZ", "role", "assistant", "content", "XYZ");
    struct chat chat = {.messages = messages, .continue_final = 1};
    struct tokens t = {0};
    struct buf text;
    size_t at = 0;
    int n_answer = 0;
    struct err err;
    (void)state;

    buf_init(&text, 4096);
    assert_int_equal(engine_render(e, &chat, &text, &t, &err), 0);
    assert_string_equal(text.data, want);
    for (int32_t i = 0; i < t.n; i++) {
        size_t n, from = strlen("<|im_start|>user\nabc<|im_end|><|im_start|>assistant\n");
        int is_said = (at >= from && at < from + strlen("TXYZ assistant")) ||
                      at >= sizeof want - 1 - strlen("XYZ");
        engine_token_bytes(e, t.id[i], &n);
        assert_int_equal(t.answer[i / 32] >> i % 32 & 1, is_said);
        n_answer += is_said;
        at += n;
    }
    assert_int_equal(n_answer, strlen("TXYZ assistantXYZ"));
    tokens_done(&t);
    buf_done(&text);
    json_decref(messages);
    engine_close(e);
}

/* The text of a prompt, read again with its control tokens, is the prompt: with one BOS where the
 * template writes it, where the model adds it, and where both do. */
static void the_text_of_a_prompt_is_the_prompt(void **state)
{
    static const char *const templates[] = {KEEPS, "{{ bos_token }}" TRIMS,
                                            "{{ bos_token }}\n" KEEPS};
    struct err err = {0};

    for (int i = 0; i < 6; i++) {
        struct engine *e = open_model(templates[i / 2], i % 2);
        json_t *messages = user_and(" What? \n", "That.");
        struct chat chat = {.messages = messages};
        struct tokens want = {0}, got = {0};
        int n_bos = 0;
        struct buf text;
        buf_init(&text, 1 << 20);
        assert_int_equal(engine_render(e, &chat, &text, &want, &err), 0);
        assert_int_equal(engine_tokenize(e, text.data, text.len, PROMPT_SPECIAL | PROMPT_BOS, 9999,
                                         NULL, &got, &err),
                         0);
        assert_int_equal(got.n, want.n);
        assert_memory_equal(got.id, want.id, (size_t)got.n * sizeof *got.id);
        for (int32_t k = 0; k < got.n; k++)
            n_bos += got.id[k] == 256;
        assert_int_equal(n_bos, i > 0);
        tokens_done(&want);
        tokens_done(&got);
        buf_done(&text);
        json_decref(messages);
        engine_close(e);
    }
}

/* Very much of one letter: a search that looks at them again and again would not end. */
static void long_messages_take_linear_work(void **state)
{
    enum { N = 512 << 10 }; /* squared it would be far beyond the time that a template has */
    char *said = malloc(N + 1), *got;
    struct err err = {0};
    (void)state;

    assert_non_null(said);
    memset(said, 'a', N);
    said[N] = 0;
    for (int i = 0; i < 2; i++) {
        struct engine *e = open_template(i ? TRIMS : KEEPS);
        got = render(e, user_and("aaaa", said), &err);
        if (!got)
            fail_msg("%s", err.text);
        assert_int_equal(strlen(got), strlen(ASKED("aaaa")) + N);
        free(got);
        engine_close(e);
    }
    free(said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_ends_where_the_last_message_ends),
        cmocka_unit_test(an_empty_message_is_a_new_answer),
        cmocka_unit_test(a_message_left_out_is_refused),
        cmocka_unit_test(answers_are_known),
        cmocka_unit_test(the_text_of_a_prompt_is_the_prompt),
        cmocka_unit_test(long_messages_take_linear_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
