/* Replies without stream, whole bodies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "base/check.h"

struct run {
    struct arena a;
    struct api_request q;
    struct usage used; /* so far */
    struct api_reply *r;
    struct buf out;
};

static void open_run(struct run *s, const char *body, size_t text_max)
{
    struct err e;
    struct api_reply_setup setup = {
        .req = &s->q, .id = "ID", .created = 7, .fingerprint = "fp_1", .text_max = text_max};
    int chat = !!strstr(body, "\"messages\"");

    s->used = (struct usage){0};
    memset(s, 0, sizeof *s);
    arena_init(&s->a, 4096, 1 << 20);
    buf_init(&s->out, 1 << 20);
    if (api_parse(api_dialects[chat ? API_CHAT : API_COMPLETION], &s->q, &s->a, body, strlen(body),
                  NULL, NULL, &e))
        fail_msg("%s", e.text);
    assert_int_equal(api_reply_new(&s->r, &setup), 0);
}

static void close_run(struct run *s)
{
    api_reply_free(s->r);
    buf_done(&s->out);
    api_request_done(&s->q);
    arena_done(&s->a);
}

static void event(struct run *s, struct event ev)
{
    assert_int_equal(api_reply_event(s->r, &ev, NULL), 0);
}

static struct event token(int choice, const char *t, float lp)
{
    return (struct event){.kind = EVENT_TEXT,
                          .choice = choice,
                          .text = t,
                          .n_text = strlen(t),
                          .token = 100 + choice,
                          .bytes = t,
                          .n_bytes = strlen(t),
                          .logprob = lp};
}

static void finish(struct run *s, int choice, enum finish f, const char *t)
{
    event(s,
          (struct event){
              .kind = EVENT_FINISH, .choice = choice, .text = t, .n_text = strlen(t), .finish = f});
}

static void done(struct run *s)
{
    static const struct times t = {1, 2, 3, 4, 1764000000000000};
    s->used.prompt_tokens += 11;
    s->used.completion_tokens += 3;
    s->used.cached_tokens += 8;
    event(s, (struct event){.kind = EVENT_DONE, .usage = &s->used, .times = &t});
}

static void expect(struct run *s, const char *want)
{
    size_t i = 0;

    assert_true(api_reply_is_done(s->r));
    assert_int_equal(api_reply_body(s->r, &s->out), 0);
    while (want[i] && s->out.data[i] == want[i])
        i++;
    if (s->out.data[i] != want[i])
        fail_msg("differs at %zu:\n%s\nwanted:\n%s", i, s->out.data + i, want + i);
}

#define HEAD(o)                                                                                    \
    "{\"id\":\"ID\",\"object\":\"" o "\",\"created\":7,\"model\":\"m\","                           \
    "\"system_fingerprint\":\"fp_1\",\"choices\":["
#define USAGE(p, c, t, k)                                                                          \
    ",\"usage\":{\"prompt_tokens\":" p ",\"completion_tokens\":" c ",\"total_tokens\":" t          \
    ",\"prompt_tokens_details\":{\"cached_tokens\":" k "},\"completion_tokens_details\":{"         \
    "\"reasoning_tokens\":0,\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}"   \
    ",\"time_info\":{\"queue_time\":0.000001,\"prompt_time\":0.000002,\"completion_time\":0."      \
    "000003,"                                                                                      \
    "\"total_time\":0.000004,\"created\":1764000000.0}"
#define USAGE1 USAGE("11", "3", "14", "8")
#define CHAT   "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\"}]"
#define MSG(i, t)                                                                                  \
    "{\"index\":" i ",\"message\":{\"role\":\"assistant\",\"content\":\"" t "\",\"refusal\":null}"

static void test_chat(void **state)
{
    struct run s;

    open_run(&s, CHAT "}", 0);
    event(&s, (struct event){.kind = EVENT_STARTED});
    event(&s, token(0, "a \"b\"", 0));
    event(&s, token(0, "", 0));
    event(&s, token(0, "\n\xf0\x9f\x98\x80", 0));
    finish(&s, 0, FINISH_LENGTH, "z");
    done(&s);
    expect(&s, HEAD("chat.completion")
                   MSG("0", "a \\\"b\\\"\\n\xf0\x9f\x98\x80z") ",\"finish_reason\":\"length\","
                                                               "\"logprobs\":null}]" USAGE1
                                                               ",\"service_tier\":null}");
    close_run(&s);
}

static void test_chat_choices(void **state)
{
    struct run s;
    struct event ev;

    open_run(&s, CHAT ",\"n\":2,\"logprobs\":true,\"service_tier\":\"flex\"}", 0);
    event(&s, token(1, "b", -0.125f));
    event(&s, token(0, "a", -1e-7f));
    ev = token(0, "c", -INFINITY);
    event(&s, ev);
    ev = token(0, "why", -1);
    ev.channel = CHANNEL_REASONING;
    event(&s, ev);
    finish(&s, 1, FINISH_STOP, "");
    finish(&s, 0, FINISH_STOP, "");
    done(&s);
    expect(&s, HEAD("chat.completion") "{\"index\":0,\"message\":{\"role\":\"assistant\","
                                       "\"content\":\"ac\",\"reasoning\":\"why\","
                                       "\"reasoning_content\":\"why\",\"refusal\":null},\"finish_"
                                       "reason\":\"stop\",\"logprobs\":{"
                                       "\"content\":[{\"token\":\"a\",\"logprob\":-0.0000001,"
                                       "\"bytes\":[97],\"top_logprobs\":[]},"
                                       "{\"token\":\"c\",\"logprob\":-9999.0,\"bytes\":[99],\"top_"
                                       "logprobs\":[]},"
                                       "{\"token\":\"why\",\"logprob\":-1.0,\"bytes\":[119,104,121]"
                                       ",\"top_logprobs\":[]}],"
                                       "\"refusal\":null}}," MSG(
                                           "1", "b") ",\"finish_reason\":\"stop\",\"logprobs\":{"
                                                     "\"content\":[{\"token\":\"b\",\"logprob\":"
                                                     "-0.125,\"bytes\":[98],\"top_logprobs\":[]}],"
                                                     "\"refusal\":null}}]" USAGE1
                                                     ",\"service_tier\":\"flex\"}");
    close_run(&s);
}

#define COMP "{\"model\":\"m\""

static void test_completion(void **state)
{
    struct run s;

    open_run(&s, COMP ",\"prompt\":[\"p\",[1]],\"n\":2}", 0);
    event(&s, token(2, "c", 0));
    event(&s, token(0, "a", 0));
    for (int i = 0; i < 4; i++)
        finish(&s, i, FINISH_STOP, i == 3 ? "d" : "");
    done(&s);
    assert_false(api_reply_is_done(s.r));
    done(&s);
#define CHOICE(i, t)                                                                               \
    "{\"index\":" i ",\"text\":\"" t                                                               \
    "\",\"tokens\":null,\"logprobs\":null,\"finish_reason\":\"stop\"}"
    expect(&s, HEAD("text_completion")
                   CHOICE("0", "a") "," CHOICE("1", "") "," CHOICE("2", "c") "," CHOICE(
                       "3", "d") "]" USAGE("22", "6", "28", "16") ",\"service_tier\":null}");
    close_run(&s);
}

/* What evaluation harnesses send: the prompt's own logprobs, nothing generated. */
static void test_echo_only(void **state)
{
    struct run s;
    struct event ev;

    open_run(&s, COMP ",\"prompt\":\"ab\",\"echo\":true,\"logprobs\":0,\"max_tokens\":0}", 0);
    assert_int_equal(api_reply_prompt(s.r, 0, "ab", 2, NULL, 0), 0);
    ev = token(0, "<s>", NAN);
    ev.kind = EVENT_PROMPT;
    ev.special = 1;
    event(&s, ev);
    ev = token(0, "a", -3);
    ev.kind = EVENT_PROMPT;
    event(&s, ev);
    ev = token(0, "b", -0.0f);
    ev.kind = EVENT_PROMPT;
    event(&s, ev);
    finish(&s, 0, FINISH_LENGTH, "");
    done(&s);
    expect(&s, HEAD("text_completion") "{\"index\":0,\"text\":\"ab\",\"tokens\":null,\"logprobs\":{"
                                       "\"text_offset\":[0,0,1],"
                                       "\"token_logprobs\":[null,-3.0,0.0],\"tokens\":[\"<s>\","
                                       "\"a\",\"b\"],\"top_logprobs\":["
                                       "null,{\"a\":-3.0},{\"b\":0.0}]},\"finish_reason\":"
                                       "\"length\"}]" USAGE1 ",\"service_tier\":null}");
    close_run(&s);
}

/* The sampled token is always in the map; equal keys do not repeat; bytes stay distinct. */
static void test_completion_tops(void **state)
{
    struct run s;
    struct event ev = token(0, "x", -2);
    const struct top top[] = {
        {1, -0.5f, "\xf0\x9f", 2}, {2, -0.75f, "\xf0\x98", 2}, {3, -1, "y", 1}, {4, -1.5f, "y", 1}};

    ev.top = top;
    ev.n_top = 4;
    open_run(&s, COMP ",\"prompt\":\"p\xc3\xa9\",\"logprobs\":4}", 0);
    assert_int_equal(api_reply_prompt(s.r, 0, "p\xc3\xa9", 3, NULL, 0), 0);
    event(&s, ev);
    ev = token(0, "\xc3", -1); /* half a character: it begins here */
    ev.text = "";
    ev.n_text = 0;
    event(&s, ev);
    ev = token(0, "\xa9", -1);
    ev.text = "\xc3\xa9";
    ev.n_text = 2;
    event(&s, ev);
    event(&s, token(0, "z", -1));
    finish(&s, 0, FINISH_STOP, "");
    done(&s);
    expect(
        &s,
        HEAD(
            "text_completion") "{\"index\":0,\"text\":\"x\xc3\xa9z\",\"tokens\":null,\"logprobs\":{"
                               "\"text_offset\":[2,3,4,4],\"token_logprobs\":[-2.0,-1.0,-1.0,-1.0],"
                               "\"tokens\":[\"x\",\"bytes:\\\\xc3\",\"bytes:\\\\xa9\",\"z\"],"
                               "\"top_logprobs\":[{\"x\":-2.0,\"bytes:\\\\xf0\\\\x9f\":-0.5,"
                               "\"bytes:\\\\xf0\\\\x98\":"
                               "-0.75,\"y\":-1.0},{\"bytes:\\\\xc3\":-1.0},{\"bytes:\\\\xa9\":-1.0}"
                               ",{\"z\":-1.0}]},"
                               "\"finish_reason\":\"stop\"}]" USAGE1 ",\"service_tier\":null}");
    close_run(&s);
}

static void test_best_of(void **state)
{
    struct run s;

    open_run(&s, COMP ",\"prompt\":\"p\",\"n\":2,\"best_of\":3}", 0);
    event(&s, token(0, "bad", -5));
    event(&s, token(1, "good", -1));
    event(&s, token(1, "er", -2)); /* the mean counts, not the sum */
    event(&s, token(2, "mid", -2));
    for (int i = 0; i < 3; i++)
        finish(&s, i, FINISH_STOP, "");
    done(&s);
    expect(&s, HEAD("text_completion") CHOICE("0", "gooder") "," CHOICE(
                   "1", "mid") "]" USAGE1 ",\"service_tier\":null}");
    close_run(&s);
    open_run(&s, COMP ",\"prompt\":\"p\",\"n\":1,\"best_of\":2}", 0);
    event(&s, token(1, "any", -9)); /* is better than none */
    for (int i = 0; i < 2; i++)
        finish(&s, i, FINISH_STOP, "");
    done(&s);
    expect(&s, HEAD("text_completion") CHOICE("0", "any") "]" USAGE1 ",\"service_tier\":null}");
    close_run(&s);
}

static void test_raw_tokens(void **state)
{
    struct run s;
    const int32_t ids[] = {5, 6};

    open_run(&s, COMP ",\"prompt\":\"p\",\"return_raw_tokens\":true,\"echo\":true}", 0);
    assert_int_equal(api_reply_prompt(s.r, 0, "p", 1, ids, 2), 0);
    event(&s, token(0, "a", 0));
    finish(&s, 0, FINISH_STOP, "");
    done(&s);
    expect(&s,
           HEAD("text_completion") "{\"index\":0,\"text\":null,\"tokens\":[5,6,100],\"logprobs\":"
                                   "null,\"finish_reason\":\"stop\"}]" USAGE1
                                   ",\"service_tier\":null}");
    close_run(&s);
}

static void test_ceiling(void **state)
{
    struct run s;
    struct event ev = token(0, "0123456789", 0);
    int e = 0, n = 0;

    open_run(&s, CHAT "}", 100);
    while (!e && n++ < 50)
        e = api_reply_event(s.r, &ev, NULL);
    assert_int_equal(e, ERR_LIMIT);
    assert_int_equal(n, 11);
    close_run(&s);
    open_run(&s, CHAT ",\"n\":2}", 100); /* all choices share it */
    for (n = e = 0; !e && n < 50; n++) {
        ev.choice = n & 1;
        e = api_reply_event(s.r, &ev, NULL);
    }
    assert_int_equal(n, 11);
    close_run(&s);
}

static void test_ids(void **state)
{
    char id[API_ID_MAX];
    const unsigned char x[16] = {0, 1, 2, 3, 4, 5, 0xff, 7, 0xff, 9, 10, 11, 12, 13, 14, 15};

    api_id_make(id, api_dialects[API_CHAT], x);
    assert_string_equal(id, "chatcmpl-00010203-0405-4f07-bf09-0a0b0c0d0e0f");
    api_id_make(id, api_dialects[API_COMPLETION], x);
    assert_memory_equal(id, "cmpl-0001", 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chat),
        cmocka_unit_test(test_chat_choices),
        cmocka_unit_test(test_completion),
        cmocka_unit_test(test_echo_only),
        cmocka_unit_test(test_completion_tops),
        cmocka_unit_test(test_best_of),
        cmocka_unit_test(test_raw_tokens),
        cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
