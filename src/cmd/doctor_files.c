/* Checks of the disk, and of what the configuration names. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/disk.h"
#include "base/sql.h"
#include "cmd/cmd.h"
#include "cmd/doctor.h"

#define ROOM_MIN      ((uint64_t)1 << 30) /* the journal may take 256 MiB, SQLite's log as much */
#define FLUSHES       15
#define FLUSH_SLOW_US 20000
#define CERTS_MAX     64 /* of one file; a bundle of all the world's is not looked at */
#define PEM_BYTES_MAX ((size_t)1 << 20)
#define EXPIRY_DAYS   14
#define CIFS_MAGIC    0xff534d42
#define FUSE_MAGIC    0x65735546

/* ---- the configuration ----------------------------------------------------------------------- */

void doctor_configuration(const struct doctor *d, struct finding *f)
{
    if (!d->config_path) {
        doctor_say(f, DOCTOR_SKIP, "none was named (-c FILE)");
    } else if (d->config_error) {
        doctor_say(f, DOCTOR_MUST, "%s", d->config_error);
        doctor_fix(f, "gaufre serve -c %s --check", d->config_path);
    } else {
        doctor_say(f, DOCTOR_OK, "%s is in order", d->config_path);
    }
}

/* Nothing that it names can be looked at where it was not read. */
static void say_none(const struct doctor *d, struct finding *f, const char *names)
{
    if (!d->config_path)
        doctor_say(f, DOCTOR_SKIP, "no configuration was named");
    else if (d->config_error)
        doctor_say(f, DOCTOR_SKIP, "not known before the configuration is in order");
    else
        doctor_say(f, DOCTOR_SKIP, "the configuration names %s", names);
}

void doctor_models(const struct doctor *d, struct finding *f)
{
    const char *line, *text;
    struct err e = {0};
    struct buf out;

    if (!d->config || !d->config->n_models) {
        say_none(d, f, "no models");
        return;
    }
    buf_init(&out, 1 << 20);
    if (serve_config_describe(d->config, &out, &e)) {
        doctor_say(f, DOCTOR_MUST, "%s", e.text);
        doctor_fix(f, "a smaller kv_memory or context, fewer or smaller models; where gaufre runs "
                      "already, it has this memory now");
    } else {
        buf_add_char(&out, 0);
        text = out.data ? out.data : "";
        line = strstr(text, "\nmemory     ");
        line = line ? line + strlen("\nmemory     ") : "they fit";
        doctor_say(f, DOCTOR_OK, "%.*s", (int)strcspn(line, "\n"), line);
    }
    buf_done(&out);
}

/* ---- the disk -------------------------------------------------------------------------------- */

/* The folder of the ledger that is a file; else gaufre's home. */
static void folder_of(const struct doctor *d, char *out, size_t cap)
{
    const char *ledger = d->config ? d->config->ledger : "", *slash = strrchr(ledger, '/');

    if (*ledger && strcmp(ledger, "off") && !sql_is_url(ledger))
        snprintf(out, cap, "%.*s", slash ? (int)(slash - ledger) + !(slash - ledger) : 1,
                 slash ? ledger : ".");
    else
        snprintf(out, cap, "%s", d->home);
}

static const char *network_of(long type)
{
    return type == NFS_SUPER_MAGIC                                     ? "NFS"
           : type == (long)CIFS_MAGIC || type == (long)SMB_SUPER_MAGIC ? "SMB"
                                                                       : NULL;
}

void doctor_disk(const struct doctor *d, struct finding *f)
{
    char folder[4096], room[32];
    struct statvfs v;
    struct statfs s;
    uint64_t bytes;

    folder_of(d, folder, sizeof folder);
    if (statvfs(folder, &v) || statfs(folder, &s)) {
        doctor_say(f, errno == ENOENT ? DOCTOR_SKIP : DOCTOR_MUST, "%s: %s", folder,
                   errno == ENOENT ? "is not there yet" : strerror(errno));
        doctor_fix(f, "a folder that gaufre may write, as $GAUFRE_HOME or for 'ledger'");
        return;
    }
    bytes = (uint64_t)v.f_bavail * v.f_frsize;
    cmd_bytes(bytes, room, sizeof room);
    if (network_of((long)s.f_type)) {
        doctor_say(f, DOCTOR_MUST, "%s is on %s; the ledger's locks want a local disk", folder,
                   network_of((long)s.f_type));
        doctor_fix(f,
                   "a local folder as $GAUFRE_HOME or for 'ledger', or PostgreSQL as the ledger");
    } else if (bytes < ROOM_MIN) {
        doctor_say(f, DOCTOR_MUST, "%s left in %s", room, folder);
        doctor_fix(f, "make room, or prune the ledger (gaufre ledger prune)");
    } else if (s.f_type == TMPFS_MAGIC || s.f_type == OVERLAYFS_SUPER_MAGIC) {
        doctor_say(f, DOCTOR_ADVICE, "%s is %s", folder,
                   s.f_type == TMPFS_MAGIC ? "in memory, gone at the next start of the machine"
                                           : "in the container's own layer, gone with it");
        doctor_fix(f, "a volume at %s", folder);
    } else {
        doctor_say(f, DOCTOR_OK, "%s left in %s", room, folder);
    }
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* The median time to append a page and flush it, as the journal does; negative: errno. */
static int64_t flush_us(int fd)
{
    static char page[4096];
    int64_t us[FLUSHES];

    for (int i = 0; i < FLUSHES; i++) {
        int64_t began = clock_now_us();
        if (write(fd, page, sizeof page) != (ssize_t)sizeof page || fdatasync(fd))
            return -(errno ? errno : EIO);
        us[i] = clock_now_us() - began;
    }
    qsort(us, FLUSHES, sizeof us[0], by_size);
    return us[FLUSHES / 2];
}

void doctor_flush(const struct doctor *d, struct finding *f)
{
    char folder[4000], path[4096];
    int64_t us;
    int fd;

    folder_of(d, folder, sizeof folder);
    snprintf(path, sizeof path, "%s/doctor.XXXXXX", folder);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) {
        doctor_say(f, errno == ENOENT ? DOCTOR_SKIP : DOCTOR_MUST, "%s: %s", folder,
                   errno == ENOENT ? "is not there yet" : strerror(errno));
        doctor_fix(f, "let the user of the server write %s", folder);
        return;
    }
    us = flush_us(fd);
    close(fd);
    unlink(path);
    if (us < 0) {
        doctor_say(f, DOCTOR_MUST, "%s: %s", folder, strerror((int)-us));
        doctor_fix(f, "a disk that is well");
    } else if (us > FLUSH_SLOW_US) {
        doctor_say(f, DOCTOR_ADVICE, "%.1f ms to append 4 KiB and flush", (double)us / 1000);
        doctor_fix(f, "a faster disk for the ledger, or ledger_sync: normal");
    } else {
        doctor_say(f, DOCTOR_OK, "%.2f ms to append 4 KiB and flush", (double)us / 1000);
    }
}

/* ---- certificates ---------------------------------------------------------------------------- */

/* Where a list of findings is gathered into one: the worst stays, the first of equals. */
struct worst {
    struct finding *f;
    int n;
};

static int is_worse(struct worst *w, enum doctor_state state)
{
    w->n++;
    return state > w->f->state;
}

/* Days from now until the first certificate of the text ends; *ret_n: how many there are. */
static int first_end(const char *text, size_t len, int *ret_n)
{
    BIO *in = BIO_new_mem_buf(text, (int)len);
    int days, seconds, least = 1 << 30;
    X509 *x;

    *ret_n = 0;
    while (in && *ret_n < CERTS_MAX && (x = PEM_read_bio_X509(in, NULL, NULL, NULL))) {
        if (ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x))) {
            if (days <= 0 && seconds < 0)
                days = days ? days : -1;
            if (days < least)
                least = days;
        }
        (*ret_n)++;
        X509_free(x);
    }
    BIO_free(in);
    ERR_clear_error(); /* the end of the file is one */
    return least;
}

static void see_certificates(struct worst *w, const char *what, const char *path)
{
    struct buf b;
    int n, days;

    if (!path || !*path)
        return;
    buf_init(&b, PEM_BYTES_MAX);
    if (disk_read(path, &b)) {
        if (is_worse(w, DOCTOR_MUST))
            doctor_say(w->f, DOCTOR_MUST, "%s %s: %s", what, path, strerror(errno));
        buf_done(&b);
        return;
    }
    days = first_end(b.data ? b.data : "", b.len, &n);
    buf_done(&b);
    if (!n && is_worse(w, DOCTOR_MUST))
        doctor_say(w->f, DOCTOR_MUST, "%s %s: holds no certificate", what, path);
    else if (n && days < 0 && is_worse(w, DOCTOR_MUST))
        doctor_say(w->f, DOCTOR_MUST, "%s %s: ended %d day%s ago", what, path, -days,
                   plural(-days));
    else if (n && days >= 0 && days < EXPIRY_DAYS && is_worse(w, DOCTOR_ADVICE))
        doctor_say(w->f, DOCTOR_ADVICE, "%s %s: ends in %d day%s", what, path, days, plural(days));
    else if (n && days >= EXPIRY_DAYS)
        w->n++;
}

void doctor_certificates(const struct doctor *d, struct finding *f)
{
    struct worst w = {.f = f};

    doctor_say(f, DOCTOR_OK, "good for %d days or more", EXPIRY_DAYS);
    doctor_fix(f, "renew it, then: systemctl reload gaufre");
    if (d->config) {
        see_certificates(&w, "tls_cert", d->config->tls_cert);
        see_certificates(&w, "tls_client_ca", d->config->tls_client_ca);
        see_certificates(&w, "traces_ca_file", d->config->traces_ca_file);
        see_certificates(&w, "energy: ca_file", d->config->energy.ca_file);
    }
    for (int i = 0; d->config && i < d->config->n_suppliers; i++)
        see_certificates(&w, d->config->suppliers[i].name, d->config->suppliers[i].ca_file);
    for (int i = 0; d->config && i < d->config->n_sites; i++)
        see_certificates(&w, d->config->sites[i].name, d->config->sites[i].carbon_ca_file);
    for (int i = 0; d->config && i < d->config->n_webhooks; i++)
        see_certificates(&w, d->config->webhooks[i].name, d->config->webhooks[i].ca_file);
    if (!w.n)
        say_none(d, f, "none");
}

/* ---- secrets --------------------------------------------------------------------------------- */

static void see_secret(struct worst *w, const char *path)
{
    struct stat st;

    if (!path || !*path || stat(path, &st))
        return; /* what is missing is the configuration's error */
    if (!(st.st_mode & (S_IROTH | S_IWOTH | S_IWGRP))) {
        w->n++;
    } else if (is_worse(w, DOCTOR_ADVICE)) {
        doctor_say(w->f, DOCTOR_ADVICE, "%s has mode %03o: others can read or change it", path,
                   st.st_mode & 0777u);
        doctor_fix(w->f, "chmod o=,g-w %s", path);
    }
}

void doctor_secrets(const struct doctor *d, struct finding *f)
{
    const struct serve_config *c = d->config;
    struct worst w = {.f = f};

    doctor_say(f, DOCTOR_OK, "nobody else can read them");
    see_secret(&w, c ? c->keys : NULL);
    see_secret(&w, c ? c->tls_key : NULL);
    see_secret(&w, c ? c->energy.key_file : NULL);
    for (int i = 0; c && i < c->n_suppliers; i++) {
        see_secret(&w, c->suppliers[i].key_file);
        for (int k = 0; k < c->suppliers[i].n_keys; k++)
            see_secret(&w, c->suppliers[i].keys[k].file);
    }
    for (int i = 0; c && i < c->n_webhooks; i++)
        see_secret(&w, c->webhooks[i].secret_file);
    for (int i = 0; c && i < c->n_accounts; i++)
        see_secret(&w, c->account[i].file);
    if (!w.n)
        say_none(d, f, "no files with keys");
}
