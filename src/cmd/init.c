/* gaufre init [FILE]: a commented configuration to begin with, or the schema of one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "serve/serve.h"

#define FILE_DEFAULT "gaufre.yaml"
#define TEXT_MAX     ((size_t)1 << 20)

struct init_opts {
    int force, schema;
    const char *model;
};

static const struct opt opts[] = {
    OPT_STR(0, "model", "MODEL", "smollm2-135m", init_opts, model, "the model that it serves"),
    OPT_FLAG(0, "force", init_opts, force, "write over a file that is there"),
    OPT_FLAG(0, "schema", init_opts, schema,
             "print the JSON Schema of configurations instead, for editors"),
    OPT_END,
};

static int write_all(int fd, const char *s, size_t n)
{
    while (n) {
        ssize_t k = write(fd, s, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return -1;
        s += k;
        n -= (size_t)k;
    }
    return 0;
}

static int write_file(const char *path, int force, const struct buf *text, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (force ? O_TRUNC : O_EXCL), 0600);
    int failed;

    if (fd < 0 && errno == EEXIST)
        return err_set(e, ERR_EXISTS, "%s is there already; --force writes over it", path);
    if (fd < 0)
        return err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    failed = write_all(fd, text->data, text->len) ? errno : 0;
    if (close(fd) && !failed)
        failed = errno;
    return failed ? err_set(e, ERR_IO, "%s: %s", path, strerror(failed)) : 0;
}

static int run(const struct cmd *cmd, void *opts_, int argc, char **argv)
{
    const struct init_opts *o = opts_;
    const char *path = argc ? argv[0] : FILE_DEFAULT;
    struct err e = {0};
    struct buf text;
    int r = 0;

    buf_init(&text, TEXT_MAX);
    if (o->schema ? serve_config_schema(&text) : serve_config_template(o->model, &text)) {
        r = err_set(&e, ERR_NOMEM, "out of memory");
    } else if (o->schema || !strcmp(path, "-")) {
        fwrite(text.data, 1, text.len, stdout);
    } else {
        r = write_file(path, o->force, &text, &e);
        if (!r)
            cmd_note("%s is written; look at it, then: gaufre serve -c %s", path, path);
    }
    buf_done(&text);
    return r ? cmd_fail(cmd, &e) : CMD_OK;
}

const struct cmd cmd_init = {
    .name = "init",
    .help = "Write a commented configuration file to begin with",
    .args = "[FILE]",
    .about = "FILE is " FILE_DEFAULT " unless named; '-' prints it. A laptop needs none: 'gaufre "
             "serve MODEL'\nworks without.",
    .opts = opts,
    .opts_size = sizeof(struct init_opts),
    .n_args_min = 0,
    .n_args_max = 1,
    .complete = CMD_COMPLETE_FILE,
    .run = run,
};
