#include "cmd/input.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int read_all(struct buf *b, FILE *f, const char *name, struct err *e)
{
    char part[65536];
    size_t n;

    while ((n = fread(part, 1, sizeof part, f)) > 0) {
        int rc = buf_add(b, part, n);
        if (rc)
            return err_set(e, rc, "%s: more than %zu bytes of text", name, b->max);
    }
    return ferror(f) ? err_set(e, ERR_IO, "%s: %s", name, strerror(errno)) : 0;
}

int input_stdin(struct buf *b, struct err *e)
{
    return read_all(b, stdin, "standard input", e);
}

int input_file(struct buf *b, const char *file, struct err *e)
{
    FILE *f;
    int r;

    if (!strcmp(file, "-"))
        return input_stdin(b, e);
    f = fopen(file, "re");
    if (!f)
        return err_set(e, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "%s: %s", file, strerror(errno));
    r = read_all(b, f, file, e);
    fclose(f);
    return r;
}

int input_text(struct buf *ret, const char *file, int n_words, char **words, struct err *e)
{
    buf_init(ret, INPUT_MAX);
    if (file)
        return input_file(ret, file, e);
    if (!n_words)
        return input_stdin(ret, e);
    for (int i = 0; i < n_words; i++) {
        if (i)
            buf_add_char(ret, ' ');
        buf_add_str(ret, words[i]);
    }
    return ret->failed ? err_set(e, ret->failed, "the text is too long") : 0;
}
