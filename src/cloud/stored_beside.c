/* Stored answers in the folders of other processes beside the same ledger: while their owner lives
 * they are read there as they grow; when it is gone they become this process's own. */
#include <errno.h>
#include <string.h>

#include "base/disk.h"
#include "base/log.h"
#include "cloud/stored_int.h"

#define HEIR_AGAIN_US INT64_C(5000000) /* where something could not be taken over */
#define TOUCH_US      INT64_C(1000000)
#define ROUNDS        2 /* an answer may move from folder to folder while it is looked for */

/* ---- read in another's folder ----------------------------------------------------------------
 */

/* Its events, as far as they are whole and may stand there; what comes behind them is read again.
 */
static void go_on(struct stored *s)
{
    struct stored_event ev;
    size_t n;

    while ((n = stored_read_event(s->image.data, s->image.len, s->n_public, &ev)) &&
           !stored_story_take(&s->story, &ev.ev))
        s->n_public += n;
    s->image.len = s->n_public;
}

void stored_read_beside(struct stored *s)
{
    struct buf *b = &s->image;
    int64_t n;

    if (disk_is_removed(s->fd)) {
        stored_take_out(s);
        return;
    }
    n = disk_size(s->fd) - (int64_t)b->len;
    if (s->story.is_done || n <= 0 || buf_reserve(b, (size_t)n))
        return;
    n = disk_read_at(s->fd, b->data + b->len, (size_t)n, (int64_t)b->len);
    b->len += n > 0 ? (size_t)n : 0;
    go_on(s);
    stored_count(s);
}

static int open_beside(const struct stored_all *a, const char *id)
{
    struct stored_folder f;
    int fd = -1;

    for (int i = 0; i < ROUNDS * STORED_SLOTS && fd < 0; i++) {
        if (!stored_folder_name(&f, a->config.folder, i % STORED_SLOTS) &&
            strcmp(f.path, a->folder.path) != 0)
            fd = stored_file_look(&f, id);
    }
    return fd;
}

static struct stored *make_beside(struct stored_all *a, int fd, const char *tenant, const char *id)
{
    struct stored_head h = {.n_body = 0};
    int64_t size = disk_size(fd), n = 0;
    struct stored *s = NULL;
    struct buf image;
    size_t n_head = 0;

    buf_init(&image, STORED_ANSWER_MAX);
    if (size > 0 && !buf_reserve(&image, (size_t)size))
        n = disk_read_at(fd, image.data, (size_t)size, 0);
    image.len = n > 0 ? (size_t)n : 0;
    if (image.len)
        n_head = stored_read_head(image.data, image.len, &h);
    if (n_head && !strcmp(h.text[STORED_ID], id) &&
        (!tenant || !strcmp(h.text[STORED_TENANT], tenant)))
        s = stored_make(a, &h);
    if (s) {
        s->state = IS_ELSEWHERE;
        s->fd = fd;
        s->n_public = n_head;
        stored_story_begin(&s->story, &h);
        buf_take(&s->image, &image);
        go_on(s);
    }
    buf_done(&image);
    return s;
}

struct stored *stored_find_beside(struct stored_all *a, const char *tenant, const char *id)
{
    int fd = stored_is_id(id) ? open_beside(a, id) : -1;
    struct stored *s = fd < 0 ? NULL : make_beside(a, fd, tenant, id), *there = NULL;

    if (fd >= 0 && !s)
        disk_close(fd);
    pthread_mutex_lock(&a->lock);
    /* Another has found it, too; or it was taken over while it was looked for. */
    there = stored_by_id(a, id);
    if (there && tenant && strcmp(there->tenant, tenant) != 0)
        there = NULL;
    if (!there && s && a->bytes_elsewhere + (int64_t)s->image.cap <= (int64_t)a->config.memory) {
        stored_link(s);
        there = s;
        s = NULL;
    }
    if (there)
        there->n_holders++;
    pthread_mutex_unlock(&a->lock);
    if (s)
        stored_free(s);
    return there;
}

void stored_remove_beside(const struct stored *s)
{
    struct stored_folder f;

    for (int i = 0; i < STORED_SLOTS; i++) {
        if (!stored_folder_name(&f, s->all->config.folder, i))
            stored_file_remove(&f, s->id);
    }
}

int stored_is_elsewhere(struct stored *s, int64_t wall_us)
{
    int is;

    pthread_mutex_lock(&s->all->lock);
    is = s->state == IS_ELSEWHERE;
    if (is && (wall_us - s->touched_us >= TOUCH_US || wall_us < s->touched_us)) {
        s->touched_us = wall_us;
        disk_touch(s->fd, wall_us);
    }
    pthread_mutex_unlock(&s->all->lock);
    return is;
}

/* ---- taken over ------------------------------------------------------------------------------
 */

struct taking {
    struct stored_all *all;
    const struct stored_heir *heir;
    const struct stored_folder *from;
    int64_t wall_us;
    int n, n_bad, n_left;
    struct err *e;
};

/* It was read here already, or it is new. Under the lock. */
static struct stored *own_one(struct taking *t, struct stored *was, struct stored *fresh)
{
    if (!was) {
        stored_link(fresh);
        return fresh;
    }
    t->all->bytes_elsewhere -= (int64_t)was->n_counted;
    was->n_counted = 0;
    t->all->n++;
    was->state = IS_PENDING;
    disk_close(was->fd);
    was->fd = -1;
    buf_done(&was->image);
    buf_take(&was->image, &fresh->image);
    was->n_public = fresh->n_public;
    return was;
}

/* Under the lock. 0; -1: it stays where it is. */
static int take_in(struct taking *t, struct stored *fresh, const struct stored_story *story,
                   const struct stored_found *found, int is_booked)
{
    struct stored_all *a = t->all;
    struct stored *was = stored_by_id(a, fresh->id), *s;
    size_t end;

    if ((was && was->state != IS_ELSEWHERE) ||
        stored_make_room(a, fresh->tenant, fresh->image.cap, 1) ||
        stored_file_move(t->from, &a->folder, fresh->id))
        return -1;
    s = own_one(t, was, fresh);
    s->is_booked = is_booked;
    s->alone_since_us = t->wall_us;
    s->state = story->is_done && is_booked ? IS_ENDED : IS_PENDING;
    s->until_us = s->state == IS_ENDED ? stored_until(a, found->written_us, t->wall_us) : 0;
    end = s->state == IS_PENDING && story->is_done ? stored_ends_at(s->image.data, s->n_public)
                                                   : s->n_public;
    if (end < s->image.len)
        stored_cut(s, end);
    stored_count(s);
    stored_tell(s);
    return 0;
}

/* One whose owner is gone. What nobody can go on with here is left to who can, for its time. */
static int take(void *arg, const struct stored_found *found)
{
    struct taking *t = arg;
    struct stored_all *a = t->all;
    struct stored_story story;
    struct stored_head h;
    struct stored *fresh;
    int is_booked = 0, r;
    size_t end;

    if (stored_story_read(found->image->data, found->image->len, &h, &story, &end) ||
        strcmp(h.text[STORED_ID], found->id) != 0 ||
        t->wall_us - found->written_us > a->config.window_us) {
        t->n_bad++;
        stored_file_remove(t->from, found->id);
        return 0;
    }
    if (stored_read_move(found->image->data, found->image->len, end)) {
        t->n_left++; /* its own process asks where it is */
        return 0;
    }
    r = t->heir->is_booked(t->heir->arg, h.text[STORED_REQUEST_ID], &is_booked, t->e);
    if (r)
        return r;
    if (!(story.is_done && is_booked) && !t->heir->can_go_on(t->heir->arg, &h)) {
        t->n_left++;
        return 0;
    }
    if (!(fresh = stored_make(a, &h)))
        return err_set(t->e, ERR_NOMEM, "out of memory");
    buf_take(&fresh->image, found->image);
    fresh->image.max = STORED_ANSWER_MAX;
    fresh->n_public = end;
    pthread_mutex_lock(&a->lock);
    r = take_in(t, fresh, &story, found, is_booked);
    t->n += !r;
    t->n_left += r != 0;
    if (stored_by_id(a, found->id) != fresh)
        stored_free(fresh);
    pthread_mutex_unlock(&a->lock);
    return 0;
}

int stored_inherit(struct stored_all *a, const struct stored_heir *heir, int64_t wall_us,
                   struct err *e)
{
    struct taking t = {.all = a, .heir = heir, .wall_us = wall_us, .e = e};
    struct stored_folder f;
    int r = 0;

    if (!*a->folder.path || (wall_us < a->heir_us && a->heir_us - wall_us <= HEIR_AGAIN_US))
        return 0;
    for (int i = 0; i < STORED_SLOTS && !r; i++) {
        if (stored_folder_have(&f, a->config.folder, i))
            continue;
        t.from = &f;
        r = stored_folder_each(&f, take, &t, e);
        stored_folder_close(&f);
    }
    if (r || t.n_left)
        a->heir_us = wall_us + HEIR_AGAIN_US;
    if (t.n || t.n_bad)
        LOG_EVENT(LOG_INFO, "stored answers taken over", LOG_INT("n", t.n),
                  LOG_INT("removed", t.n_bad), LOG_INT("left", t.n_left));
    return r;
}
