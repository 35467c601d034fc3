/* peer_eval MODEL TOKENS OUT [kv f32|f16] [threads]: the peer's forward pass on given token ids, by
 * its public API; peer_eval --tokenize MODEL TEXT OUT: its tokenizer (int32 ids, BOS where the
 * model wants it). TOKENS: int32 ids of one window after another: n_windows, then for each n, the
 * ids, and n bytes that say whether the logits after that id are wanted. OUT: the wanted rows,
 * float32, in order. KV float32 and no flash attention unless told otherwise; the whole window is
 * one batch. Compiled and run by make_golden.py and bench/kl_peer.sh; never part of gaufre. */
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void quiet(enum ggml_log_level level, const char *text, void *arg)
{
    (void)arg;
    if (level == GGML_LOG_LEVEL_ERROR)
        fputs(text, stderr);
}

static void *must(void *p, const char *what)
{
    if (!p) {
        fprintf(stderr, "peer_eval: %s failed\n", what);
        exit(1);
    }
    return p;
}

static int32_t read_int(FILE *f)
{
    int32_t n;
    if (fread(&n, sizeof n, 1, f) != 1 || n < 1)
        must(NULL, "reading the tokens");
    return n;
}

static int tokenize(const char *path, const char *text, const char *out)
{
    struct llama_model_params p = llama_model_default_params();
    p.vocab_only = true;
    struct llama_model *model = must(llama_model_load_from_file(path, p), "loading the vocabulary");
    FILE *f = must(fopen(text, "rb"), "opening the text");
    fseek(f, 0, SEEK_END);
    int32_t n = (int32_t)ftell(f), n_max = n + 8;
    rewind(f);
    char *bytes = must(malloc(n + 1), "malloc");
    llama_token *id = must(malloc(n_max * sizeof *id), "malloc");
    if (fread(bytes, 1, n, f) != (size_t)n)
        must(NULL, "reading the text");
    fclose(f);
    n = llama_tokenize(llama_model_get_vocab(model), bytes, n, id, n_max, true, false);
    f = must(fopen(out, "wb"), "opening the output");
    if (n < 0 || fwrite(id, sizeof *id, n, f) != (size_t)n || fclose(f))
        must(NULL, "tokenizing");
    free(id);
    free(bytes);
    llama_model_free(model);
    return 0;
}

int main(int argc, char **argv)
{
    llama_log_set(quiet, NULL);
    llama_backend_init();
    if (argc == 5 && !strcmp(argv[1], "--tokenize"))
        return tokenize(argv[2], argv[3], argv[4]);
    if (argc < 4) {
        fprintf(stderr, "usage: peer_eval MODEL TOKENS OUT [f32|f16] [threads]\n");
        return 2;
    }
    enum ggml_type kv = argc > 4 && !strcmp(argv[4], "f16") ? GGML_TYPE_F16 : GGML_TYPE_F32;
    int threads = argc > 5 ? atoi(argv[5]) : 2;

    struct llama_model *model = must(
        llama_model_load_from_file(argv[1], llama_model_default_params()), "loading the model");
    int32_t n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    FILE *in = must(fopen(argv[2], "rb"), "opening the tokens");
    FILE *out = must(fopen(argv[3], "wb"), "opening the output");

    int32_t n_windows = read_int(in);
    for (int32_t w = 0; w < n_windows; w++) {
        int32_t n = read_int(in);
        llama_token *id = must(malloc(n * sizeof *id), "malloc");
        char *wanted = must(malloc(n), "malloc");
        if (fread(id, sizeof *id, n, in) != (size_t)n || fread(wanted, 1, n, in) != (size_t)n)
            must(NULL, "reading the tokens");

        struct llama_context_params p = llama_context_default_params();
        p.n_ctx = p.n_batch = p.n_ubatch = (uint32_t)n;
        p.n_threads = p.n_threads_batch = threads;
        p.type_k = p.type_v = kv;
        p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
        p.no_perf = true;
        struct llama_context *ctx = must(llama_init_from_model(model, p), "making a context");
        struct llama_batch b = llama_batch_init(n, 0, 1);
        b.n_tokens = n;
        for (int32_t i = 0; i < n; i++) {
            b.token[i] = id[i];
            b.pos[i] = i;
            b.n_seq_id[i] = 1;
            b.seq_id[i][0] = 0;
            b.logits[i] = wanted[i];
        }
        if (llama_decode(ctx, b))
            must(NULL, "llama_decode");
        for (int32_t i = 0; i < n; i++)
            if (wanted[i] &&
                fwrite(llama_get_logits_ith(ctx, i), 4, n_vocab, out) != (size_t)n_vocab)
                must(NULL, "writing the logits");
        llama_batch_free(b);
        llama_free(ctx);
        free(wanted);
        free(id);
    }
    if (fclose(out))
        must(NULL, "writing the logits");
    fclose(in);
    llama_model_free(model);
    return 0;
}
