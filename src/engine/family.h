/* Model families: one row each. What differs between families is data here; the forward pass has
 * no family names in it. */
#ifndef ENGINE_FAMILY_H
#define ENGINE_FAMILY_H

#include "job/preset.h"
#include "kern/kern.h"

enum family_moe { FAMILY_DENSE, FAMILY_MAY_HAVE_EXPERTS, FAMILY_HAS_EXPERTS };

struct family {
    const char *arch;  /* general.architecture */
    int rope_adjacent; /* pairs (2i, 2i+1), as GGUF stores llama's Q and K; else halves */
    enum kern_act_fn act;
    int embed_scale;           /* multiply embeddings by sqrt(n_embd) */
    int layers_scaled_by_embd; /* a model with this many layers scales q . k by 1 / sqrt(n_embd /
                                * n_heads) in place of 1 / sqrt(head_dim); 0: none does */
    int qk_norm;               /* RMS norm per head on Q and K, weights required */
    int qkv_bias;              /* biases required */
    int post_norms;            /* norms after attention and feed-forward as well */
    enum family_moe moe;
    int expert_width_is_ff; /* experts are as wide as feed_forward_length, whatever else is said */
    int expert_bias;        /* biases of the router and of each expert's matrices required */
    int sinks;              /* attention sinks required */
    int window_every; /* a window where the file states one: every n-th layer is global (0: none) */
    float window_rope_base;   /* RoPE base in window layers; 0: the file's */
    int window_rope_unscaled; /* RoPE scaling does not apply in window layers */
    const char *ffn_norm;     /* name of the norm before the feed-forward */
    struct preset sampling;   /* what its makers recommend */
};

/* The row of `arch` (n bytes), or NULL. */
const struct family *family_find(const char *arch, size_t n);
/* "llama, qwen2, ..." for messages. */
#define FAMILY_LIST_MAX 512 /* bytes that hold the list */
void family_list(char *out, size_t cap);

#endif
