/* One iteration of the engine: plan a step (policy/batch decides), run it, sample, send events. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "engine/loop_int.h"

void seq_preempt(struct engine *e, struct engine_seq *q)
{
    struct event *ev =
        event_has_room(q->job) ? event_begin(e, q->job, EVENT_PREEMPTED, NULL, NULL) : NULL;

    if (ev) {
        ev->choice = q->choice;
        ev->n_generated = q->n_generated;
        event_end(e, q->job, ev);
    }
    kv_seq_close(e->kv, &q->kv);
    sched_preempt(&q->slot);
    q->n_done = 0;
    atomic_fetch_add_explicit(&e->preemptions, 1, memory_order_relaxed);
}

static int is_resting(const struct engine_seq *q)
{
    return q->job->sched.paused_us || !event_has_room(q->job);
}

/* Choose the sequence that must give up its pages: first one that does nothing in this step. */
static struct engine_seq *victim(struct loop *s)
{
    for (int32_t i = 0; i < s->n_seqs; i++) {
        if (seq_holds_pages(&s->seq[i]))
            s->seq[i].job->sched.rests = is_resting(&s->seq[i]);
    }
    return seq_of(sched_victim(&s->sched));
}

/* Get the pages that q needs in this step, preempting others if necessary; 0 when q itself was
 * preempted. */
static int make_room(struct engine *e, struct engine_seq *q)
{
    while (kv_seq_grow(e->kv, &q->kv, q->n_done + q->slot.take)) {
        struct engine_seq *v = victim(&e->loop);
        seq_preempt(e, v);
        if (v == q)
            return 0;
    }
    return 1;
}

static int is_echoing(const struct engine_seq *q)
{
    return q->slot.state == SEQ_PREFILL && q->job->ask->echo && !q->choice;
}

/* The sequence whose prompt is echoed now: the first of the highest tier. One at a time, because
 * its rows share one buffer. */
static const struct engine_seq *echo_now(const struct loop *s)
{
    const struct engine_seq *best = NULL;

    for (int32_t i = 0; i < s->n_seqs; i++) {
        const struct engine_seq *q = &s->seq[i];
        if (is_echoing(q) && !is_resting(q) && (!best || batch_before(&q->slot, &best->slot)))
            best = q;
    }
    return best;
}

static int32_t most_now(const struct engine *e, const struct engine_seq *q,
                        const struct engine_seq *echo)
{
    if (is_resting(q) || (is_echoing(q) && q != echo))
        return 0;
    if (q == echo) {
        uint32_t free_bytes = q->job->ring.cap / 2;
        int32_t rows = (int32_t)(free_bytes / event_bytes(q->job));
        return rows < MORE_ROWS ? rows : MORE_ROWS;
    }
    return e->info.chunk;
}

/* Add the tokens that are new to q's lookup index. */
static void index_text(struct engine_seq *q)
{
    const struct engine_job *j = q->job;
    int32_t n_prompt = j->ask->n_prompt;

    if (!q->n_indexed && j->ask->n_prediction)
        lookup_predict(&q->lookup, j->ask->prediction, j->ask->n_prediction);
    if (q->n_indexed < n_prompt) {
        lookup_add(&q->lookup, q->token + q->n_indexed, n_prompt - q->n_indexed, 0);
        q->n_indexed = n_prompt;
    }
    lookup_add(&q->lookup, q->token + q->n_indexed, q->n_token - q->n_indexed, 1);
    q->n_indexed = q->n_token;
}

/* Draft for sequences that decode, oldest first, where that is expected to pay: `sum` tokens are in
 * the step; returns how many are then. Pages for drafts are taken from nobody. */
static int32_t plan_drafts(struct engine *e, int n, int32_t sum)
{
    struct loop *s = &e->loop;
    int32_t rows = MORE_ROWS, room = e->info.chunk + e->info.batch_max - sum;
    double gain = sum;

    for (int k = 0; k < n && rows > 0 && room > 0; k++) {
        struct engine_seq *q = seq_of(s->plan[k]);
        int32_t most = q->job ? q->job->limit - q->n_generated - 1 : 0;
        struct lookup_found f;
        int32_t d;
        if (q->slot.state != SEQ_DECODE || q->slot.take != 1 || most <= 0)
            continue;
        index_text(q);
        lookup_find(&q->lookup, &f);
        most = f.n < most ? f.n : most;
        most = rows < most ? rows : most;
        most = room < most ? room : most;
        if (most >= e->info.chunk)
            most = e->info.chunk - 1;
        if (most <= 0)
            continue;
        d = e->draft_always ? most : draft_length(&s->cost, &q->trust, f.match, most, sum, &gain);
        if (!d || kv_seq_grow(e->kv, &q->kv, q->n_done + 1 + d))
            continue;
        memcpy(q->token + q->n_token, f.token, (size_t)d * sizeof *f.token);
        q->n_draft = d;
        q->n_draft_predicted = f.from_predicted < d ? f.from_predicted : d;
        q->draft_match = f.match;
        q->slot.take += d;
        sum += d;
        rows -= d;
        room -= d;
    }
    return sum;
}

/* Shorten what q takes to the runs of one phase that the step still has room for (*left). */
static void fit_runs(struct engine_seq *q, int32_t *left)
{
    int32_t end = q->n_done + q->slot.take, at = phase_run_end(q->answer, q->n_done, end);

    for (; at < end && *left; --*left)
        at = phase_run_end(q->answer, at, end);
    q->slot.take = at - q->n_done;
}

/* Decide who takes how many tokens; returns the sum. */
int32_t iteration_plan(struct engine *e)
{
    struct loop *s = &e->loop;
    struct batch_limits lim;
    const struct engine_seq *echo = echo_now(s);
    int32_t sum = 0, runs = MORE_RUNS;
    int n = 0;

    for (int32_t i = 0; i < s->n_seqs; i++) {
        struct engine_seq *q = &s->seq[i];
        q->slot.take = q->n_draft = 0;
        if (!seq_holds_pages(q))
            continue;
        q->slot.n_left = q->n_token - q->n_done;
        q->slot.most = most_now(e, q, echo);
        s->plan[n++] = &q->slot;
    }
    batch_limits_now(&s->sched, e->info.chunk, e->info.batch_max, &lim);
    batch_plan(&lim, s->plan, n);
    for (int k = 0; k < n; k++) { /* oldest first, so that the newest give way */
        struct engine_seq *q = seq_of(s->plan[k]);
        if (q->slot.take)
            fit_runs(q, &runs);
        if (q->slot.take && q->slot.state != SEQ_WAIT && !make_room(e, q))
            q->slot.take = 0;
    }
    s->step_has_prompt = s->step_has_answer = 0;
    for (int32_t i = 0; i < s->n_seqs; i++) {
        struct engine_seq *q = &s->seq[i];
        if (q->slot.state == SEQ_FREE || !q->slot.take)
            continue;
        sum += q->slot.take;
        s->step_has_prompt |= q->slot.state == SEQ_PREFILL;
        s->step_has_answer |= q->slot.state == SEQ_DECODE;
    }
    if (e->use_drafts && !s->step_has_prompt)
        sum = plan_drafts(e, n, sum);
    return sum;
}

static void sample_rows(void *arg, int w, int32_t begin, int32_t end)
{
    struct engine *e = arg;
    struct loop *s = &e->loop;

    for (int32_t i = begin; i < end; i++) {
        struct loop_row *r = &s->rows[i];
        struct engine_seq *q = r->seq;
        const struct sampling *p = &q->job->ask->sampling;
        int32_t n = q->n_token + r->ahead;
        struct sample_in in = {.p = p,
                               .choice = (uint64_t)q->choice,
                               .position = (uint64_t)n,
                               .history = q->token,
                               .n_prompt = q->job->ask->n_prompt,
                               .n_history = n,
                               .banned = s->banned};
        if (q->n_generated + r->ahead < p->min_tokens)
            in.n_banned = s->n_banned;
        r->err =
            sample_token(e->kern, step_logits(e->step, q->out + q->n_out - q->n_rows + r->ahead),
                         &in, &s->scratch[w], &r->out);
    }
}

/* Logits of which positions, and draws from which of them. */
static void lay_out_rows(struct loop *s, struct engine_seq *q, struct step_batch *b)
{
    int echo = q->job->ask->echo && !q->choice && q->n_done < q->job->ask->n_prompt;
    int last = q->n_done + q->slot.take - q->n_draft == q->n_token;
    int32_t tok[2] = {q->tok[0], q->tok[1]};

    q->prompt_err = 0;
    q->out = b->n_out;
    q->n_out = echo ? q->slot.take : last + q->n_draft;
    for (int32_t k = 0; k < q->slot.take; k++) {
        int32_t t = tok[phase_at(q->answer, q->n_done + k)]++;
        if (k >= q->slot.take - q->n_out)
            s->out[b->n_out++] = t;
    }
    q->row = s->n_rows;
    q->n_rows = last && q->job->limit > 0 ? 1 + q->n_draft : 0;
    for (int32_t k = 0; k < q->n_rows; k++)
        s->rows[s->n_rows++] = (struct loop_row){.seq = q, .ahead = k};
}

/* The tokens that q takes of one phase, run by run. */
static void lay_out_runs(struct loop *s, struct engine_seq *q, int answer, struct step_batch *b)
{
    int32_t end = q->n_done + q->slot.take, to;

    q->tok[answer] = b->n_tok;
    for (int32_t at = q->n_done; at < end; at = to) {
        int32_t n = (to = phase_run_end(q->answer, at, end)) - at;
        if (phase_at(q->answer, at) != answer)
            continue;
        s->seg[b->n_segs++] = (struct step_seg){
            .kv = &q->kv, .pos = at, .tok = b->n_tok, .n = n, .linked = n < q->slot.take};
        memcpy(s->tokens + b->n_tok, q->token + at, (size_t)n * sizeof *s->tokens);
        b->n_tok += n;
    }
}

/* Split what the step used over the jobs of its sequences. */
static void pay_energy(struct engine *e)
{
    struct loop *s = &e->loop;
    const struct energy_reads reads = {e->info.bytes_per_token, e->info.kv_token_bytes};
    int is_late, n = 0;
    int64_t uj;

    if (!e->meter)
        return;
    uj = energy_meter_take(e->meter, &is_late);
    for (int32_t i = 0; i < s->n_seqs; i++) {
        const struct engine_seq *q = &s->seq[i];
        if (q->slot.state != SEQ_FREE && q->slot.take)
            s->share[n++].work =
                energy_work(q->slot.state == SEQ_PREFILL ? &s->prompt_cost : &s->cost, &reads,
                            q->n_done, q->slot.take);
    }
    energy_split(uj, s->share, n);
    n = 0;
    for (int32_t i = 0; i < s->n_seqs; i++) {
        struct engine_seq *q = &s->seq[i];
        if (q->slot.state == SEQ_FREE || !q->slot.take)
            continue;
        q->job->energy_uj += s->share[n++].uj;
        q->job->energy_is_late |= is_late;
    }
    atomic_fetch_add_explicit(&e->energy_uj, (uint64_t)uj, memory_order_relaxed);
}

void iteration_run(struct engine *e)
{
    struct loop *s = &e->loop;
    struct step_batch b = {.token = s->tokens, .seg = s->seg, .out = s->out};
    uint64_t bytes, prompt = 0;
    int32_t n_seqs = 0;

    s->n_rows = 0;
    s->step_began_us = clock_now_us();
    for (int answer = 1; answer >= 0; answer--) {
        for (int32_t i = 0; i < s->n_seqs; i++) {
            if (s->seq[i].slot.state != SEQ_FREE && s->seq[i].slot.take)
                lay_out_runs(s, &s->seq[i], answer, &b);
        }
        if (answer)
            b.n_answer = b.n_tok;
    }
    for (int32_t i = 0; i < s->n_seqs; i++) {
        struct engine_seq *q = &s->seq[i];
        if (q->slot.state == SEQ_FREE || !q->slot.take)
            continue;
        lay_out_rows(s, q, &b);
        n_seqs++;
        if (q->slot.state == SEQ_PREFILL)
            prompt += (uint64_t)q->slot.take;
    }
    team_lock(e->team);
    bytes = step_run(e->step, &b);
    team_unlock(e->team);
    pay_energy(e);
    atomic_fetch_add_explicit(&e->weight_bytes_read, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&e->prompt_tokens, prompt, memory_order_relaxed);
    atomic_fetch_add_explicit(&e->n_steps, 1, memory_order_relaxed);
    atomic_store_explicit(&e->last_tokens, b.n_tok, memory_order_relaxed);
    atomic_store_explicit(&e->last_seqs, n_seqs, memory_order_relaxed);
}

/* Log-probabilities of prompt tokens: row r of the step follows position n_done + r. */
static int send_prompt(struct engine *e, struct engine_seq *q)
{
    struct engine_job *j = q->job;

    for (int32_t r = q->n_done ? 0 : -1; r < q->n_out; r++) {
        int32_t at = q->n_done + r + 1; /* the token spoken of */
        struct sample_out o = {.token = at < j->ask->n_prompt ? q->token[at] : -1, .logprob = NAN};
        struct event *ev;
        if (at >= j->ask->n_prompt)
            break;
        if (at < q->n_told)
            continue;
        if (r >= 0 && sample_logprobs(e->kern, step_logits(e->step, q->out + r), e->info.n_vocab,
                                      o.token, j->ask->sampling.n_top, &o))
            return ERR_NUMERIC;
        ev = event_begin(e, j, EVENT_PROMPT, &o, NULL);
        if (!ev)
            return ERR_SLOW_READER;
        event_end(e, j, ev);
        q->n_told = at + 1;
    }
    return 0;
}

/* Count new progress of the job; tokens computed again after a preemption do not count. */
static void note_progress(struct engine *e, struct engine_job *j)
{
    j->sched.served_step = atomic_load_explicit(&e->n_steps, memory_order_relaxed);
}

/* Is token t one that the request stops at? It is by its id; a control token also by its text,
 * because a stop string that names it cannot be found in the answer, where its text is not shown.
 */
static int is_stop_token(const struct engine *e, const struct engine_seq *q, int32_t t)
{
    const struct sampling *p = &q->job->ask->sampling;
    const char *text;
    size_t n;

    for (int32_t i = 0; i < p->n_stop_token; i++) {
        if (p->stop_token[i] == t)
            return 1;
    }
    if (!vocab_is_control(e->vocab, t))
        return 0;
    text = vocab_piece(e->vocab, t, &n);
    for (int32_t i = 0; i < p->n_stop; i++) {
        if (p->stop[i].n == n && !memcmp(p->stop[i].s, text, n))
            return 1;
    }
    return 0;
}

int seq_text(struct engine *e, struct engine_seq *q, int32_t t, struct buf *text)
{
    const struct sampling *p = &q->job->ask->sampling;
    struct buf *piece = &e->loop.piece;
    int hit;

    buf_clear(text);
    buf_clear(piece);
    hit = detok_push(&q->detok, t, 0, piece);
    return hit ? hit
               : stop_push(&q->stop, p, q->n_generated >= p->min_tokens, piece->data, piece->len,
                           q->detok.n_held > 0, text);
}

/* Take a drawn token: send its text to the reader, and end the choice where the token ends it. */
static void take_token(struct engine *e, struct engine_seq *q, const struct sample_out *drawn)
{
    struct engine_job *j = q->job;
    const struct sampling *p = &j->ask->sampling;
    struct buf *text = &e->loop.text;
    int32_t t = drawn->token;
    int armed, hit;
    struct event *ev;

    q->token[q->n_token++] = t;
    q->n_generated++;
    j->n_generated++;
    sched_charge(&j->sched, 1);
    note_progress(e, j);
    atomic_fetch_add_explicit(&e->generated_tokens, 1, memory_order_relaxed);
    armed = q->n_generated >= p->min_tokens;
    if (armed && ((vocab_is_eog(e->vocab, t) && !p->ignore_eos) || is_stop_token(e, q, t))) {
        seq_finish(e, q, FINISH_STOP, 0);
        return;
    }
    hit = seq_text(e, q, t, text);
    ev = hit < 0 ? NULL : event_begin(e, j, EVENT_TEXT, drawn, text);
    if (!ev) {
        job_fail(e, j, hit < 0 ? hit : ERR_SLOW_READER);
        return;
    }
    ev->choice = q->choice;
    ev->n_generated = q->n_generated;
    ev->n_unshown = q->stop.n_tokens;
    ev->n_drafted = j->n_drafted;
    ev->n_draft_right = j->n_draft_right;
    event_end(e, j, ev);
    if (hit)
        seq_finish(e, q, FINISH_STOP, 1);
    else if (q->n_generated >= j->limit)
        seq_finish(e, q, FINISH_LENGTH, 0);
}

static void after_prefill(struct engine *e, struct engine_seq *q)
{
    struct engine_job *j = q->job;
    struct event *ev;

    if (!j->sched.is_shared && !q->choice) {
        if (q->n_done >= j->ask->n_prompt) {
            j->sched.is_shared = 1;
            j->first_us = clock_now_us();
        } else if ((ev = event_begin(e, j, EVENT_PREFILL, NULL, NULL))) {
            ev->n_done = q->n_done;
            event_end(e, j, ev);
        }
    }
}

/* How many of q's draws are valid: each must follow draft tokens that equal what was drawn. */
static int32_t n_standing(const struct engine *e, const struct engine_seq *q)
{
    const struct loop_row *r = e->loop.rows + q->row;
    int32_t n = 0;

    while (n < q->n_rows && !r[n].err) {
        n++;
        if (n > q->n_draft || r[n - 1].out.token != q->token[q->n_token + n - 1])
            break;
    }
    return n;
}

/* Count a draft of which `right` tokens were accepted, `told` of them before the answer ended. */
static void count_draft(struct engine *e, struct engine_seq *q, struct engine_job *j, int32_t right,
                        int32_t told)
{
    int32_t predicted = told < q->n_draft_predicted ? told : q->n_draft_predicted;
    int32_t wrong = q->n_draft_predicted - predicted;
    /* A token of it that is drafted again is not billed again. */
    int64_t wrong_max = (int64_t)j->ask->n_prediction * j->ask->n_choices;

    draft_trust_see(&q->trust, q->draft_match, q->n_draft, right);
    draft_trust_see(&e->loop.trust[j->ask->sampling.temperature > 0], q->draft_match, q->n_draft,
                    right);
    j->n_drafted += q->n_draft;
    j->n_draft_right += told;
    j->n_predicted_right += predicted;
    if (wrong > wrong_max - j->n_predicted_wrong)
        wrong = (int32_t)(wrong_max - j->n_predicted_wrong);
    j->n_predicted_wrong += wrong;
    atomic_fetch_add_explicit(&e->draft_tokens, (uint64_t)q->n_draft, memory_order_relaxed);
    atomic_fetch_add_explicit(&e->draft_accepted, (uint64_t)told, memory_order_relaxed);
}

/* Note the prompt's tokens, computed and cached, in the job: they are billed however it ends. */
static void note_prompt_done(struct engine *e, struct engine_seq *q)
{
    struct engine_job *j = q->job;
    int32_t n = q->n_done < j->ask->n_prompt ? q->n_done : j->ask->n_prompt;

    if (n <= j->n_prompt_done)
        return;
    sched_charge(&j->sched, n - j->n_prompt_done);
    j->n_prompt_done = n;
    note_progress(e, j);
}

static void settle_seq(struct engine *e, struct engine_seq *q)
{
    const struct loop_row *row = e->loop.rows + q->row;
    struct engine_job *j = q->job;
    int32_t n = n_standing(e, q), kept = n > 0 ? n - 1 : 0, told = 0;

    q->n_done += q->slot.take - q->n_draft + kept;
    kv_seq_commit(e->kv, &q->kv, q->token, q->answer, q->n_done);
    note_prompt_done(e, q);
    if (q->prompt_err || (q->n_rows && !n)) {
        job_fail(e, j, q->prompt_err ? q->prompt_err : row[0].err);
        return;
    }
    after_prefill(e, q);
    if (q->n_done >= q->n_token)
        q->slot.state = SEQ_DECODE;
    while (told < n && q->slot.state != SEQ_FREE)
        take_token(e, q, &row[told++].out);
    if (q->n_draft)
        count_draft(e, q, j, kept, told < kept ? told : kept);
    if (!q->n_rows && q->n_done == q->n_token)
        seq_finish(e, q, FINISH_LENGTH, 0); /* max_tokens 0 */
}

/* Positions are computed: share pages, send events, draw tokens, end what has ended. */
void iteration_settle(struct engine *e)
{
    struct loop *s = &e->loop;

    for (int32_t i = 0; i < s->n_seqs; i++) { /* before sampling changes any row */
        struct engine_seq *q = &s->seq[i];
        if (q->slot.state != SEQ_FREE && q->slot.take && q->n_out && q->job->ask->echo &&
            !q->choice && q->n_done < q->job->ask->n_prompt)
            q->prompt_err = send_prompt(e, q);
    }
    team_lock(e->team);
    team_run(e->team, s->n_rows, 1, sample_rows, e);
    team_unlock(e->team);
    for (int32_t i = 0; i < s->n_seqs; i++) {
        struct engine_seq *q = &s->seq[i];
        if (q->slot.state == SEQ_FREE || !q->slot.take)
            continue;
        settle_seq(e, q);
    }
    if (!s->step_has_prompt)
        draft_cost_see(&s->cost, atomic_load_explicit(&e->last_tokens, memory_order_relaxed),
                       (double)(clock_now_us() - s->step_began_us));
    else if (!s->step_has_answer)
        draft_cost_see(&s->prompt_cost, atomic_load_explicit(&e->last_tokens, memory_order_relaxed),
                       (double)(clock_now_us() - s->step_began_us));
}
