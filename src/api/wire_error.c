#include "api/wire_error.h"

int api_err_context(struct err *e, int64_t n_prompt, int64_t n_completion, int64_t context)
{
    int64_t more = n_completion > 0 ? n_completion : 0;

    /* Clients look for these words to find out that a conversation has become too long. */
    return err_set_param(
        e, ERR_CONTEXT, "messages",
        "This model's maximum context length is %lld tokens. However, the request "
        "has %lld tokens in the prompt and asks for %s%lld in the completion. "
        "Please reduce the length of the messages or completion. Current length "
        "is %lld while limit is %lld",
        (long long)context, (long long)n_prompt, n_completion < 0 ? "at least " : "",
        (long long)(n_completion < 0 ? 1 : more), (long long)(n_prompt + more), (long long)context);
}

int api_err_model(struct err *e, const char *id)
{
    return err_set_param(e, ERR_NO_MODEL, "model",
                         "Model %.200s does not exist or you do not have access to it.", id);
}
