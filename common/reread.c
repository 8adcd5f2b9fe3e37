#include "common/reread.h"

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/config.h"
#include "common/log.h"

struct reread_file {
    const char *setting, *loaded, *path;
    char last[REREAD_TEXT_MAX]; /* what was good */
    uint64_t turn;              /* of the reading that it is of */
    bool faulty;
};

static pthread_mutex_t lock =
    PTHREAD_MUTEX_INITIALIZER; /* of last and faulty; the rest is constant */
static struct reread_file watched[REREAD_MAX];
static size_t nwatched;
static _Atomic uint64_t turns;

void reread_watch(const char *setting, const char *text, const char *path)
{
    if (nwatched == REREAD_MAX || !path || !text || strlen(text) >= REREAD_TEXT_MAX)
        return;
    struct reread_file *w = &watched[nwatched++];
    *w = (struct reread_file){ .setting = setting, .loaded = text, .path = path };
    memcpy(w->last, text, strlen(text) + 1);
}

static char *copy_of(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

void reread_free(char *copy)
{
    if (copy)
        sodium_memzero(copy, strlen(copy));
    free(copy);
}

void reread_freep(char **copy)
{
    reread_free(*copy);
}

/* NULL, or what is wrong with the file. */
static const char *read_into(const struct reread_file *w, char *text, reread_good_fn *good)
{
    const char *wrong = config_read_file(w->path, text, REREAD_TEXT_MAX);
    if (!wrong && !*text)
        wrong = "the file is empty";
    if (!wrong && good && !good(text))
        wrong = "what it holds cannot be used";
    return wrong;
}

/* Takes what was read, or keeps what was there. Under the lock. */
static char *take(struct reread_file *w, uint64_t turn, const char *wrong, const char *text)
{
    if (turn < w->turn) /* somebody who began later was faster */
        return copy_of(w->last);
    w->turn = turn;
    if (wrong && !w->faulty)
        log_warn("setting.kept", wrong, "setting", w->setting, "file", w->path, NULL);
    w->faulty = wrong != NULL;
    if (!wrong && strcmp(w->last, text) != 0) {
        sodium_memzero(w->last, sizeof w->last);
        memcpy(w->last, text, strlen(text) + 1);
        log_info("setting.read_anew", "holds for new connections", "setting", w->setting, NULL);
    }
    return copy_of(w->last);
}

struct reread_file *reread_of(const char *text)
{
    for (size_t i = 0; i < nwatched; i++)
        if (watched[i].loaded == text)
            return &watched[i];
    return NULL;
}

char *reread(struct reread_file *w, const char *text, reread_good_fn *good)
{
    if (!w)
        return copy_of(text);
    char *now = sodium_init() < 0 ? NULL : sodium_malloc(REREAD_TEXT_MAX);
    if (!now)
        return NULL;
    uint64_t turn = atomic_fetch_add(&turns, 1) + 1;
    const char *wrong = read_into(w, now, good); /* may wait for a disk: before the lock */
    pthread_mutex_lock(&lock);
    char *copy = take(w, turn, wrong, now);
    pthread_mutex_unlock(&lock);
    sodium_free(now);
    return copy;
}

void reread_stop(void)
{
    sodium_memzero(watched, sizeof watched);
    nwatched = 0;
}
