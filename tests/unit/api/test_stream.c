/* Streams, byte for byte. */
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

/* One run: a body, then events, and what came out. */
struct run {
    struct arena a;
    struct api_request q;
    struct usage used; /* so far */
    struct api_reply *r;
    struct buf out;
};

static void open_run(struct run *s, const char *body, struct api_reply_setup setup)
{
    struct err e;
    int chat = !!strstr(body, "\"messages\"");

    s->used = (struct usage){0};
    memset(s, 0, sizeof *s);
    arena_init(&s->a, 4096, 1 << 20);
    buf_init(&s->out, 1 << 20);
    if (api_parse(api_dialects[chat ? API_CHAT : API_COMPLETION], &s->q, &s->a, body, strlen(body),
                  NULL, NULL, &e))
        fail_msg("%s", e.text);
    setup.req = &s->q;
    setup.id = "ID";
    setup.created = 7;
    setup.fingerprint = "fp_1";
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
    assert_int_equal(api_reply_event(s->r, &ev, &s->out), 0);
}

static void text(struct run *s, int choice, const char *t)
{
    event(s, (struct event){.kind = EVENT_TEXT, .choice = choice, .text = t, .n_text = strlen(t)});
}

static void finish(struct run *s, int choice, enum finish f, const char *t)
{
    event(s,
          (struct event){
              .kind = EVENT_FINISH, .choice = choice, .text = t, .n_text = strlen(t), .finish = f});
}

static void done(struct run *s)
{
    static const struct times t = {.queue_us = 0,
                                   .prompt_us = 1500,
                                   .completion_us = 2000000,
                                   .total_us = 2002500,
                                   .created_us = 1764000000250000};
    s->used.prompt_tokens += 11;
    s->used.completion_tokens += 3;
    s->used.cached_tokens += 8;
    event(s, (struct event){.kind = EVENT_DONE, .usage = &s->used, .times = &t});
}

#define CHUNK                                                                                      \
    "data: {\"id\":\"ID\",\"object\":\"chat.completion.chunk\",\"created\":7,"                     \
    "\"model\":\"m\",\"system_fingerprint\":\"fp_1\",\"choices\":["
#define CCHUNK                                                                                     \
    "data: {\"id\":\"ID\",\"object\":\"text_completion\",\"created\":7,"                           \
    "\"model\":\"m\",\"system_fingerprint\":\"fp_1\",\"choices\":["
#define REST       ",\"finish_reason\":null,\"logprobs\":null}]}\n\n"
#define ROLE(i)    CHUNK "{\"index\":" i ",\"delta\":{\"role\":\"assistant\",\"content\":\"\"}" REST
#define TEXT(i, t) CHUNK "{\"index\":" i ",\"delta\":{\"content\":\"" t "\"}" REST
#define FINISH(i, f)                                                                               \
    CHUNK "{\"index\":" i ",\"delta\":{},\"finish_reason\":\"" f "\",\"logprobs\":null}]"
#define USAGE(p, c, t, k)                                                                          \
    ",\"usage\":{\"prompt_tokens\":" p ",\"completion_tokens\":" c ",\"total_tokens\":" t          \
    ",\"prompt_tokens_details\":{\"cached_tokens\":" k "},\"completion_tokens_details\":{"         \
    "\"reasoning_tokens\":0,\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}"   \
    ",\"time_info\":{\"queue_time\":0.000001,\"prompt_time\":0.0015,\"completion_time\":2.0,"      \
    "\"total_time\":2.0025,\"created\":1764000000.25}"
#define USAGE1 USAGE("11", "3", "14", "8")
#define DONE   "data: [DONE]\n\n"

static const struct api_reply_setup plain;

static void expect(struct run *s, const char *want)
{
    const char *got = s->out.data ? s->out.data : "";
    size_t i = 0;

    while (want[i] && got[i] == want[i])
        i++;
    if (got[i] != want[i])
        fail_msg("differs at %zu:\n%s\nwanted:\n%s", i, got + i, want + i);
    buf_clear(&s->out);
}

#define CHAT "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"\"}]"

static void test_usage_on_finish(void **state)
{
    struct run s;

    open_run(&s, CHAT "}", plain);
    event(&s, (struct event){.kind = EVENT_STARTED});
    expect(&s, "");
    text(&s, 0, ""); /* held back: nothing to say yet */
    expect(&s, "");
    text(&s, 0, "Hi");
    expect(&s, ROLE("0") TEXT("0", "Hi"));
    text(&s, 0, " \"q\"\n\xf0\x9f\x98\x80");
    expect(&s, TEXT("0", " \\\"q\\\"\\n\xf0\x9f\x98\x80"));
    finish(&s, 0, FINISH_STOP, " end");
    expect(&s, TEXT("0", " end")); /* the finish waits for the usage */
    assert_false(api_reply_is_done(s.r));
    done(&s);
    expect(&s, FINISH("0", "stop") USAGE1 "}\n\n" DONE);
    assert_true(api_reply_is_done(s.r));
    close_run(&s);
}

static void test_include_usage(void **state)
{
    struct run s;

    open_run(&s, CHAT ",\"stream_options\":{\"include_usage\":true}}", plain);
    text(&s, 0, "a");
    finish(&s, 0, FINISH_LENGTH, "");
    expect(&s, ROLE("0") TEXT("0", "a") FINISH("0", "length") "}\n\n");
    done(&s);
    expect(&s, CHUNK "]" USAGE1 "}\n\n" DONE);
    close_run(&s);
}

/* Nothing generated at all: role and finish still come, once each. */
static void test_empty(void **state)
{
    struct run s;

    open_run(&s, CHAT "}", plain);
    finish(&s, 0, FINISH_STOP, "");
    done(&s);
    expect(&s, ROLE("0") FINISH("0", "stop") USAGE1 "}\n\n" DONE);
    close_run(&s);
}

static void test_two_choices(void **state)
{
    struct run s;

    open_run(&s, CHAT ",\"n\":2}", plain);
    text(&s, 1, "b");
    text(&s, 0, "a");
    finish(&s, 0, FINISH_STOP, "");
    text(&s, 1, "c");
    expect(&s, ROLE("1") TEXT("1", "b") ROLE("0") TEXT("0", "a")
                   FINISH("0", "stop") "}\n\n" TEXT("1", "c"));
    finish(&s, 1, FINISH_LENGTH, "");
    expect(&s, "");
    done(&s);
    expect(&s, FINISH("1", "length") USAGE1 "}\n\n" DONE);
    close_run(&s);
}

static void test_error_after_first_byte(void **state)
{
    struct run s;
    struct err e;

    err_set(&e, ERR_NUMERIC, "the model \"m\" produced a NaN");
    open_run(&s, CHAT "}", plain);
    text(&s, 0, "a");
    event(&s, (struct event){.kind = EVENT_ERROR, .err = &e});
    expect(&s,
           ROLE("0") TEXT(
               "0",
               "a") "data: {\"error\":{\"message\":\"the model \\\"m\\\" produced a NaN\",\"type\":"
                    "\"server_error\",\"param\":null,\"code\":\"numeric_error\",\"id\":\"\"},"
                    "\"status_code\":500}\n\n");
    assert_true(api_reply_is_done(s.r));
    close_run(&s);
}

/* Some readers show a frame only when bytes follow it; else nothing differs. */
static void test_frames(void **state)
{
    static const struct api_frame bare = {"", "", "", ""};
    const struct api_frame *plain_frame = api_sse_frame(NULL);
    const struct api_frame *extra = api_sse_frame("Cerebras/JS 1.91.0");
    struct run s;

    assert_string_equal(plain_frame->ping, ": ping\n\n");
    assert_string_equal(extra->ping, ": ping\n\n\n");
    assert_ptr_equal(api_sse_frame("Cerebras/Python 1.0"), plain_frame);
    assert_ptr_equal(api_sse_frame("x Cerebras/JS"), plain_frame);
    open_run(&s, CHAT "}", (struct api_reply_setup){.frame = extra});
    text(&s, 0, "a");
    assert_non_null(strstr(s.out.data, "null}]}\n\n\ndata: "));
    assert_string_equal(s.out.data + s.out.len - 4, "}\n\n\n");
    close_run(&s);
    open_run(&s, CHAT "}", (struct api_reply_setup){.frame = &bare});
    text(&s, 0, "a");
    assert_memory_equal(s.out.data, "{\"id\"", 5);
    close_run(&s);
}

static void test_reasoning(void **state)
{
    struct run s;
    struct event ev = {.kind = EVENT_TEXT, .text = "so", .n_text = 2, .channel = CHANNEL_REASONING};

    open_run(&s, CHAT "}", plain);
    event(&s, ev);
    text(&s, 0, "a");
    expect(&s, ROLE("0") CHUNK
           "{\"index\":0,\"delta\":{\"reasoning\":\"so\",\"reasoning_content\":\"so\"}" REST TEXT(
               "0", "a"));
    close_run(&s);
    open_run(&s, CHAT "}", (struct api_reply_setup){.no_reasoning_alias = 1});
    event(&s, ev);
    expect(&s, ROLE("0") CHUNK "{\"index\":0,\"delta\":{\"reasoning\":\"so\"}" REST);
    close_run(&s);
}

/* A token of an event, with two alternatives. */
static struct event token(const char *t, const char *bytes, float lp)
{
    static struct top top[2];

    top[0] = (struct top){1, lp, bytes, strlen(bytes)};
    top[1] = (struct top){2, -INFINITY, "\xf0\x9f", 2};
    return (struct event){.kind = EVENT_TEXT,
                          .text = t,
                          .n_text = strlen(t),
                          .token = 1,
                          .bytes = bytes,
                          .n_bytes = strlen(bytes),
                          .logprob = lp,
                          .top = top,
                          .n_top = 2};
}

/* Each chunk has the logprobs of its own token, also where its text is held back. */
static void test_chat_logprobs(void **state)
{
    struct run s;

    open_run(&s, CHAT ",\"logprobs\":true,\"top_logprobs\":2}", plain);
    event(&s, token("", "\xf0\x9f", -0.5f));
    expect(&s, ROLE("0") CHUNK
           "{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":null,\"logprobs\":{"
           "\"content\":[{\"token\":\"\xef\xbf\xbd\",\"logprob\":-0.5,\"bytes\":[240,159],"
           "\"top_logprobs\":[{\"token\":\"\xef\xbf\xbd\",\"logprob\":-0.5,\"bytes\":[240,159]},"
           "{\"token\":\"\xef\xbf\xbd\",\"logprob\":-9999.0,\"bytes\":[240,159]}]}],"
           "\"refusal\":null}}]}\n\n");
    finish(&s, 0, FINISH_STOP, "x"); /* text of no token of its own */
    expect(&s, TEXT("0", "x"));
    close_run(&s);
    open_run(&s, CHAT ",\"logprobs\":true}", plain);
    event(&s, token("A", "A", -0.25f));
    expect(&s, ROLE("0") CHUNK
           "{\"index\":0,\"delta\":{\"content\":\"A\"},\"finish_reason\":null,\"logprobs\":{"
           "\"content\":[{\"token\":\"A\",\"logprob\":-0.25,\"bytes\":[65],\"top_logprobs\":[]}],"
           "\"refusal\":null}}]}\n\n");
    close_run(&s);
}

/* Tokens whose text may become a stop string wait for it, and go with the text or never. */
static void test_waiting_tokens(void **state)
{
    struct run s;
    struct event ev, end = {.kind = EVENT_FINISH, .finish = FINISH_STOP, .n_unshown = 2};

#define ITEM(t, b, lp)                                                                             \
    "{\"token\":\"" t "\",\"logprob\":" lp ",\"bytes\":[" b "],\"top_logprobs\":[]}"
#define LISTED(t, items, ids)                                                                      \
    CHUNK "{\"index\":0,\"delta\":{\"content\":\"" t "\"},\"finish_reason\":null,\"logprobs\":"    \
          "{\"content\":[" items "],\"refusal\":null},\"token_ids\":[" ids "]}]}\n\n"
    open_run(&s, CHAT ",\"logprobs\":true,\"return_token_ids\":true}", plain);
    assert_int_equal(api_reply_begin(s.r, &s.out), 0);
    buf_clear(&s.out);
    ev = token("", "A", -0.5f);
    ev.n_unshown = 1;
    event(&s, ev);
    ev.n_unshown = 2;
    event(&s, ev);
    expect(&s, "");
    ev = token("AAB", "BC", -1); /* half of it is held, and has begun */
    event(&s, ev);
    expect(&s, LISTED("AAB",
                      ITEM("A", "65", "-0.5") "," ITEM("A", "65", "-0.5") "," ITEM("BC", "66,67",
                                                                                   "-1.0"),
                      "1,1,1"));
    ev = token("", "D", -2);
    ev.n_unshown = 1;
    event(&s, ev);
    ev = token("CD", "E", -3); /* its own text waits */
    ev.n_unshown = 1;
    event(&s, ev);
    expect(&s, LISTED("CD", ITEM("D", "68", "-2.0"), "1"));
    ev = token("", "F", -4);
    ev.n_unshown = 2;
    event(&s, ev);
    event(&s, end); /* they were the stop string */
    done(&s);
    expect(&s, FINISH("0", "stop") USAGE1 "}\n\n" DONE);
    close_run(&s);

    open_run(&s, CHAT ",\"logprobs\":true,\"return_token_ids\":true}", plain);
    assert_int_equal(api_reply_begin(s.r, &s.out), 0);
    buf_clear(&s.out);
    ev = token("", "A", -0.5f);
    ev.n_unshown = 1;
    event(&s, ev);
    finish(&s, 0, FINISH_LENGTH, "A"); /* it was none */
    expect(&s, LISTED("A", ITEM("A", "65", "-0.5"), "1"));
    close_run(&s);
}

#define COMP        "{\"model\":\"m\",\"stream\":true"
#define CTEXT(i, t) CCHUNK "{\"index\":" i ",\"text\":\"" t "\"" REST
#define CFINISH(i, f)                                                                              \
    CCHUNK "{\"index\":" i ",\"text\":\"\",\"finish_reason\":\"" f "\",\"logprobs\":null}]"

static void test_completion(void **state)
{
    struct run s;

    open_run(&s, COMP ",\"prompt\":\"p\"}", plain);
    text(&s, 0, "a");
    text(&s, 0, "b");
    finish(&s, 0, FINISH_STOP, "");
    done(&s);
    expect(&s, CTEXT("0", "a") CTEXT("0", "b") CFINISH("0", "stop") USAGE1 "}\n\n" DONE);
    close_run(&s);
}

/* Usage is the sum over prompts, and comes with the end of the last. */
static void test_completion_prompts(void **state)
{
    struct run s;

    open_run(&s, COMP ",\"prompt\":[\"p\",\"q\"],\"n\":2}", plain);
    text(&s, 3, "d");
    finish(&s, 2, FINISH_STOP, "");
    finish(&s, 3, FINISH_STOP, "");
    done(&s);
    expect(&s, CTEXT("3", "d") CFINISH("2", "stop") "}\n\n" CFINISH("3", "stop") "}\n\n");
    finish(&s, 0, FINISH_STOP, "");
    finish(&s, 1, FINISH_LENGTH, "");
    expect(&s, CFINISH("0", "stop") "}\n\n");
    done(&s);
    expect(&s, CFINISH("1", "length") USAGE("22", "6", "28", "16") "}\n\n" DONE);
    close_run(&s);
}

/* Echo: the prompt is the first text of each choice; offsets go on from it. */
static void test_completion_echo(void **state)
{
    struct run s;
    struct event ev;

    open_run(&s, COMP ",\"prompt\":\"h\xc3\xa9!\",\"echo\":true,\"logprobs\":1}", plain);
    assert_int_equal(api_reply_prompt(s.r, 0, "h\xc3\xa9!", 4, NULL, 0), 0);
    ev = token("", "h\xc3\xa9", NAN);
    ev.kind = EVENT_PROMPT;
    event(&s, ev);
    ev = token("", "!", -1);
    ev.kind = EVENT_PROMPT;
    event(&s, ev);
    event(&s, token("x", "x", -2));
    expect(&s, CCHUNK
           "{\"index\":0,\"text\":\"h\xc3\xa9!\",\"finish_reason\":null,\"logprobs\":{"
           "\"text_offset\":[0,2],\"token_logprobs\":[null,-1.0],\"tokens\":[\"h\xc3\xa9\",\"!\"],"
           "\"top_logprobs\":[null,{\"!\":-1.0}]}}]}\n\n" CCHUNK
           "{\"index\":0,\"text\":\"x\",\"finish_reason\":null,\"logprobs\":{"
           "\"text_offset\":[3],\"token_logprobs\":[-2.0],\"tokens\":[\"x\"],"
           "\"top_logprobs\":[{\"x\":-2.0}]}}]}\n\n");
    close_run(&s);
}

static void test_token_ids(void **state)
{
    struct run s;
    const int32_t ids[] = {5, 6};
    struct event ev = {.kind = EVENT_TEXT, .text = "a", .n_text = 1, .token = 42};

    open_run(&s, CHAT ",\"return_token_ids\":true}", plain);
    assert_int_equal(api_reply_prompt(s.r, 0, "", 0, ids, 2), 0);
    event(&s, ev);
    expect(&s,
           CHUNK "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                 "\"finish_reason\":null,\"logprobs\":null,\"prompt_token_ids\":[5,6]}]}\n\n" CHUNK
                 "{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null,"
                 "\"logprobs\":null,\"token_ids\":[42]}]}\n\n");
    close_run(&s);
    open_run(&s, COMP ",\"prompt\":\"p\",\"return_raw_tokens\":true}", plain);
    event(&s, ev);
    finish(&s, 0, FINISH_STOP, "rest");
    done(&s);
    expect(&s, CCHUNK "{\"index\":0,\"text\":null,\"tokens\":[42]" REST CCHUNK
                      "{\"index\":0,\"text\":null,\"tokens\":[],\"finish_reason\":\"stop\","
                      "\"logprobs\":null}]" USAGE1 "}\n\n" DONE);
    close_run(&s);
}

static void test_tier_used(void **state)
{
    struct run s;

    open_run(&s, CHAT ",\"service_tier\":\"auto\"}",
             (struct api_reply_setup){.tier_used = "priority"});
    finish(&s, 0, FINISH_STOP, "");
    done(&s);
    expect(&s,
           ROLE("0") FINISH("0", "stop") USAGE1 ",\"service_tier_used\":\"priority\"}\n\n" DONE);
    close_run(&s);
}

/* A full connection buffer is an answer, not an overflow. */
static void test_out_full(void **state)
{
    struct run s;
    struct event ev = {.kind = EVENT_TEXT, .text = "abc", .n_text = 3};

    open_run(&s, CHAT "}", plain);
    s.out.max = 100;
    assert_int_equal(api_reply_event(s.r, &ev, &s.out), ERR_LIMIT);
    assert_true(s.out.len <= 100);
    close_run(&s);
}

/* Every payload of a long mixed stream parses as one JSON object on one line. */
static void test_parses(void **state)
{
    struct run s;
    int n = 0;

    open_run(&s, CHAT ",\"logprobs\":true,\"top_logprobs\":1,\"return_token_ids\":true}", plain);
    for (int i = 1; i < 256; i++) {
        char bytes[3] = {(char)i, (char)(i * 7 | 1), 0};
        event(&s, token(bytes, bytes, (float)-i / 3));
    }
    finish(&s, 0, FINISH_STOP, "\n\r\x01");
    done(&s);
    for (char *p = s.out.data, *end; *p; p = end + 2, n++) {
        json_t *j;
        struct err e;
        end = strstr(p, "\n\n");
        assert_memory_equal(p, "data: ", 6);
        assert_null(memchr(p, '\n', (size_t)(end - p)));
        if (!memcmp(p + 6, "[DONE]", 6))
            continue;
        if (json_parse(&j, p + 6, (size_t)(end - p) - 6, 0, &e))
            fail_msg("%s: %.*s", e.text, (int)(end - p), p);
        json_decref(j);
    }
    assert_int_equal(n, 1 + 255 + 1 + 1 + 1);
    close_run(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage_on_finish),
        cmocka_unit_test(test_include_usage),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_two_choices),
        cmocka_unit_test(test_error_after_first_byte),
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_reasoning),
        cmocka_unit_test(test_chat_logprobs),
        cmocka_unit_test(test_waiting_tokens),
        cmocka_unit_test(test_completion),
        cmocka_unit_test(test_completion_prompts),
        cmocka_unit_test(test_completion_echo),
        cmocka_unit_test(test_token_ids),
        cmocka_unit_test(test_tier_used),
        cmocka_unit_test(test_out_full),
        cmocka_unit_test(test_parses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
