#include "cmd/demo_home.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WALK_FDS 16

int demo_home_open(struct demo_home *h, const char *keep, struct err *e)
{
    const char *below = getenv("TMPDIR");
    char whole[DEMO_PATH_MAX];
    int n = keep ? snprintf(whole, sizeof whole, "%s", keep)
                 : snprintf(whole, sizeof whole, "%s/gaufre-demo-XXXXXX",
                            below && *below ? below : "/tmp");

    if (n >= (int)sizeof whole || strpbrk(whole, "\"\\\n"))
        return err_set(e, ERR_ARG, "the folder's name is too long, or has quotes in it");
    if (keep ? mkdir(whole, 0700) : !mkdtemp(whole))
        return err_set(e, errno == EEXIST ? ERR_EXISTS : ERR_IO, "cannot make %s: %s", whole,
                       strerror(errno));
    h->is_kept = keep != NULL;
    if (realpath(whole, h->path))
        return 0;
    return err_set(e, ERR_IO, "%s: %s", whole, strerror(errno));
}

char *demo_home_file(const struct demo_home *h, const char *name, char ret[DEMO_PATH_MAX + 32])
{
    snprintf(ret, DEMO_PATH_MAX + 32, "%s/%s", h->path, name);
    return ret;
}

int demo_home_write(const struct demo_home *h, const char *name, const struct buf *text,
                    struct err *e)
{
    char path[DEMO_PATH_MAX + 32];
    FILE *f = fopen(demo_home_file(h, name, path), "wxe");
    int is_well = f && fwrite(text->data, 1, text->len, f) == text->len;

    if (f && fclose(f))
        is_well = 0;
    return is_well ? 0 : err_set(e, ERR_IO, "cannot write %s: %s", path, strerror(errno));
}

/* ---- accounts and contracts ------------------------------------------------------------------ */

static int add_contracts(struct accounts *a, const struct account_who *who, struct err *e)
{
    int r = 0;

    for (int i = 0; !r && i < DEMO_CONTRACTS; i++) {
        struct contract_version v = {.name = demo_contract_name(i), .reason = "simulated"};
        struct buf text;
        buf_init(&text, DEMO_TEXT_MAX);
        r = demo_contract(i, &text, e);
        v.text = text.data;
        if (!r)
            r = accounts_amend(a, who, &v, e);
        buf_done(&text);
    }
    return r;
}

int demo_home_fill(struct demo_home *h, int64_t now_s, struct err *e)
{
    const struct account_who who = {"demo", now_s};
    const struct account_change admin = {"admin", "yes"};
    char path[DEMO_PATH_MAX + 32];
    struct accounts *a = NULL;
    int r = accounts_open(&a, demo_home_file(h, ACCOUNTS_FILE, path), e);

    if (!r)
        r = accounts_new(a, &who, ACCOUNT_TENANT, "operators", NULL, 0, e);
    if (!r)
        r = accounts_new_key(a, &who, "operator", "operators", NULL, &admin, 1, h->admin_key, e);
    for (int i = 0; !r && i < DEMO_TENANTS; i++) {
        r = accounts_new(a, &who, ACCOUNT_TENANT, demo_tenant(i), NULL, 0, e);
        if (!r)
            r = accounts_new_key(a, &who, demo_tenant(i), demo_tenant(i), NULL, NULL, 0, h->key[i],
                                 e);
    }
    if (!r)
        r = add_contracts(a, &who, e);
    accounts_close(a);
    return r;
}

/* ---- the end --------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    remove(path); /* what stays is seen when its folder cannot be removed */
    return 0;
}

void demo_home_close(struct demo_home *h)
{
    if (*h->path && !h->is_kept)
        nftw(h->path, remove_one, WALK_FDS, FTW_DEPTH | FTW_PHYS);
    explicit_bzero(h, sizeof *h);
}
