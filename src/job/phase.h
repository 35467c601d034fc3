/* The phase of a token: of an answer, or of a prompt. A bit each, 32 in a word: bit i % 32 of word
 * i / 32 is token i's, 1 in answers.
 *
 * Tokens that the model generates are of an answer. So are, in a later prompt of the conversation,
 * the tokens of the assistant's messages: the prompt's form tells the phases before anything is
 * computed. The phase decides how class bf16 computes a token. In the other classes nothing depends
 * on it, and all bits are 0. */
#ifndef JOB_PHASE_H
#define JOB_PHASE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline size_t phase_words(size_t n)
{
    return (n + 31) / 32;
}

/* `answer` may be NULL here: no answers. */
static inline int phase_at(const uint32_t *answer, int32_t i)
{
    return answer ? answer[i / 32] >> (i % 32) & 1 : 0;
}

static inline void phase_set(uint32_t *answer, int32_t i)
{
    answer[i / 32] |= (uint32_t)1 << (i % 32);
}

/* Where the run of one phase that begins at `from` ends, at most `to`. */
static inline int32_t phase_run_end(const uint32_t *answer, int32_t from, int32_t to)
{
    int32_t i = from + 1;
    while (i < to && phase_at(answer, i) == phase_at(answer, from))
        i++;
    return i < to ? i : to;
}

/* A sequence of at most `cap` tokens: the phases of its prompt (or NULL), then an answer. */
static inline void phase_begin(uint32_t *answer, size_t cap, const uint32_t *prompt,
                               int32_t n_prompt)
{
    size_t whole = (size_t)n_prompt / 32;
    uint32_t rest = ((uint32_t)1 << (n_prompt % 32)) - 1; /* of the word that has both */

    memset(answer, 0xff, phase_words(cap) * sizeof *answer);
    if (prompt)
        memcpy(answer, prompt, whole * sizeof *answer);
    else
        memset(answer, 0, whole * sizeof *answer);
    if (rest)
        answer[whole] = ~rest | (prompt ? prompt[whole] & rest : 0);
}

#endif
