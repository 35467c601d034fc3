#include "base/json_member.h"

#include "base/json_write.h"

/* A comma where something stands before in the same object or list; not behind a frame's head. */
static void part(struct buf *b)
{
    if (b->len && !strchr("{[:, \n", b->data[b->len - 1]))
        buf_add_char(b, ',');
}

void json_member(struct buf *b, const char *name)
{
    part(b);
    buf_add_char(b, '"');
    buf_add_str(b, name);
    buf_add_str(b, "\":");
}

void json_open(struct buf *b, const char *name, char bracket)
{
    if (name)
        json_member(b, name);
    else
        part(b);
    buf_add_char(b, bracket);
}

void json_member_int(struct buf *b, const char *name, int64_t v)
{
    json_member(b, name);
    json_put_int(b, v);
}

void json_member_real(struct buf *b, const char *name, double v, int decimals)
{
    json_member(b, name);
    json_put_fixed(b, v, decimals);
}

void json_member_text(struct buf *b, const char *name, const char *s)
{
    json_member(b, name);
    json_put_str(b, s);
}

void json_member_null(struct buf *b, const char *name)
{
    json_member(b, name);
    buf_add_str(b, "null");
}

void json_member_bool(struct buf *b, const char *name, int v)
{
    json_member(b, name);
    buf_add_str(b, v ? "true" : "false");
}
