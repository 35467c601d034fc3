/* Options of one command as a table: parsed, checked against their bounds, and the source of
 * --help, shell completion and the manual's checks.
 *
 * Accepted: --name VALUE, --name=VALUE, --name; -n VALUE, -nVALUE, -abc; `--` ends options;
 * options and positionals may be mixed. No abbreviations: a wrong name gets the nearest right one.
 * Pure functions except opt_help, which prints. */
#ifndef CMD_OPT_H
#define CMD_OPT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum opt_kind {
    OPT_KIND_END,
    OPT_KIND_FLAG,   /* int: 1 when given */
    OPT_KIND_INT,    /* int64_t, within min..max */
    OPT_KIND_REAL,   /* double, within min..max */
    OPT_KIND_SIZE,   /* uint64_t bytes: 4096, 512K, 512M, 2G (powers of 1024) */
    OPT_KIND_STR,    /* const char * into argv */
    OPT_KIND_FILE,   /* the same; completes file names */
    OPT_KIND_CHOICE, /* int: 1 + index of the word in `arg` ("f32|q8"); 0 when not given */
    OPT_KIND_STRS    /* struct opt_strs: may be given OPT_STRS_MAX times */
};

#define OPT_STRS_MAX 16

struct opt_strs {
    int n;
    const char *v[OPT_STRS_MAX];
};

struct opt {
    enum opt_kind kind;
    char letter;      /* short name, or 0 */
    const char *name; /* long name without dashes */
    const char *arg;  /* value's name in help ("N"), or the words of a choice */
    const char *def;  /* default as one would type it, or NULL: the field stays zero. A word for a
                       * number ("model"): may be typed, and is told by opt_int_is_word */
    double min, max;  /* numbers, both reached; both 0: any; 0x1p63: as large as there are */
    size_t offset;    /* of the field in the command's struct */
    const char *help; /* one line, no full stop */
};

#define OPT_FLAG(letter, name, s, field, help)                                                     \
    {                                                                                              \
        OPT_KIND_FLAG, letter, name, NULL, NULL, 0, 0, offsetof(struct s, field), help             \
    }
#define OPT_INT(letter, name, arg, def, min, max, s, field, help)                                  \
    {                                                                                              \
        OPT_KIND_INT, letter, name, arg, def, (double)(min), (double)(max),                        \
            offsetof(struct s, field), help                                                        \
    }
#define OPT_REAL(letter, name, arg, def, min, max, s, field, help)                                 \
    {                                                                                              \
        OPT_KIND_REAL, letter, name, arg, def, min, max, offsetof(struct s, field), help           \
    }
#define OPT_SIZE(letter, name, def, s, field, help)                                                \
    {                                                                                              \
        OPT_KIND_SIZE, letter, name, "BYTES", def, 0, 0, offsetof(struct s, field), help           \
    }
#define OPT_STR(letter, name, arg, def, s, field, help)                                            \
    {                                                                                              \
        OPT_KIND_STR, letter, name, arg, def, 0, 0, offsetof(struct s, field), help                \
    }
#define OPT_FILE(letter, name, def, s, field, help)                                                \
    {                                                                                              \
        OPT_KIND_FILE, letter, name, "FILE", def, 0, 0, offsetof(struct s, field), help            \
    }
#define OPT_CHOICE(letter, name, words, def, s, field, help)                                       \
    {                                                                                              \
        OPT_KIND_CHOICE, letter, name, words, def, 0, 0, offsetof(struct s, field), help           \
    }
#define OPT_STRS(letter, name, arg, s, field, help)                                                \
    {                                                                                              \
        OPT_KIND_STRS, letter, name, arg, NULL, 0, 0, offsetof(struct s, field), help              \
    }
#define OPT_END                                                                                    \
    {                                                                                              \
        OPT_KIND_END, 0, NULL, NULL, NULL, 0, 0, 0, NULL                                           \
    }

/* Fill `out` (zeroed by the caller) from the defaults and argv[1..argc), and move the positionals
 * to argv[0..*ret_n). `table` may be NULL. --help and -h set *ret_help and end the parse. 0 or
 * ERR_ARG with a sentence that names the option. */
int opt_parse(const struct opt *table, void *out, int argc, char **argv, int *ret_n, int *ret_help,
              struct err *e);

/* Is this field's value, of a number with a word as its default, that word? */
int opt_int_is_word(int64_t v);
int opt_real_is_word(double v);

/* The option lines of --help, with --help itself last. */
void opt_help(const struct opt *table, FILE *f);

/* "128,512" -> numbers within min..max; *ret_n of them, at most cap. 0 or ERR_ARG; `what` names the
 * option in the sentence. */
int opt_int_list(const char *text, const char *what, int64_t min, int64_t max, int64_t *out,
                 int cap, int *ret_n, struct err *e);

/* Edits (insert, drop, change, swap) that turn a into b, at most 64 characters each. */
int opt_distance(const char *a, const char *b);

#endif
