/* Placeholder until the interpreter lands in the next commit: remove this file then. */
#include "engine/jinja.h"
int jinja_compile(struct jinja **r, const char *t, size_t n, struct err *e)
{
    return err_set(e, ERR_UNSUPPORTED, "stub");
}
void jinja_free(struct jinja *j)
{
    (void)j;
}
int jinja_render(const struct jinja *j, const struct jinja_input *i, struct jinja_out *o,
                 struct err *e)
{
    return -1;
}
void jinja_out_done(struct jinja_out *o)
{
}
