/* gaufre run MODEL [PROMPT]: an answer, or a chat, in the terminal. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <histedit.h>

#include "base/json.h"
#include "base/rand.h"
#include "cmd/generate.h"
#include "cmd/input.h"
#include "cmd/model_opt.h"
#include "hub/hub.h"

struct run {
    const char *system;
    double temperature, top_p, min_p;
    int64_t top_k, seed, max_tokens;
    struct opt_strs stop;
    int raw, json, quiet;
    struct model_opt model;
};

static const struct opt opts[] = {
    OPT_STR('s', "system", "TEXT", NULL, run, system, "system message"),
    OPT_REAL(0, "temperature", "T", "model", 0, 2, run, temperature,
             "0: always the likeliest token; model: as recommended for it"),
    OPT_REAL(0, "top-p", "P", "model", 0, 1, run, top_p, "draw among the likeliest of this mass"),
    OPT_REAL(0, "min-p", "P", "model", 0, 1, run, min_p, "and at least this share of the best"),
    OPT_INT(0, "top-k", "N", "model", 0, 1 << 20, run, top_k, "and among the N best (0: all)"),
    OPT_INT(0, "seed", "N", "-1", -1, 0x1p63, run, seed,
            "seed of the draws (-1: a new one each time)"),
    OPT_INT('n', "max-tokens", "N", "-1", -1, 1 << 26, run, max_tokens,
            "tokens of an answer at most (-1: to the end of the context)"),
    OPT_STRS(0, "stop", "TEXT", run, stop, "end the answer before this text"),
    OPT_FLAG(0, "raw", run, raw, "continue the text as it is, without the chat template"),
    OPT_FLAG(0, "json", run, json, "print one JSON object with answer, usage and times"),
    OPT_FLAG('q', "quiet", run, quiet, "no line of figures after an answer"),
    MODEL_OPT_CONTEXT(run, model),
    MODEL_OPT_ROWS(run, model),
    OPT_END,
};

/* One conversation in the terminal. */
struct talk {
    const struct cmd *cmd;
    const struct run *o;
    struct engine *engine;
    json_t *messages;
    int chat;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
}

static int show_text(void *ctx, const char *p, size_t n)
{
    (void)ctx;
    cmd_data(p, n);
    fflush(stdout);
    return interrupted;
}

static int was_interrupted(void *ctx)
{
    (void)ctx;
    return interrupted;
}

_Static_assert(OPT_STRS_MAX <= SAMPLING_STOPS_MAX, "every --stop has its place");

static double real_or(double v, double recommended)
{
    return opt_real_is_word(v) ? recommended : v;
}

static void set_sampling(const struct run *o, const struct preset *r, struct sampling *s)
{
    *s = (struct sampling){.temperature = (float)real_or(o->temperature, r->temperature),
                           .top_p = (float)real_or(o->top_p, r->top_p),
                           .min_p = (float)real_or(o->min_p, r->min_p),
                           .top_k = opt_int_is_word(o->top_k) ? r->top_k : (int32_t)o->top_k,
                           .repetition_penalty = 1,
                           .max_tokens = (int32_t)o->max_tokens,
                           .n_stop = o->stop.n};
    for (int i = 0; i < s->n_stop; i++)
        s->stop[i] = (struct text){o->stop.v[i], strlen(o->stop.v[i])};
}

static int add_message(struct talk *t, const char *role, const char *text, size_t n, struct err *e)
{
    json_t *content = json_stringn(text, n);
    json_t *m = content ? json_pack("{s:s, s:o}", "role", role, "content", content) : NULL;

    if (!m || json_array_append_new(t->messages, m))
        return err_set(e, ERR_ARG, "the text is not UTF-8");
    return 0;
}

/* Answer the conversation, or continue `text` where there is no chat. */
static int answer(struct talk *t, const char *text, size_t n, int show, struct generated *ret,
                  struct err *e)
{
    struct generate g = {.stop = was_interrupted, .text = show ? show_text : NULL};
    uint64_t seed = (uint64_t)t->o->seed;
    struct tokens prompt = {0};
    int rc;

    if (t->o->seed < 0 && rand_system(&seed, sizeof seed))
        return err_set(e, ERR_IO, "no random bytes from the system");
    if (t->chat) {
        struct chat chat = {.messages = t->messages};
        rc = engine_render(t->engine, &chat, NULL, &prompt, e);
    } else {
        rc = engine_tokenize(t->engine, text, n, PROMPT_BOS, (size_t)INT32_MAX / 8, NULL, &prompt,
                             e);
    }
    if (rc)
        return rc;
    set_sampling(t->o, &engine_info(t->engine)->sampling, &g.sampling);
    g.sampling.seed = seed;
    g.prompt = prompt.id;
    g.answer = prompt.answer;
    g.n_prompt = prompt.n;
    interrupted = 0;
    rc = generate(t->engine, &g, ret, e);
    tokens_done(&prompt);
    return rc;
}

static void print_figures(const struct talk *t, const struct generated *g)
{
    double s = (double)g->times.completion_us / 1e6;
    int n = (int)g->usage.completion_tokens;

    if (t->o->quiet)
        return;
    fprintf(stderr, "[%d + %d token%s, first after %.0f ms, %.1f tokens/s%s%s]\n", g->n_prompt, n,
            plural(n), (double)(g->times.queue_us + g->times.prompt_us) / 1e3,
            s > 0 && n > 1 ? (n - 1) / s : 0.0,
            g->usage.cached_tokens ? ", part of the prompt was cached" : "",
            g->cancelled                 ? ", stopped"
            : g->finish == FINISH_LENGTH ? ", cut at the limit"
                                         : "");
}

static int print_json(const struct generated *g)
{
    json_t *text = cmd_json_text(g->text.data ? g->text.data : "", g->text.len);
    const struct usage *u = &g->usage;
    const struct times *t = &g->times;
    json_t *o = json_pack("{s:o, s:s, s:{s:i, s:I, s:I, s:I}, s:{s:f, s:f, s:f}}", "content", text,
                          "finish_reason", g->finish == FINISH_LENGTH ? "length" : "stop", "usage",
                          "prompt_tokens", g->n_prompt, "completion_tokens",
                          (json_int_t)u->completion_tokens, "total_tokens",
                          (json_int_t)(g->n_prompt + u->completion_tokens), "cached_tokens",
                          (json_int_t)u->cached_tokens, "time_info", "queue_time",
                          (double)t->queue_us / 1e6, "prompt_time", (double)t->prompt_us / 1e6,
                          "completion_time", (double)t->completion_us / 1e6);

    return cmd_json(o, JSON_REAL_PRECISION(9));
}

/* One prompt, one answer. */
static int run_once(struct talk *t, const struct buf *prompt)
{
    struct generated g;
    struct err e;
    int rc = 0;

    if (t->chat)
        rc = add_message(t, "user", prompt->data ? prompt->data : "", prompt->len, &e);
    if (!rc)
        rc = answer(t, prompt->data ? prompt->data : "", prompt->len, !t->o->json, &g, &e);
    if (rc)
        return cmd_fail(t->cmd, &e);
    if (t->o->json) {
        print_json(&g);
    } else {
        if (!g.text.len || g.text.data[g.text.len - 1] != '\n')
            puts("");
        if (isatty(STDERR_FILENO))
            print_figures(t, &g);
    }
    buf_done(&g.text);
    return g.cancelled ? CMD_FAILED : CMD_OK;
}

/* ---- the chat -------------------------------------------------------------------------------- */

static void start_over(struct talk *t, const char *system)
{
    struct err e;
    json_array_clear(t->messages);
    if (system && *system && t->chat)
        add_message(t, "system", system, strlen(system), &e);
}

/* A line that begins with a slash; 1 to leave. */
static int command(struct talk *t, const char *line)
{
    if (!strcmp(line, "/exit") || !strcmp(line, "/quit") || !strcmp(line, "/bye"))
        return 1;
    if (!strcmp(line, "/clear")) {
        start_over(t, t->o->system);
        fputs("The conversation starts anew.\n", stderr);
    } else if (!strncmp(line, "/system", 7) && (line[7] == ' ' || !line[7])) {
        start_over(t, line[7] ? line + 8 : "");
        fputs("The conversation starts anew with this system message.\n", stderr);
    } else {
        fputs("/clear          forget the conversation\n"
              "/system TEXT    start anew with a system message\n"
              "/exit           leave (ctrl-D does it too)\n"
              "\"\"\"             begins and ends a text of several lines\n"
              "ctrl-C          stops an answer\n",
              strcmp(line, "/help") ? stderr : stdout);
    }
    return 0;
}

static const char *prompt_text(EditLine *el)
{
    const char *p = "";
    el_get(el, EL_CLIENTDATA, &p);
    return p;
}

/* A line, or a block between lines of three quotes. NULL at the end of input. */
static const char *read_turn(EditLine *el, struct buf *out)
{
    int n, block = 0;
    const char *line;

    buf_clear(out);
    for (;;) {
        el_set(el, EL_CLIENTDATA, block ? "... " : ">>> ");
        errno = 0;
        line = el_gets(el, &n);
        if (!line || n <= 0)
            return errno == EINTR ? "" : NULL;
        if (!strncmp(line, "\"\"\"", 3)) {
            line += 3;
            n -= 3;
            block = !block;
            if (!block)
                return out->data ? out->data : "";
        }
        buf_add(out, line, (size_t)n);
        if (out->len > 2 && out->len >= 4 && block &&
            !strcmp(out->data + out->len - 4, "\"\"\"\n")) {
            out->len -= 4;
            out->data[out->len] = 0;
            return out->data;
        }
        if (!block) {
            while (out->len && out->data[out->len - 1] == '\n')
                out->data[--out->len] = 0;
            return out->data ? out->data : "";
        }
    }
}

static void one_turn(struct talk *t, const char *text, size_t n)
{
    struct generated g;
    struct err e;
    int rc = t->chat ? add_message(t, "user", text, n, &e) : 0;

    if (!rc) {
        rc = answer(t, text, n, 1, &g, &e);
        if (rc && t->chat)
            json_array_remove(t->messages, json_array_size(t->messages) - 1);
    }
    if (rc) {
        cmd_note("%s", e.text);
        return;
    }
    puts("");
    print_figures(t, &g);
    if (t->chat)
        add_message(t, "assistant", g.text.data ? g.text.data : "", g.text.len, &e);
    buf_done(&g.text);
}

static int run_chat(struct talk *t)
{
    EditLine *el = el_init("gaufre", stdin, stdout, stderr);
    History *h = history_init();
    struct hub *hub = NULL;
    struct buf line;
    const char *text;
    char file[4096] = "";
    HistEvent ev;
    struct err e;

    if (!el || !h) {
        err_set(&e, ERR_NOMEM, "the terminal cannot be used");
        return cmd_fail(t->cmd, &e);
    }
    buf_init(&line, INPUT_MAX);
    el_set(el, EL_PROMPT, prompt_text);
    el_set(el, EL_SIGNAL, 0);
    el_set(el, EL_EDITOR, "emacs");
    history(h, &ev, H_SETSIZE, 1000);
    history(h, &ev, H_SETUNIQUE, 1);
    el_set(el, EL_HIST, history, h);
    el_source(el, NULL);
    if (!hub_open(&hub, &e) && !hub_make_home(hub, &e)) {
        snprintf(file, sizeof file, "%s/history", hub_home(hub));
        history(h, &ev, H_LOAD, file);
    }
    hub_close(hub);
    cmd_note("%s. /help tells more, ctrl-D leaves.",
             t->chat ? "Chat" : engine_info(t->engine)->no_template_why);
    while ((text = read_turn(el, &line))) {
        if (!*text)
            continue;
        history(h, &ev, H_ENTER, text);
        if (*text == '/') {
            if (command(t, text))
                break;
        } else {
            one_turn(t, text, strlen(text));
        }
    }
    puts("");
    if (*file) {
        umask(077); /* what people typed is theirs */
        history(h, &ev, H_SAVE, file);
    }
    buf_done(&line);
    history_end(h);
    el_end(el);
    return CMD_OK;
}

static int run(const struct cmd *c, void *opts_, int argc, char **argv)
{
    const struct run *o = opts_;
    struct talk t = {.cmd = c, .o = o};
    struct sigaction sa = {.sa_handler = on_interrupt};
    struct model_run r = {0};
    struct buf prompt;
    struct err e;
    int rc, piped = !isatty(STDIN_FILENO), once = argc > 1 || piped;

    buf_init(&prompt, INPUT_MAX);
    for (int i = 1; i < argc; i++)
        buf_addf(&prompt, "%s%s", i > 1 ? " " : "", argv[i]);
    if (piped && argc > 1)
        buf_add_str(&prompt, "\n\n");
    rc = piped && once ? input_stdin(&prompt, &e) : 0;
    while (piped && prompt.len && prompt.data[prompt.len - 1] == '\n')
        prompt.data[--prompt.len] = 0;
    if (!rc && once && !prompt.len)
        rc = err_set(&e, ERR_ARG, "the prompt is empty");
    if (!rc)
        rc = model_open(&r, argv[0], &o->model, &e);
    if (rc)
        goto done;
    t.engine = r.engine;
    t.chat = engine_info(r.engine)->has_template && !o->raw;
    t.messages = json_array();
    sigaction(SIGINT, &sa, NULL);
    start_over(&t, o->system);
    rc = once ? run_once(&t, &prompt) : run_chat(&t);
    json_decref(t.messages);
    model_close(&r);
    buf_done(&prompt);
    return rc;
done:
    buf_done(&prompt);
    return cmd_fail(c, &e);
}

const struct cmd cmd_run = {
    .name = "run",
    .help = "Answer a prompt, or chat, in the terminal",
    .args = "MODEL [PROMPT...]",
    .about = "With a prompt, or with text on standard input, one answer goes to standard output.\n"
             "Without, a chat begins: line editing, history, ctrl-C stops an answer.",
    .opts = opts,
    .opts_size = sizeof(struct run),
    .n_args_min = 1,
    .n_args_max = -1,
    .complete = CMD_COMPLETE_MODEL,
    .run = run,
};
