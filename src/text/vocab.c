#include "text/vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "text/vocab_int.h"

void vocab_source_init(struct vocab_source *s)
{
    *s = (struct vocab_source){.bos = -1,
                               .eos = -1,
                               .eot = -1,
                               .eom = -1,
                               .unk = -1,
                               .add_bos = -1,
                               .add_eos = -1,
                               .add_space_prefix = -1};
}

/* ---- checks ---------------------------------------------------------------------------------- */

static int check_id(int64_t id, const char *key, size_t n, struct err *e)
{
    if (id < -1 || id >= (int64_t)n)
        return err_set_param(e, ERR_FORMAT, key, "%s is %lld, but there are %zu tokens", key,
                             (long long)id, n);
    return 0;
}

static int check_source(const struct vocab_source *s, struct err *e)
{
    const struct {
        int64_t id;
        const char *key;
    } ids[] = {{s->bos, "tokenizer.ggml.bos_token_id"},
               {s->eos, "tokenizer.ggml.eos_token_id"},
               {s->eot, "tokenizer.ggml.eot_token_id"},
               {s->eom, "tokenizer.ggml.eom_token_id"},
               {s->unk, "tokenizer.ggml.unknown_token_id"}};
    int rc;

    if (!s->model[0])
        return err_set_param(e, ERR_FORMAT, "tokenizer.ggml.model",
                             "the model file names no tokenizer");
    if (strcmp(s->model, "gpt2") != 0 && strcmp(s->model, "llama") != 0)
        return err_set_param(e, ERR_UNSUPPORTED, "tokenizer.ggml.model",
                             "tokenizer \"%.40s\" is not supported; supported: gpt2 llama",
                             s->model);
    if (!s->n_tokens)
        return err_set_param(e, ERR_FORMAT, "tokenizer.ggml.tokens",
                             "the model file has no tokens");
    if (s->n_tokens > VOCAB_TOKENS_MAX)
        return err_set_param(e, ERR_LIMIT, "tokenizer.ggml.tokens", "%zu tokens, at most %u",
                             s->n_tokens, VOCAB_TOKENS_MAX);
    if (s->n_merges > VOCAB_MERGES_MAX)
        return err_set_param(e, ERR_LIMIT, "tokenizer.ggml.merges", "%zu merges, at most %u",
                             s->n_merges, VOCAB_MERGES_MAX);
    if (s->scores && s->n_scores != s->n_tokens)
        return err_set_param(e, ERR_FORMAT, "tokenizer.ggml.scores", "%zu scores for %zu tokens",
                             s->n_scores, s->n_tokens);
    if (s->types && s->n_types != s->n_tokens)
        return err_set_param(e, ERR_FORMAT, "tokenizer.ggml.token_type",
                             "%zu token types for %zu tokens", s->n_types, s->n_tokens);
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        if ((rc = check_id(ids[i].id, ids[i].key, s->n_tokens, e)))
            return rc;
    for (size_t i = 0; i < s->n_tokens; i++) {
        if (s->tokens[i].n > VOCAB_TOKEN_LEN_MAX)
            return err_set_param(e, ERR_LIMIT, "tokenizer.ggml.tokens",
                                 "token %zu has %zu bytes, at most %u", i, s->tokens[i].n,
                                 VOCAB_TOKEN_LEN_MAX);
        if (s->types && (s->types[i] < 0 || s->types[i] > VOCAB_BYTE))
            return err_set_param(e, ERR_FORMAT, "tokenizer.ggml.token_type",
                                 "token %zu has the unknown type %d", i, (int)s->types[i]);
    }
    return 0;
}

/* ---- kinds of tokens ------------------------------------------------------------------------- */

static int is_text(const struct vocab_str *t, const char *text)
{
    size_t n = strlen(text);
    return t->n == n && memcmp(t->p, text, n) == 0;
}

static int begins(const struct vocab_str *t, const char *text)
{
    size_t n = strlen(text);
    return t->n >= n && memcmp(t->p, text, n) == 0;
}

static int ends(const struct vocab_str *t, const char *text)
{
    size_t n = strlen(text);
    return t->n >= n && memcmp(t->p + t->n - n, text, n) == 0;
}

/* Files often call markers of the dialogue user-defined. Text from users must not become one. */
static int looks_like_marker(const struct vocab_str *t)
{
    if (t->n >= 5 && ((begins(t, "<|") && ends(t, ">")) || (begins(t, "<") && ends(t, "|>"))))
        return 1;
    if (begins(t, "<\xef\xbd\x9c") && ends(t, "\xef\xbd\x9c>")) /* fullwidth bars */
        return 1;
    return is_text(t, "<start_of_turn>") || is_text(t, "<end_of_turn>");
}

/* Is the token a filler? Converters add these so that the table has as many rows as the embedding;
 * they stand for no text. */
static int is_filler(const struct vocab_str *t, size_t i)
{
    char text[32];
    snprintf(text, sizeof text, "[PAD%zu]", i);
    return is_text(t, text);
}

/* Names of end-of-generation tokens, needed because model files mark only one of several. Those in
 * eog_always count whatever type the file gives them, as nobody writes them into ordinary text. All
 * begin with '<'. */
static const char *const eog_always[] = {
    "<|eot_id|>",           "<|eom_id|>",      "<|im_end|>",    "<|end|>",
    "<|return|>",           "<|call|>",        "<|flush|>",     "<|calls|>",
    "<|endoftext|>",        "<|end_of_text|>", "<end_of_turn>", "<end_of_utterance>",
    "<|file_sep|>",         "<|fim_pad|>",     "<|fim_repo|>",  "<|repo_name|>",
    "<｜end▁of▁sentence｜>"};
/* These count only where the file gives them a special type, because some are ordinary text in
 * other models (in Gemma </s> closes an HTML tag). */
static const char *const eog_special[] = {
    "</s>",    "<eos>",     "<EOT>",     "_<EOT>", "[EOT]",      "[EOS]",  "[e~[",
    "<turn|>", "<fim_pad>", "<fim-pad>", "<PAD>",  "<fim-repo>", "<REPO>", "<reponame>"};

static int in_list(const char *const *list, size_t n, const struct vocab_str *t)
{
    for (size_t i = 0; i < n; i++)
        if (is_text(t, list[i]))
            return 1;
    return 0;
}

static uint8_t settle_type(const struct vocab_str *t, size_t i, int type)
{
    if (type == 0)
        return VOCAB_UNUSED;
    if (type == VOCAB_USER_DEFINED && looks_like_marker(t))
        return VOCAB_CONTROL;
    if (type == VOCAB_USER_DEFINED && is_filler(t, i))
        return VOCAB_UNUSED;
    if ((type == VOCAB_NORMAL || type == VOCAB_USER_DEFINED) && begins(t, "<") &&
        in_list(eog_always, sizeof eog_always / sizeof *eog_always, t))
        return VOCAB_CONTROL;
    return (uint8_t)type;
}

/* BOS and the ends are control tokens even where the file forgot to say so, unless they look like
 * plain text. */
static void make_control(struct vocab *v, const struct vocab_source *s, int64_t id)
{
    if (id >= 0 && v->type[id] != VOCAB_BYTE && s->tokens[id].n >= 3 &&
        (s->tokens[id].p[0] == '<' || s->tokens[id].p[0] == '['))
        v->type[id] = VOCAB_CONTROL;
}

static void settle_types(struct vocab *v, const struct vocab_source *s)
{
    int64_t named[] = {v->bos, v->eos, s->eot, s->eom};
    int32_t end = -1, has_return = 0, has_call = 0;

    for (size_t i = 0; i < s->n_tokens; i++)
        v->type[i] = settle_type(&s->tokens[i], i, s->types ? s->types[i] : VOCAB_NORMAL);
    for (size_t i = 0; i < 4; i++) {
        make_control(v, s, named[i]);
        if (i && named[i] >= 0)
            v->flags[named[i]] |= VOCAB_F_EOG;
    }
    for (int32_t i = 0; i < v->n; i++) {
        const struct vocab_str *t = &s->tokens[i];
        if (v->type[i] == VOCAB_CONTROL || v->type[i] == VOCAB_UNKNOWN)
            v->flags[i] |= VOCAB_F_CONTROL;
        if (v->type[i] != VOCAB_CONTROL)
            continue;
        if (in_list(eog_always, sizeof eog_always / sizeof *eog_always, t) ||
            in_list(eog_special, sizeof eog_special / sizeof *eog_special, t))
            v->flags[i] |= VOCAB_F_EOG;
        has_return |= is_text(t, "<|return|>") || is_text(t, "<|flush|>");
        has_call |= is_text(t, "<|call|>") || is_text(t, "<|calls|>");
        if (is_text(t, "<|end|>"))
            end = i;
    }
    /* Where <|return|> and <|call|> end an answer, <|end|> ends one message of it only. */
    if (end >= 0 && has_return && has_call && end != v->eos)
        v->flags[end] &= (uint8_t)~VOCAB_F_EOG;
}

/* ---- tables ---------------------------------------------------------------------------------- */

static int index_texts(struct vocab *v, const struct vocab_source *s, struct err *e)
{
    uint32_t aim[16]; /* of the tokens that come next */
    size_t ahead = 0;

    if (map_init(&v->by_text, s->n_tokens))
        return ERR_NOMEM;
    for (size_t i = 0; i < s->n_tokens; i++) {
        const struct vocab_str *t = &s->tokens[i];
        uint32_t other;
        int rc;
        for (; ahead < s->n_tokens && ahead < i + ARRAY_LEN(aim); ahead++)
            aim[ahead % ARRAY_LEN(aim)] =
                map_aim(&v->by_text, s->tokens[ahead].p, s->tokens[ahead].n);
        if (!t->n)
            continue; /* a hole in the table: never found */
        rc = map_add_aimed(&v->by_text, aim[i % ARRAY_LEN(aim)], t->p, t->n, (uint32_t)i, &other);
        if (rc < 0)
            return rc;
        if (!rc)
            return err_set_param(e, ERR_FORMAT, "tokenizer.ggml.tokens",
                                 "tokens %u and %zu are both \"%.*s\"", other, i,
                                 (int)(t->n < 100 ? t->n : 100), t->p);
    }
    return 0;
}

static size_t unescape_blanks(const char *p, size_t n, char *out)
{
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        if (n - i >= 3 && memcmp(p + i, "\xe2\x96\x81", 3) == 0) {
            out[k++] = ' ';
            i += 3;
        } else {
            out[k++] = p[i++];
        }
    }
    return k;
}

/* The bytes that token i stands for; returns how many. */
static size_t make_piece(const struct vocab *v, const struct vocab_str *t, int32_t i, char *out)
{
    int plain = v->type[i] == VOCAB_NORMAL || v->type[i] == VOCAB_UNUSED;
    int byte = v->type[i] == VOCAB_BYTE ? spm_byte_of_text(t) : -1;
    size_t n;

    if (byte >= 0) {
        out[0] = (char)byte;
        return 1;
    }
    if (plain && v->kind == VOCAB_SPM)
        return unescape_blanks(t->p, t->n, out);
    if (plain && bpe_decode_text(t->p, t->n, out, &n))
        return n;
    memcpy(out, t->p, t->n);
    return t->n;
}

static int make_pieces(struct vocab *v, const struct vocab_source *s)
{
    size_t total = 1, off = 0;

    for (size_t i = 0; i < s->n_tokens; i++)
        total += s->tokens[i].n;
    v->pieces = malloc(total);
    v->piece_off = calloc(s->n_tokens + 1, sizeof *v->piece_off);
    if (!v->pieces || !v->piece_off)
        return ERR_NOMEM;
    for (int32_t i = 0; i < v->n; i++) {
        size_t n = make_piece(v, &s->tokens[i], i, v->pieces + off);
        off += n;
        v->piece_off[i + 1] = (uint32_t)off;
        if (n > v->piece_len_max)
            v->piece_len_max = n;
    }
    return 0;
}

/* Index the tokens that plain text may become by their bytes. */
static int index_words(struct vocab *v, const struct vocab_source *s)
{
    int spm = v->kind == VOCAB_SPM;

    if (map_init(&v->by_word, spm || v->pretok_flags & PRETOK_WHOLE_WORDS ? s->n_tokens : 1))
        return ERR_NOMEM;
    for (int32_t i = 0; i < v->n; i++) {
        const char *p = spm ? s->tokens[i].p : v->pieces + v->piece_off[i];
        size_t n = spm ? s->tokens[i].n : v->piece_off[i + 1] - v->piece_off[i];
        if (!n || v->type[i] != VOCAB_NORMAL || (!spm && !(v->pretok_flags & PRETOK_WHOLE_WORDS)))
            continue;
        if (map_put(&v->by_word, p, n, (uint32_t)i))
            return ERR_NOMEM;
        if (n > v->word_len_max)
            v->word_len_max = n;
    }
    return 0;
}

static int is_special(const struct vocab *v, int32_t i)
{
    return v->flags[i] & VOCAB_F_CONTROL || v->type[i] == VOCAB_USER_DEFINED;
}

static int index_specials(struct vocab *v, const struct vocab_source *s, struct err *e)
{
    size_t bytes = 0;

    for (int32_t i = 0; i < v->n; i++) {
        if (!is_special(v, i))
            continue;
        if (s->tokens[i].n > SPECIAL_LEN_MAX)
            return err_set_param(e, ERR_LIMIT, "tokenizer.ggml.tokens",
                                 "special token %d has %zu bytes, at most %u", (int)i,
                                 s->tokens[i].n, SPECIAL_LEN_MAX);
        bytes += s->tokens[i].n;
    }
    if (special_init(&v->special, bytes))
        return ERR_NOMEM;
    for (int32_t i = 0; i < v->n; i++)
        if (is_special(v, i) && s->tokens[i].n)
            special_add(&v->special, s->tokens[i].p, s->tokens[i].n, i,
                        v->flags[i] & VOCAB_F_CONTROL);
    return 0;
}

/* ---- lifecycle ------------------------------------------------------------------------------- */

/* A flag of the file, or the family's default where it is absent. */
static int flag_or(int flag, int otherwise)
{
    return flag < 0 ? otherwise : flag != 0;
}

static int is_typed(const struct vocab_source *s, size_t id, enum vocab_type type)
{
    return s->types && id < s->n_types && s->types[id] == (int32_t)type;
}

static int settle_ids(struct vocab *v, const struct vocab_source *s, struct err *e)
{
    int spm = v->kind == VOCAB_SPM;

    /* SentencePiece's own defaults; byte-level vocabularies have none. */
    v->bos = s->bos >= 0 ? (int32_t)s->bos : spm && is_typed(s, 1, VOCAB_CONTROL) ? 1 : -1;
    v->eos = s->eos >= 0 ? (int32_t)s->eos : spm && is_typed(s, 2, VOCAB_CONTROL) ? 2 : -1;
    v->unk = s->unk >= 0 ? (int32_t)s->unk : spm ? 0 : -1;
    v->add_bos = flag_or(s->add_bos, v->bos >= 0 && (spm || v->pretok_flags & PRETOK_ADD_BOS));
    v->add_eos = flag_or(s->add_eos, 0);
    v->add_space_prefix = spm && flag_or(s->add_space_prefix, 1);
    if (v->add_bos && v->bos < 0)
        return err_set_param(e, ERR_FORMAT, "tokenizer.ggml.add_bos_token",
                             "the model wants BOS added but names no BOS token");
    if (v->add_eos && v->eos < 0)
        return err_set_param(e, ERR_FORMAT, "tokenizer.ggml.add_eos_token",
                             "the model wants EOS added but names no EOS token");
    return 0;
}

static int build(struct vocab *v, const struct vocab_source *s, struct err *e)
{
    const char *pre = s->pre[0] ? s->pre : "default";
    int rc;

    if (v->kind == VOCAB_BPE) {
        if ((rc = pretok_open(&v->pretok, pre, strlen(pre), e)))
            return rc;
        v->pretok_flags = pretok_flags(v->pretok);
    }
    if ((rc = settle_ids(v, s, e)))
        return rc;
    v->type = calloc(s->n_tokens, 1);
    v->flags = calloc(s->n_tokens, 1);
    if (!v->type || !v->flags)
        return ERR_NOMEM;
    settle_types(v, s);
    if ((rc = index_texts(v, s, e)) || (rc = make_pieces(v, s)) || (rc = index_words(v, s)) ||
        (rc = index_specials(v, s, e)))
        return rc;
    return v->kind == VOCAB_BPE ? bpe_open(v, s, e) : spm_open(v, s, e);
}

int vocab_open(struct vocab **ret, const struct vocab_source *s, struct err *e)
{
    struct vocab *v;
    int rc = check_source(s, e);

    if (rc)
        return rc;
    v = calloc(1, sizeof *v);
    if (!v)
        return err_set(e, ERR_NOMEM, "out of memory for the vocabulary");
    v->kind = strcmp(s->model, "gpt2") == 0 ? VOCAB_BPE : VOCAB_SPM;
    v->n = (int32_t)s->n_tokens;
    rc = build(v, s, e);
    if (rc) {
        vocab_close(v);
        return rc == ERR_NOMEM ? err_set(e, rc, "out of memory for the vocabulary") : rc;
    }
    *ret = v;
    return 0;
}

void vocab_close(struct vocab *v)
{
    if (!v)
        return;
    bpe_close(v);
    spm_close(v);
    special_done(&v->special);
    map_done(&v->by_text);
    map_done(&v->by_word);
    free(v->type);
    free(v->flags);
    free(v->piece_off);
    free(v->pieces);
    free(v);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

int32_t vocab_n(const struct vocab *v)
{
    return v->n;
}

int32_t vocab_bos(const struct vocab *v)
{
    return v->bos;
}

int32_t vocab_eos(const struct vocab *v)
{
    return v->eos;
}

int vocab_adds_bos(const struct vocab *v)
{
    return v->add_bos;
}

size_t vocab_memory(const struct vocab *v)
{
    size_t n = (size_t)v->n, slot = 16;
    return sizeof *v + n * (2 + sizeof *v->piece_off) + v->piece_off[n] +
           (v->by_text.cap + v->by_word.cap + v->merges_cap) * slot + v->by_text.keys_cap +
           v->by_word.keys_cap + special_memory(&v->special) +
           (v->kind == VOCAB_SPM ? n * sizeof *v->rank + SPM_JOINS_BYTES : 0);
}

const char *vocab_piece(const struct vocab *v, int32_t id, size_t *ret_n)
{
    if (id < 0 || id >= v->n) {
        *ret_n = 0;
        return "";
    }
    *ret_n = v->piece_off[id + 1] - v->piece_off[id];
    return v->pieces + v->piece_off[id];
}

int vocab_is_control(const struct vocab *v, int32_t id)
{
    return id >= 0 && id < v->n && v->flags[id] & VOCAB_F_CONTROL;
}

int vocab_is_eog(const struct vocab *v, int32_t id)
{
    return id >= 0 && id < v->n && (v->flags[id] & VOCAB_F_EOG) != 0;
}

int32_t vocab_find(const struct vocab *v, const char *text, size_t n)
{
    uint32_t id;
    return map_get(&v->by_text, text, n, &id) ? (int32_t)id : -1;
}

int vocab_decode(const struct vocab *v, const int32_t *id, size_t n, int special, struct buf *out,
                 struct err *e)
{
    int strip = v->add_space_prefix;

    for (size_t i = 0; i < n; i++) {
        const char *p;
        size_t len;
        if (id[i] < 0 || id[i] >= v->n)
            return err_set_param(e, ERR_ARG, "tokens", "token %d: the ids are 0 to %d", (int)id[i],
                                 (int)v->n - 1);
        if (!special && vocab_is_control(v, id[i]))
            continue;
        p = vocab_piece(v, id[i], &len);
        if (strip && len && *p == ' ' && v->type[id[i]] != VOCAB_USER_DEFINED)
            p++, len--;
        strip = 0;
        if (buf_add(out, p, len))
            return err_set(e, out->failed, "the text of %zu tokens is too long", n);
    }
    return 0;
}
