#include "cmd/claims.h"

#include <stdlib.h>
#include <string.h>

static const char *const place_names[] = {[CLAIM_ENTRY] = "entry",
                                          [CLAIM_HEAD] = "head of size",
                                          [CLAIM_POWER] = "row of power",
                                          [CLAIM_POWER_HEAD] = "head of power of size"};

#define PLACE 9 /* bytes of a key: what it is, and where */

static void place_key(enum claim_kind kind, int64_t at, unsigned char ret[PLACE])
{
    ret[0] = (unsigned char)kind;
    memcpy(ret + 1, &at, sizeof at);
}

int claims_open(struct claims *c, struct err *e)
{
    int r = map_init(&c->places, 64);

    return r ? err_set(e, r, "out of memory") : 0;
}

void claims_close(struct claims *c)
{
    map_done(&c->places);
    free(c->all);
    *c = (struct claims){0};
}

int claims_find(const struct claims *c, enum claim_kind kind, int64_t at)
{
    unsigned char key[PLACE];
    uint32_t i;

    place_key(kind, at, key);
    return map_get(&c->places, key, sizeof key, &i) ? (int)i : -1;
}

static int make_room(struct claims *c, struct err *e)
{
    int cap = c->cap ? 2 * c->cap : 64;
    void *more;

    if (c->n < c->cap)
        return 0;
    if (c->n == CLAIMS_MAX)
        return err_set(e, ERR_LIMIT, "more than %d receipts and heads", CLAIMS_MAX);
    more = realloc(c->all, (size_t)cap * sizeof *c->all);
    if (!more)
        return err_set(e, ERR_NOMEM, "out of memory");
    c->all = more;
    c->cap = cap;
    return 0;
}

int claims_add(struct claims *c, const char *file, enum claim_kind kind, int64_t at,
               const unsigned char hash[TREE_HASH], struct err *e)
{
    int first = claims_find(c, kind, at), r = make_room(c, e);
    unsigned char key[PLACE];
    struct claim *one;

    if (r)
        return r;
    /* All of one place have one hash, so the first stands for them. */
    if (first >= 0 && memcmp(c->all[first].hash, hash, TREE_HASH) != 0)
        return err_set(e, ERR_FORMAT, "%s has another %s %lld: the log had two histories",
                       c->all[first].file, place_names[kind], (long long)at);
    one = &c->all[c->n];
    *one = (struct claim){.file = file, .kind = kind, .at = at, .next = -1};
    memcpy(one->hash, hash, TREE_HASH);
    if (first >= 0) {
        one->next = c->all[first].next;
        c->all[first].next = c->n;
    } else {
        place_key(kind, at, key);
        if (map_put(&c->places, key, sizeof key, (uint32_t)c->n))
            return err_set(e, ERR_NOMEM, "out of memory");
    }
    c->n++;
    return 0;
}

int claims_meet(struct claims *c, const char *file, enum claim_kind kind, int64_t at,
                const unsigned char hash[TREE_HASH], struct err *e)
{
    for (int i = claims_find(c, kind, at); i >= 0; i = c->all[i].next) {
        struct claim *one = &c->all[i];
        if (one->file != file && memcmp(one->hash, hash, TREE_HASH) != 0)
            return err_set(e, ERR_FORMAT,
                           "the %s %lld is not that of %s: the log was changed between",
                           place_names[kind], (long long)at, one->file);
        one->is_met = 1;
    }
    return 0;
}
