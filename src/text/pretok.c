#include "text/pretok.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define STEPS_MAX 6

/* Unicode's White_Space, spelled out: PCRE2's \s has U+180E besides, which the references' \s has
 * not. For use inside brackets. */
#define WS                                                                                         \
    "\\x09-\\x0d\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"        \
    "\\x{205f}\\x{3000}"
#define S  "[" WS "]"
#define NS "[^" WS "]"

/* The last alternatives of most patterns: line ends with blanks before them; blanks before a word,
 * without the last one; other blanks. */
#define BLANKS      S "*[\\r\\n]+|" S "+(?!" NS ")|" S "+"
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define UPPER       "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER       "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
#define LEAD        "[^\\r\\n\\p{L}\\p{N}]?"

static const char gpt2[] =
    "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^" WS "\\p{L}\\p{N}]+|" S "+(?!" NS ")|" S "+";
static const char llama3[] =
    CONTRACTION "|" LEAD "\\p{L}+|\\p{N}{1,3}| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n]*|" BLANKS;
static const char qwen2[] =
    CONTRACTION "|" LEAD "\\p{L}+|\\p{N}| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n]*|" BLANKS;
static const char qwen35[] =
    CONTRACTION "|" LEAD "[\\p{L}\\p{M}]+|\\p{N}| ?[^" WS "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" BLANKS;
static const char o200k[] =
    LEAD "[" UPPER "]*[" LOWER "]+" CONTRACTION "?|" LEAD "[" UPPER "]+[" LOWER "]*" CONTRACTION
         "?|\\p{N}{1,3}| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n/]*|" BLANKS;
static const char tekken[] = LEAD "[" UPPER "]*[" LOWER "]+|" LEAD "[" UPPER "]+[" LOWER
                                  "]*|\\p{N}| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n/]*|" BLANKS;
static const char digit[] = "\\p{N}";
static const char digits[] = "\\p{N}+";
static const char digits3[] = "\\p{N}{1,3}";
static const char line_end[] = "[\\r\\n]";
static const char han_kana[] = "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+";
static const char deepseek3[] =
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?"
    "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" BLANKS;
/* Letters with case, frozen at the Unicode version of that model's tokenizer. */
static const char deepseek_cased[] =
    S "?[A-Za-z"
      "\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}"
      "\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}"
      "\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}"
      "\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}"
      "\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}"
      "\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}"
      "\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}"
      "\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}"
      "\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}"
      "\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}"
      "\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}"
      "\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}"
      "\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}"
      "\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}"
      "\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}"
      "\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}"
      "\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}"
      "\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}"
      "\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}"
      "\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}"
      "\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}"
      "\\x{1e900}-\\x{1e943}]+";
static const char deepseek_punct[] =
    S "?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+";
/* The look-behind keeps a long run of blanks in mid-text linear: without it each blank of the run
 * would start an attempt of its own. */
static const char blanks_at_end[] = "(?<!" S ")" S "++$";
static const char deepseek_cjk[] = "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+";
static const char falcon_punct[] = "[\\p{P}$+<=>^~|`]+";
static const char default_punct[] = "[\\p{P}$+<=>^~|]+";
static const char three_digits[] = "[0-9][0-9][0-9]";

struct row {
    const char *names; /* separated by blanks; the first is the usual one */
    unsigned flags;
    const char *pattern[STEPS_MAX];
};

static const struct row rows[] = {
    {"gpt-2 phi-2 exaone4", 0, {gpt2}},
    {"mpt olmo", PRETOK_NFC, {gpt2}},
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral lfm2",
     PRETOK_WHOLE_WORDS | PRETOK_ADD_BOS,
     {llama3}},
    {"smaug-bpe dbrx chatglm-bpe", 0, {llama3}},
    {"glm4", PRETOK_WHOLE_WORDS, {llama3}},
    {"qwen2 deepseek-r1-qwen", PRETOK_NFC, {qwen2}},
    {"megrez stablelm2 hunyuan", 0, {qwen2}},
    {"qwen35", PRETOK_NFC, {qwen35}},
    {"smollm starcoder refact codeshell exaone minerva-7b", 0, {digit, gpt2}},
    {"command-r", PRETOK_NFC, {digit, gpt2}},
    {"gpt-4o llama4", 0, {o200k}},
    {"tekken", PRETOK_WHOLE_WORDS | PRETOK_ADD_BOS, {tekken}},
    {"deepseek-v3 hunyuan-dense", 0, {digits3, han_kana, deepseek3}},
    {"deepseek-llm",
     0,
     {line_end, deepseek_cased, deepseek_punct, blanks_at_end, deepseek_cjk, digits}},
    {"deepseek-coder", 0, {line_end, S "?\\p{L}+", S "?\\p{P}+", deepseek_cjk, digit}},
    {"falcon", 0, {falcon_punct, gpt2, three_digits}},
    {"default", 0, {default_punct, gpt2, digits, three_digits}},
};

struct pretok {
    unsigned flags;
    int n_steps;
    int jit; /* every step has machine code */
    pcre2_code *code[STEPS_MAX];
};

struct pretok_match {
    pcre2_match_data *data;
    pcre2_match_context *context;
};

static int has_name(const char *names, const char *name, size_t n)
{
    while (*names) {
        size_t len = strcspn(names, " ");
        if (len == n && memcmp(names, name, n) == 0)
            return 1;
        names += len + (names[len] == ' ');
    }
    return 0;
}

static int unknown_name(const char *name, size_t n, struct err *e)
{
    char list[400];
    size_t len = 0;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t k = strlen(rows[i].names);
        if (len + k + 2 > sizeof list)
            break;
        if (len)
            list[len++] = ' ';
        memcpy(list + len, rows[i].names, k);
        len += k;
    }
    list[len] = 0;
    return err_set_param(e, ERR_UNSUPPORTED, "tokenizer.ggml.pre",
                         "unknown pretokenizer \"%.*s\"; supported: %s", (int)(n < 64 ? n : 64),
                         name, list);
}

int pretok_open(struct pretok **ret, const char *name, size_t n, struct err *e)
{
    const struct row *row = NULL;
    struct pretok *p;

    for (size_t i = 0; i < ARRAY_LEN(rows) && !row; i++)
        if (has_name(rows[i].names, name, n))
            row = &rows[i];
    if (!row)
        return unknown_name(name, n, e);
    p = calloc(1, sizeof *p);
    if (!p)
        return err_set(e, ERR_NOMEM, "out of memory for the pretokenizer");
    p->flags = row->flags;
    p->jit = 1;
    for (int i = 0; i < STEPS_MAX && row->pattern[i]; i++) {
        int code;
        PCRE2_SIZE off;
        p->code[i] =
            pcre2_compile((PCRE2_SPTR)row->pattern[i], PCRE2_ZERO_TERMINATED,
                          PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C,
                          &code, &off, NULL);
        if (!p->code[i]) {
            pretok_close(p);
            return err_set(e, ERR_INTERNAL,
                           "pretokenizer \"%.*s\", pattern %d, offset %zu: PCRE2 error %d", (int)n,
                           name, i, off, code);
        }
        p->n_steps++;
        if (pcre2_jit_compile(p->code[i], PCRE2_JIT_COMPLETE))
            p->jit = 0; /* no JIT on this machine: the same matches, slower */
    }
    *ret = p;
    return 0;
}

void pretok_close(struct pretok *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->n_steps; i++)
        pcre2_code_free(p->code[i]);
    free(p);
}

unsigned pretok_flags(const struct pretok *p)
{
    return p->flags;
}

struct pretok_match *pretok_match_new(const struct pretok *p)
{
    struct pretok_match *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->data = pcre2_match_data_create(1, NULL);
    m->context = pcre2_match_context_create(NULL);
    if (!m->data || !m->context) {
        pretok_match_free(m);
        return NULL;
    }
    /* Backtracking is linear by the form of the patterns; the default of ten million steps would
     * stop a run of that many letters. */
    pcre2_set_match_limit(m->context, 1u << 30);
    return m;
}

void pretok_match_free(struct pretok_match *m)
{
    if (!m)
        return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    free(m);
}

struct walk {
    const struct pretok *p;
    struct pretok_match *m;
    pretok_word *word;
    void *arg;
};

static int split_step(const struct walk *w, int step, const char *s, size_t n)
{
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(w->m->data);
    const pcre2_code *code;
    size_t pos = 0;

    if (step == w->p->n_steps)
        return w->word(w->arg, s, n);
    code = w->p->code[step];
    while (pos < n) {
        size_t begin, end;
        int rc = w->p->jit
                     ? pcre2_jit_match(code, (PCRE2_SPTR)s, n, pos, 0, w->m->data, w->m->context)
                     : pcre2_match(code, (PCRE2_SPTR)s, n, pos, PCRE2_NO_UTF_CHECK, w->m->data,
                                   w->m->context);
        if (rc == PCRE2_ERROR_NOMATCH)
            break;
        if (rc < 0)
            return rc == PCRE2_ERROR_NOMEMORY ? ERR_NOMEM : ERR_LIMIT;
        begin = at[0]; /* copied: the next step uses the same vector */
        end = at[1];
        CHECK(begin < end); /* no pattern matches the empty string */
        if (begin > pos && (rc = split_step(w, step + 1, s + pos, begin - pos)))
            return rc;
        if ((rc = split_step(w, step + 1, s + begin, end - begin)))
            return rc;
        pos = end;
    }
    return pos < n ? split_step(w, step + 1, s + pos, n - pos) : 0;
}

int pretok_split(const struct pretok *p, struct pretok_match *m, const char *text, size_t n,
                 pretok_word *word, void *arg)
{
    struct walk w = {.p = p, .m = m, .word = word, .arg = arg};
    return split_step(&w, 0, text, n);
}
