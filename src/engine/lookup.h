/* Draft tokens by lookup: what followed the last time the text went as it goes now (prompt lookup,
 * Saxena 2023; the same search as a byte compressor's hash chains). One index over the prediction
 * that came with the request, the prompt and the answer so far. It proposes; the engine verifies.
 *
 * One thread. Memory: 8 bytes a token and a table of at most 4 bytes a token, freed by
 * lookup_reset. When memory runs out it proposes nothing more. */
#ifndef ENGINE_LOOKUP_H
#define ENGINE_LOOKUP_H

#include <stddef.h>
#include <stdint.h>

#define LOOKUP_MAX 15 /* tokens of a draft: with the one that is certain, a tile of 16 */

struct lookup {
    int32_t *token, *prev; /* [cap] the text; the position before with the same last tokens */
    int32_t *head;         /* [n_heads] the newest position of a hash */
    int32_t n, cap, n_heads;
    int32_t n_prediction; /* first tokens, of the prediction */
    int32_t cursor;       /* in the prediction: what it says comes next; -1: lost */
    int failed;
};

/* Empty, also of memory. A zeroed struct is empty. */
void lookup_reset(struct lookup *d);
/* The request's prediction: before any other text. */
void lookup_predict(struct lookup *d, const int32_t *token, int32_t n);
/* Text goes on. `answer`: it was generated, so it moves through the prediction. */
void lookup_add(struct lookup *d, const int32_t *token, int32_t n, int answer);

struct lookup_found {
    int32_t match;          /* tokens of the end that matched; 0: nothing found */
    int32_t n;              /* tokens proposed, at most LOOKUP_MAX */
    int32_t from_predicted; /* of these: the first so many stand in the prediction */
    int32_t token[LOOKUP_MAX];
};
void lookup_find(const struct lookup *d, struct lookup_found *ret);

#endif
