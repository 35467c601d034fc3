/* A hostile model, loaded and run. Input: a byte of choices, then the file up to its tensors' data,
 * behind which there are weights of the kind chosen, enough for a small model. Opening says no with
 * a sentence; or texts become tokens, the template runs, and jobs end, with tokens of the
 * vocabulary and finite log-probabilities or an error that a client can be told. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/rand.h"
#include "base/team.h"
#include "engine/engine.h"
#include "unit/engine/jobs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { DATA = 1 << 20, N_PROMPT = 21, N_NEW = 5, N_JOBS = 3 };

static struct team *team;
static uint8_t weights[3][DATA]; /* nothing, small numbers, any bits */

static void begin(void)
{
    CHECK(!team_open(&team, 1, NULL));
    memset(weights[1], 0x2c, DATA); /* 0.07 as f16, an integer as part of a block */
    for (uint32_t i = 0; i < DATA / 16; i++)
        rand_philox(1, i, 0, (uint32_t *)(void *)(weights[2] + 16ul * i));
}

static void check_texts(const struct engine *e)
{
    static const char text[] = "A text <|im_start|> with \xc3\xa9 \xff and e\xcc\x81\xcc\xa7.";
    json_t *messages =
        json_pack("[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}]", "role", "system", "content", "Be kind.",
                  "role", "user", "content", text, "role", "assistant", "content", "Yes");
    struct chat chat = {.messages = messages};
    struct tokens t;
    struct buf b;
    struct err err;

    buf_init(&b, 1 << 24);
    for (unsigned flags = 0; flags < 4; flags++) {
        if (engine_tokenize(e, text, sizeof text - 1, flags, 1000, NULL, &t, &err))
            continue;
        CHECK(!engine_detokenize(e, t.id, t.n, 1, &b, &err));
        tokens_done(&t);
    }
    for (chat.continue_final = 0; chat.continue_final < 2; chat.continue_final++) {
        buf_clear(&b);
        if (!engine_render(e, &chat, &b, &t, &err))
            tokens_done(&t);
        else
            CHECK(err.code < 0);
    }
    buf_done(&b);
    json_decref(messages);
}

static void check_answer(const struct jobs_answer *a, int32_t n_vocab)
{
    CHECK(a->err == 0 || a->err == ERR_NUMERIC || a->err == ERR_CONTEXT || a->err == ERR_ARG ||
          a->err == ERR_LIMIT || a->err == ERR_NOMEM);
    for (int i = 0; i < a->n_tokens; i++) {
        CHECK(a->token[i] < n_vocab);
        CHECK(isfinite(a->logprob[i]));
    }
}

static void check_jobs(struct engine *e)
{
    static struct jobs_answer answers[N_JOBS * JOB_CHOICES_MAX];
    int32_t prompt[N_PROMPT], n_vocab = engine_info(e)->n_vocab;
    struct jobs_spec spec[N_JOBS] = {0};

    for (int i = 0; i < N_PROMPT; i++)
        prompt[i] = i % 7 * 37 % n_vocab;
    for (int i = 0; i < N_JOBS; i++) {
        spec[i].prompt = prompt;
        spec[i].n_prompt = i ? N_PROMPT : 2;
        spec[i].sampling = i == 1 ? jobs_seeded(N_NEW, 7) : jobs_greedy(N_NEW);
        spec[i].n_choices = i == 1 ? 2 : 1;
        spec[i].echo = i == 2;
    }
    jobs_run(e, spec, N_JOBS, answers, JOB_CHOICES_MAX);
    for (int i = 0; i < N_JOBS * JOB_CHOICES_MAX; i++)
        check_answer(&answers[i], n_vocab);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    unsigned choice = n ? data[0] : 0;
    char path[64];
    struct engine_config c = {.path = path,
                              .cls = (enum engine_class)(ENGINE_Q8 + choice / 4 % 3),
                              .kv_bytes_max = 2 << 20,
                              .context_max = 64,
                              .batch_max = 4,
                              .chunk = 16,
                              .no_speculation = choice >> 6 & 1,
                              .no_prefix_cache = choice >> 7};
    struct engine *e = NULL;
    struct err err = {0};
    int fd = memfd_create("model", MFD_CLOEXEC);

    if (!team)
        begin();
    CHECK(fd >= 0);
    if (n > 1)
        CHECK(write(fd, data + 1, n - 1) == (ssize_t)(n - 1));
    CHECK(write(fd, weights[choice % 3], DATA) == DATA);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (engine_open(&e, &c, team, NULL, NULL, &err)) {
        CHECK(err.code < 0 && *err.text);
    } else {
        check_texts(e);
        check_jobs(e);
        engine_close(e);
    }
    close(fd);
    return 0;
}
