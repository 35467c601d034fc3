/* Lists of models, in the forms of several catalogues. */
#ifndef API_MODEL_LIST_H
#define API_MODEL_LIST_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "job/preset.h"

enum api_model_status {
    API_MODEL_LOADED,
    API_MODEL_LOADING,
    API_MODEL_UNLOADED,
    API_MODEL_SLEEPING
};
enum api_models_format {
    API_MODELS_PLAIN,
    API_MODELS_OPENROUTER,
    API_MODELS_HUGGINGFACE,
    API_MODELS_PUBLIC
};

struct api_model {
    const char *id, *name, *description, *owned_by; /* NULL: id, "", "gaufre" */
    const char *hugging_face_id, *quantization;     /* NULL: "" */
    int64_t created;
    enum api_model_status status;
    int32_t context, context_trained, output_max; /* output_max 0: the context */
    int32_t n_vocab;
    uint64_t n_params, size_bytes;
    int chat;                      /* has a chat template */
    const struct preset *sampling; /* recommended; NULL: not known */
    int default_sampling;          /* requests that say nothing are drawn with it */
    double price_prompt, price_completion, price_cached; /* per token */
};
/* "", "openrouter", "huggingface"; public: the path was /public/v1. ERR_SCHEMA for another. */
int api_models_format(const char *format, int is_public, enum api_models_format *ret,
                      struct err *e);
/* Bodies: 0 or the buffer's failure. */
int api_models_body(struct buf *out, const struct api_model *m, int n, enum api_models_format f);
int api_model_body(struct buf *out, const struct api_model *m, enum api_models_format f);

#endif
