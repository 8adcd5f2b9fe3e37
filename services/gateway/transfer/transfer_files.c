/*
 * transfer_files.c - see transfer_files.h: files, ports, the thread. What is done with an upload's
 * bytes stands in transfer_upload.c.
 */
#include "services/gateway/transfer/transfer_files_internal.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mdp.h"

#define FILES_MAX 64
#define TENANT_FILES_MAX 16 /* of them */
#define ACTOR_FILES_MAX 4   /* of these: one alone does not stop the others of a company */
#define ENOUGH (512 * KIB)  /* of an upload that the thread has not taken yet */
#define TURN_US SECOND_US

struct transfer_files *transfer_files_new(const char *conninfo)
{
    struct transfer_files *f = calloc(1, sizeof(*f));

    if (!f)
        return NULL;
    pthread_mutex_init(&f->lock, NULL);
    f->box.fd = -1;
    if (transfer_store_init(&f->store, conninfo) && mailbox_init(&f->box))
        return f;
    transfer_files_free(f);
    return NULL;
}

static void file_free(struct transfer_file *x)
{
    transfer_upload_fini(x);
    transfer_download_fini(x);
    sbuf_fini(&x->in);
    sbuf_fini(&x->taken);
    sbuf_fini(&x->out);
    arena_free(x->arena);
    free(x);
}

static void unlink_file(struct transfer_files *f, struct transfer_file *x)
{
    struct transfer_file **at = &f->first;

    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    f->count--;
}

void transfer_files_free(struct transfer_files *f)
{
    if (!f)
        return;
    while (f->first) {
        struct transfer_file *x = f->first;
        unlink_file(f, x);
        file_free(x);
    }
    transfer_store_fini(&f->store);
    mailbox_fini(&f->box);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* --- ports -------------------------------------------------------------------------------------- */

struct transfer_port *transfer_port_new(struct transfer_files *f)
{
    struct transfer_port *p = calloc(1, sizeof(*p));

    if (!p || !mailbox_init(&p->box)) {
        free(p);
        return NULL;
    }
    p->files = f;
    return p;
}

void transfer_port_free(struct transfer_port *p)
{
    if (!p)
        return;
    mailbox_fini(&p->box);
    free(p);
}

int transfer_port_fd(const struct transfer_port *p)
{
    return p->box.fd;
}

struct transfer_file *transfer_port_next(struct transfer_port *p, void **owner_out)
{
    struct transfer_file *found = NULL;

    (void)mailbox_take(&p->box); /* first, so that no ring is lost */
    pthread_mutex_lock(&p->files->lock);
    for (struct transfer_file *x = p->files->first; x && !found; x = x->next)
        if (x->port == p && x->news && !x->left)
            found = x;
    if (found) {
        found->news = false;
        *owner_out = found->owner;
    }
    pthread_mutex_unlock(&p->files->lock);
    return found;
}

/* NULL: too many, or no memory. */
static struct transfer_file *open_file(struct transfer_port *p, void *owner)
{
    struct transfer_file *x = calloc(1, sizeof(*x));

    if (!x)
        return NULL;
    x->port = p;
    x->owner = owner;
    x->arena = arena_new(MIB);
    sbuf_init(&x->in, 4 * MIB);
    sbuf_init(&x->taken, 4 * MIB);
    sbuf_init(&x->out, 4 * MIB);
    if (x->arena)
        return x;
    file_free(x);
    return NULL;
}

/* False: there are enough, or the thread has ended. */
static bool hand_over(struct transfer_file *x)
{
    struct transfer_files *f = x->port->files;

    size_t same = 0, own = 0;

    pthread_mutex_lock(&f->lock);
    for (struct transfer_file *y = f->first; y; y = y->next) {
        same += id_equal(y->id.tenant, x->id.tenant);
        own += id_equal(y->reader.actor, x->reader.actor);
    }
    bool ok =
        !f->closed && f->count < FILES_MAX && same < TENANT_FILES_MAX && own < ACTOR_FILES_MAX;
    if (ok) {
        x->next = f->first;
        f->first = x;
        f->count++;
    }
    pthread_mutex_unlock(&f->lock);
    if (ok)
        mailbox_ring(&f->box);
    else
        file_free(x);
    return ok;
}

void transfer_file_leave(struct transfer_file *x)
{
    struct transfer_files *f = x->port->files;

    pthread_mutex_lock(&f->lock);
    x->left = true;
    pthread_mutex_unlock(&f->lock);
    mailbox_ring(&f->box);
}

/* --- uploads, as their loop sees them ----------------------------------------------------------- */

struct transfer_file *transfer_upload_open(struct transfer_port *p,
                                           const struct transfer_upload *what, void *owner)
{
    struct transfer_file *x = open_file(p, owner);

    if (!x)
        return NULL;
    x->is_upload = true;
    if (!transfer_upload_init(x, what)) {
        file_free(x);
        return NULL;
    }
    return hand_over(x) ? x : NULL;
}

bool transfer_upload_add(struct transfer_file *x, const void *data, size_t len)
{
    struct transfer_files *f = x->port->files;

    pthread_mutex_lock(&f->lock);
    sbuf_add(&x->in, data, len);
    bool enough = x->in.len >= ENOUGH;
    x->asked = x->asked || enough;
    pthread_mutex_unlock(&f->lock);
    mailbox_ring(&f->box);
    return !enough;
}

bool transfer_upload_wants(struct transfer_file *x)
{
    struct transfer_files *f = x->port->files;

    pthread_mutex_lock(&f->lock);
    bool wants = x->in.len < ENOUGH;
    pthread_mutex_unlock(&f->lock);
    return wants;
}

void transfer_upload_end(struct transfer_file *x)
{
    struct transfer_files *f = x->port->files;

    pthread_mutex_lock(&f->lock);
    x->ended = true;
    pthread_mutex_unlock(&f->lock);
    mailbox_ring(&f->box);
}

bool transfer_upload_result(struct transfer_file *x, struct transfer_uploaded *out)
{
    struct transfer_files *f = x->port->files;

    pthread_mutex_lock(&f->lock);
    bool over = x->over;
    if (over)
        *out = x->uploaded;
    pthread_mutex_unlock(&f->lock);
    return over;
}

/* --- downloads, as their loop sees them --------------------------------------------------------- */

struct transfer_file *transfer_download_open(struct transfer_port *p, struct transfer_id t,
                                             bool is_export, const struct transfer_reader *who,
                                             void *owner)
{
    struct transfer_file *x = open_file(p, owner);

    if (!x)
        return NULL;
    x->id = t;
    x->is_export = is_export;
    x->reader =
        (struct transfer_reader){ .actor = who->actor,
                                  .remote_address = arena_strdup(x->arena, who->remote_address),
                                  .request_id = arena_strdup(x->arena, who->request_id) };
    if (!x->reader.remote_address || !x->reader.request_id) {
        file_free(x);
        return NULL;
    }
    return hand_over(x) ? x : NULL;
}

bool transfer_download_found(struct transfer_file *x, enum err *code_out, int64_t *len_out,
                             char sha256_out[static 65])
{
    struct transfer_files *f = x->port->files;

    pthread_mutex_lock(&f->lock);
    bool found = x->found;
    *code_out = x->code;
    *len_out = x->len;
    memcpy(sha256_out, x->sha256, sizeof(x->sha256));
    pthread_mutex_unlock(&f->lock);
    return found;
}

void transfer_download_start(struct transfer_file *x, int64_t from, int64_t len, bool gzip)
{
    struct transfer_files *f = x->port->files;

    pthread_mutex_lock(&f->lock);
    x->started = x->asked = true;
    x->from = x->at = from;
    x->until = from + len;
    x->gzip = gzip;
    pthread_mutex_unlock(&f->lock);
    mailbox_ring(&f->box);
}

bool transfer_download_take(struct transfer_file *x, bool more, struct sbuf *out, bool *end_out)
{
    struct transfer_files *f = x->port->files;

    sbuf_clear(out);
    pthread_mutex_lock(&f->lock);
    sbuf_add(out, x->out.data, x->out.len);
    sbuf_clear(&x->out);
    *end_out = x->over;
    bool ok = !x->code && !out->bad;
    x->asked = more && !x->over;
    pthread_mutex_unlock(&f->lock);
    if (more && !*end_out)
        mailbox_ring(&f->box);
    return ok;
}

/* --- the thread --------------------------------------------------------------------------------- */

static bool has_work(const struct transfer_file *x)
{
    if (x->left)
        return true;
    if (x->is_upload)
        return x->in.len || (x->ended && !x->over);
    return !x->found || (x->started && x->asked && !x->over && !x->out.len);
}

/* Tells the loop, under the lock. */
static void tell(struct transfer_file *x)
{
    x->news = true;
    mailbox_ring(&x->port->box);
}

/* The lock is held between steps, not while the database is waited for. */
static void step_upload(struct transfer_files *f, struct transfer_file *x)
{
    struct sbuf taken = x->taken;
    bool was_asked = x->asked, ended;

    x->taken = x->in;
    x->in = taken;
    x->asked = false;
    ended = x->ended;
    pthread_mutex_unlock(&f->lock);
    bool was_over = x->over;
    struct transfer_uploaded result = x->uploaded;
    bool over = was_over || transfer_upload_step(&f->store, x, ended, &result);
    sbuf_clear(&x->taken);
    if (over && !was_over && !result.code && f->begun)
        f->begun(f->arg);
    pthread_mutex_lock(&f->lock);
    x->uploaded = result;
    x->over = over;
    if (was_asked || (over && !was_over))
        tell(x);
}

static void step_download(struct transfer_files *f, struct transfer_file *x)
{
    pthread_mutex_unlock(&f->lock);
    bool over = false, emitted = false;
    enum err e = x->found ? transfer_download_step(&f->store, x, &over, &emitted)
                          : transfer_download_find(&f->store, x);
    if (emitted && f->emitted)
        f->emitted(f->arg);
    pthread_mutex_lock(&f->lock);
    if (x->found) {
        sbuf_add(&x->out, x->taken.data, x->taken.len);
        sbuf_clear(&x->taken);
        x->over = over || e;
    }
    x->found = true;
    x->code = e;
    tell(x);
}

/* What was left is forgotten, an upload that was not whole with all that was written of it. */
static void bury(struct transfer_files *f, struct transfer_file *x)
{
    unlink_file(f, x);
    pthread_mutex_unlock(&f->lock);
    if (x->is_upload)
        transfer_upload_bury(&f->store, x);
    file_free(x);
    pthread_mutex_lock(&f->lock);
}

/* One round: each file with work has its turn. False: there was none. */
static bool turn(struct transfer_files *f)
{
    struct transfer_file *round[FILES_MAX];
    size_t n = 0;

    pthread_mutex_lock(&f->lock);
    for (struct transfer_file *x = f->first; x; x = x->next)
        if (has_work(x))
            round[n++] = x;
    for (size_t i = 0; i < n; i++) { /* only this thread takes files out */
        struct transfer_file *x = round[i];
        if (x->left)
            bury(f, x);
        else if (x->is_upload)
            step_upload(f, x);
        else
            step_download(f, x);
    }
    pthread_mutex_unlock(&f->lock);
    return n > 0;
}

static bool close_down(struct transfer_files *f)
{
    pthread_mutex_lock(&f->lock);
    f->closed = f->count == 0;
    bool closed = f->closed;
    pthread_mutex_unlock(&f->lock);
    return closed;
}

struct host {
    struct daemon_waker *waker;
};

static void wake_relay(void *arg)
{
    daemon_wake(((struct host *)arg)->waker, BUS_WAKE_RELAY, NULL, 0);
}

static void wake_work(void *arg)
{
    daemon_wake(((struct host *)arg)->waker, WAKE_TRANSFERS, "", 0);
}

void transfer_files_run(struct transfer_files *f, struct daemon *d)
{
    struct host h = { .waker = daemon_waker_new(d) };

    if (!h.waker) {
        log_error("transfer.no_start", "out of memory; no files are taken or given", NULL);
        return;
    }
    f->arg = &h;
    f->emitted = wake_relay;
    f->begun = wake_work;
    while (!daemon_stopping(d) || !close_down(f)) {
        (void)mailbox_take(&f->box);
        if (!turn(f))
            (void)mailbox_wait(&f->box, daemon_stopping(d) ? 50 * MSEC_US : TURN_US);
    }
    daemon_waker_free(h.waker);
}
