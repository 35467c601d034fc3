#include "serve/slurm_text.h"

#include <string.h>

#define SHOWN 60 /* of a line, in a sentence */

/* A piece of text. */
struct span {
    const char *at;
    size_t n;
};

static int is_word(struct span s, const char *word)
{
    return s.n == strlen(word) && !memcmp(s.at, word, s.n);
}

/* Up to a character, or all of it; *io begins behind it then. */
static struct span cut(struct span *io, char until)
{
    const char *end = memchr(io->at, until, io->n);
    struct span s = {io->at, end ? (size_t)(end - io->at) : io->n};
    size_t used = s.n + (end != NULL);

    io->at += used;
    io->n -= used;
    return s;
}

/* The value behind " KEY=" up to the next space; 0: the line has none. */
static int field(struct span line, const char *key, struct span *ret)
{
    size_t n_key = strlen(key);

    for (size_t i = 0; i + n_key <= line.n; i++) {
        if ((i == 0 || line.at[i - 1] == ' ') && !memcmp(line.at + i, key, n_key)) {
            struct span rest = {line.at + i + n_key, line.n - i - n_key};
            *ret = cut(&rest, ' ');
            return 1;
        }
    }
    return 0;
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A number of at most 15 digits; -1: it is none. */
static int64_t number(struct span s)
{
    int64_t n = 0;

    if (!s.n || s.n > 15)
        return -1;
    for (size_t i = 0; i < s.n; i++) {
        if (!is_digit(s.at[i]))
            return -1;
        n = n * 10 + (s.at[i] - '0');
    }
    return n;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

/* The words of a state: IDLE+DRAIN, ALLOCATED, DOWN*+NOT_RESPONDING. */
struct said {
    int is_drained, is_busy, is_idle, is_ill;
};

static int read_state(struct span s, struct said *ret)
{
    static const char *const busy[] = {"ALLOCATED", "MIXED", "COMPLETING"};
    static const char *const fine[] = {"IDLE",      "DRAIN", "RESERVED",  "PLANNED",
                                       "ALLOCATED", "MIXED", "COMPLETING"};

    *ret = (struct said){0};
    if (!s.n)
        return -1;
    while (s.n) {
        struct span word = cut(&s, '+');
        int is_fine = 0;
        size_t n = 0;
        while (n < word.n && (word.at[n] == '_' || (word.at[n] >= 'A' && word.at[n] <= 'Z')))
            n++;
        if (!n)
            return -1;
        ret->is_ill |= n != word.n; /* a mark behind it: it does not respond, or has no power */
        word.n = n;
        ret->is_drained |= is_word(word, "DRAIN");
        ret->is_idle |= is_word(word, "IDLE");
        for (size_t i = 0; i < sizeof busy / sizeof *busy; i++)
            ret->is_busy |= is_word(word, busy[i]);
        for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
            is_fine |= is_word(word, fine[i]);
        ret->is_ill |= !is_fine;
    }
    return 0;
}

static int is_listed(struct span list, struct span word)
{
    while (list.n) {
        struct span one = cut(&list, ',');
        if (one.n == word.n && !memcmp(one.at, word.at, one.n))
            return 1;
    }
    return 0;
}

static int read_node(struct span line, const char *partition, struct slurm_node *ret)
{
    struct span state, used, list = {"", 0}, reason = {"", 0};
    struct said said;
    int64_t n_used;

    if (!field(line, "State=", &state) || read_state(state, &said) ||
        !field(line, "CPUAlloc=", &used))
        return -1;
    n_used = number(used);
    if (n_used < 0)
        return -1;
    field(line, "Partitions=", &list);
    field(line, "Reason=", &reason);
    said.is_busy |= n_used > 0;
    *ret = (struct slurm_node){.state = LEND_LENT};
    if (!said.is_drained)
        return 0;
    ret->is_ours =
        reason.n >= strlen(SLURM_REASON) && !memcmp(reason.at, SLURM_REASON, strlen(SLURM_REASON));
    if (said.is_busy)
        ret->state = LEND_RETURNING;
    else if (ret->is_ours && said.is_idle && !said.is_ill &&
             is_listed(list, (struct span){partition, strlen(partition)}))
        ret->state = LEND_SERVING;
    else
        ret->state = LEND_WITHHELD;
    return 0;
}

static int index_of(struct span name, const char *const *names, int n)
{
    for (int i = 0; i < n; i++) {
        if (is_word(name, names[i]))
            return i;
    }
    return -1;
}

int slurm_nodes_read(const char *text, size_t n, const char *const *names, int n_names,
                     const char *partition, struct slurm_node *ret, struct err *e)
{
    struct span rest = {text, n};
    uint64_t found = 0;

    if (memchr(text, 0, n))
        return err_set(e, ERR_FORMAT, "there is a NUL in what it says");
    while (rest.n) {
        struct span line = cut(&rest, '\n'), name;
        int i;
        if (!line.n)
            continue;
        if (!field(line, "NodeName=", &name))
            return err_set(e, ERR_FORMAT, "it does not speak of nodes: %.*s",
                           (int)(line.n < SHOWN ? line.n : SHOWN), line.at);
        i = index_of(name, names, n_names);
        if (i < 0 || found >> i & 1)
            return err_set(e, ERR_FORMAT, "it speaks of a node that was not asked for: %.*s",
                           (int)(name.n < SHOWN ? name.n : SHOWN), name.at);
        if (read_node(line, partition, &ret[i]))
            return err_set(e, ERR_FORMAT, "what it says of node %s is not understood", names[i]);
        found |= UINT64_C(1) << i;
    }
    for (int i = 0; i < n_names; i++) {
        if (!(found >> i & 1))
            return err_set(e, ERR_NOTFOUND, "it says nothing of node %s", names[i]);
    }
    return 0;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

int slurm_jobs_read(const char *text, size_t n, int64_t ret[SLURM_JOBS_MAX], struct err *e)
{
    static const char states[] = SLURM_JOB_STATES;
    const struct span occupying = {states, sizeof states - 1};
    struct span rest = {text, n};
    int n_jobs = 0;

    while (rest.n && n_jobs < SLURM_JOBS_MAX) {
        struct span line = cut(&rest, '\n'), state = line;
        struct span id = cut(&state, '|');
        int64_t job = number(id);
        if (!line.n)
            continue;
        if (job <= 0 || !state.n || state.at[0] < 'A' || state.at[0] > 'Z')
            return err_set(e, ERR_FORMAT, "a line of its jobs is not understood");
        if (is_listed(occupying, state))
            ret[n_jobs++] = job;
    }
    return n_jobs;
}
