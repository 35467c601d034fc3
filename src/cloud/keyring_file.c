/* Writing keys: what `gaufre key` does. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/disk.h"
#include "base/rand.h"
#include "cloud/keyring.h"

#define KEY_RANDOM_BYTES 24
#define KEY_PREFIX       "gf-"

static int make_line(const struct key_table *t, const char *id, const char *tenant, const char *key,
                     struct buf *out, struct err *e)
{
    unsigned char hash[KEY_HASH_BYTES];
    char text[2 * KEY_HASH_BYTES + 1];

    if (!account_name_ok(id) || (tenant && !account_name_ok(tenant)))
        return err_set(e, ERR_ARG, "names are letters, digits and - _ . : (at most %d)",
                       CLOUD_NAME_MAX - 1);
    for (int i = 0; i < t->n_lines; i++) {
        if (!strcmp(t->lines[i].id, id))
            return err_set(e, ERR_EXISTS, "a key with id '%s' is already there", id);
    }
    key_hash(t->salt, key, strlen(key), hash);
    sodium_bin2hex(text, sizeof text, hash, sizeof hash);
    buf_addf(out, "key %s %s", id, text);
    if (tenant)
        buf_addf(out, " tenant=%s", tenant);
    buf_add_char(out, '\n');
    return out->failed ? err_set(e, out->failed, "out of memory") : 0;
}

/* Also where the disk takes a part only: the next try says why. */
static int write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t k = write(fd, p, n);
        if (k < 0)
            return -1;
        p += k;
        n -= (size_t)k;
    }
    return 0;
}

/* Write the first lines of an empty or missing file, and a salt into a file that has none. */
static int begin(const char *path, int fd, struct err *e)
{
    unsigned char salt[KEY_SALT_BYTES];
    char text[2 * KEY_SALT_BYTES + 1], line[sizeof text + 128];
    off_t size = lseek(fd, 0, SEEK_END);
    int n;

    if (size > 0) { /* the last line may lack its end */
        if (pread(fd, text, 1, size - 1) == 1 && text[0] != '\n' && write_all(fd, "\n", 1))
            return err_set(e, ERR_IO, "keys file %s: %s", path, strerror(errno));
        return 0;
    }
    if (rand_system(salt, sizeof salt))
        return err_set(e, ERR_IO, "no random bytes from the system");
    sodium_bin2hex(text, sizeof text, salt, sizeof salt);
    n = snprintf(line, sizeof line,
                 "# API keys of gaufre: hashes only. See 'gaufre key --help'.\nsalt %s\n", text);
    if (write_all(fd, line, (size_t)n))
        return err_set(e, ERR_IO, "keys file %s: %s", path, strerror(errno));
    return 0;
}

int key_text_new(char ret[CLOUD_KEY_TEXT_MAX], struct err *e)
{
    unsigned char bytes[KEY_RANDOM_BYTES];

    if (sodium_init() < 0 || rand_system(bytes, sizeof bytes))
        return err_set(e, ERR_IO, "no random bytes from the system");
    memcpy(ret, KEY_PREFIX, sizeof KEY_PREFIX);
    sodium_bin2base64(ret + strlen(KEY_PREFIX), CLOUD_KEY_TEXT_MAX - strlen(KEY_PREFIX), bytes,
                      sizeof bytes, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(bytes, sizeof bytes);
    return 0;
}

int cloud_key_new(const char *path, const char *id, const char *tenant,
                  char ret_key[CLOUD_KEY_TEXT_MAX], struct err *e)
{
    char key[CLOUD_KEY_TEXT_MAX];
    struct key_table *t = NULL;
    struct buf line;
    off_t size;
    int fd, r;

    buf_init(&line, 4096);
    if (key_text_new(key, e))
        return e->code;
    fd = disk_open_private(path, O_RDWR | O_CREAT | O_APPEND);
    if (fd < 0)
        return err_set(e, ERR_IO, "keys file %s: %s", path, strerror(errno));
    flock(fd, LOCK_EX); /* two commands at once must not both write the first lines */
    size = lseek(fd, 0, SEEK_END);
    r = begin(path, fd, e);
    if (!r)
        r = key_table_load(&t, path, e);
    if (!r)
        r = make_line(t, id, tenant, key, &line, e);
    if (!r && (write_all(fd, line.data, line.len) || fsync(fd)))
        r = err_set(e, ERR_IO, "keys file %s: %s", path, strerror(errno));
    if (r && size >= 0)
        (void)!ftruncate(fd, size); /* a line in part would make the whole file unreadable */
    close(fd);
    if (!r)
        memcpy(ret_key, key, strlen(key) + 1);
    sodium_memzero(key, sizeof key);
    key_table_free(t);
    buf_done(&line);
    return r;
}

int cloud_key_line(const char *path, const char *id, const char *tenant, const char *key,
                   struct buf *out, struct err *e)
{
    struct key_table *t = NULL;
    int r;

    if (sodium_init() < 0)
        return err_set(e, ERR_IO, "no random bytes from the system");
    if (!*key)
        return err_set(e, ERR_ARG, "an empty key");
    r = key_table_load(&t, path, e);
    if (!r)
        r = make_line(t, id, tenant, key, out, e);
    key_table_free(t);
    return r;
}
