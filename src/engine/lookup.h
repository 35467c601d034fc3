/* Draft tokens by lookup: find where the last tokens of the text stood before, and propose the
 * tokens that followed them there (prompt lookup, Saxena 2023; found by hash chains, as a byte
 * compressor finds matches). One index covers the prediction that came with the request, the prompt
 * and the answer so far. The engine verifies what is proposed.
 *
 * One thread. Memory: 8 bytes a token and a table of at most 4 bytes a token, freed by
 * lookup_reset. When memory runs out nothing more is proposed. */
#ifndef ENGINE_LOOKUP_H
#define ENGINE_LOOKUP_H

#include <stddef.h>
#include <stdint.h>

#define LOOKUP_MAX 15 /* tokens of a draft: with the token before them, a kernel's tile of 16 */

struct lookup {
    int32_t *token, *prev; /* [cap] the text; the latest earlier position with the same hash */
    int32_t *head;         /* [n_heads] the newest position with this hash of its last tokens */
    int32_t n, cap, n_heads;
    int32_t n_prediction; /* the first so many tokens are the prediction's */
    int32_t cursor;       /* next token of the prediction, while the answer follows it; -1: not */
    int failed;
};

/* Empty it and free its memory. A zeroed struct is empty. */
void lookup_reset(struct lookup *d);
/* Add the request's prediction; to be called before lookup_add. */
void lookup_predict(struct lookup *d, const int32_t *token, int32_t n);
/* Append tokens of the text. `answer`: they were generated, so the cursor in the prediction moves.
 */
void lookup_add(struct lookup *d, const int32_t *token, int32_t n, int answer);

struct lookup_found {
    int32_t match;          /* tokens of the end that matched; 0: nothing found */
    int32_t n;              /* tokens proposed, at most LOOKUP_MAX */
    int32_t from_predicted; /* the first so many of them come from the prediction */
    int32_t token[LOOKUP_MAX];
};
void lookup_find(const struct lookup *d, struct lookup_found *ret);

#endif
