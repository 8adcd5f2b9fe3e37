/*
 * identity.c - see identity.h.
 */
#include "services/gateway/identity.h"

#include <sodium.h>
#include <strings.h>

#include "common/clock.h"
#include "common/directory.h"
#include "common/secret.h"

#define SCHEME "Bearer "
#define KEY_PREFIX "dbk_"
#define HASH_TEXT 65

typedef const struct dir_key *find_fn(const struct directory *d, struct id credential);

/* Cuts "<id>_<secret>" up. */
static bool cut(const char *token, struct id *id_out, const char **secret_out)
{
    char text[ID_TEXT_MAX];
    size_t len = sizeof(text) - 1;

    if (strnlen(token, len + 2) < len + 2 || token[len] != '_')
        return false;
    memcpy(text, token, len);
    text[len] = '\0';
    *secret_out = token + len + 1;
    return id_parse(text, id_out);
}

/* The hash is made even where there is no such key, so that time does not tell which there are. */
static const struct dir_key *prove_key(const struct directory *dir, const char *token,
                                       find_fn *find)
{
    static const char nobody[HASH_TEXT] = "";
    char hash[HASH_TEXT];
    const char *secret;
    struct id id;

    if (!cut(token, &id, &secret) || !secret_hash_token(secret, hash))
        return NULL;
    const struct dir_key *key = find(dir, id);
    const char *want = key && strlen(key->secret_hash) == HASH_TEXT - 1 ? key->secret_hash : nobody;
    return sodium_memcmp(hash, want, HASH_TEXT) == 0 ? key : NULL;
}

static size_t copy_texts(struct arena *a, const char *const *list, size_t max, char ***out)
{
    size_t n = 0;

    while (list && n < max && list[n])
        n++;
    *out = arena_array(a, n + 1, sizeof(**out));
    for (size_t i = 0; *out && i < n; i++)
        (*out)[i] = arena_strdup(a, list[i]);
    return n;
}

static bool has_gaps(char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!list[i])
            return true;
    return false;
}

/* False: the employee has left. */
static bool add_roles(const struct directory *dir, const struct dir_key *key, struct arena *a,
                      PbPrincipal *p)
{
    p->kind = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE;
    if (!key->is_employee)
        return true;
    const struct dir_employee *e = directory_employee(dir, key->tenant, key->actor);
    if (!e || !e->active)
        return false;
    p->kind = DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE;
    p->n_roles = copy_texts(a, e->roles, DIR_ROLES_MAX, &p->roles);
    return true;
}

static enum err make_principal(const struct directory *dir, const struct dir_key *key,
                               struct arena *a, const PbPrincipal **principal_out,
                               const char **text_out)
{
    PbPrincipal *p = wire_new(&daybook__common__v1__principal__descriptor, a);
    char text[ID_TEXT_MAX];

    if (!p)
        return ERR_RESOURCE_EXHAUSTED;
    if (!add_roles(dir, key, a, p)) {
        *text_out = "the employee of this API key has left";
        return ERR_UNAUTHENTICATED;
    }
    p->tenant_id = arena_strdup(a, id_text(key->tenant, text));
    p->actor_id = arena_strdup(a, id_text(key->actor, text));
    p->n_scopes = copy_texts(a, key->scopes, SIZE_MAX, &p->scopes);
    if (!p->tenant_id || !p->actor_id || !p->scopes || has_gaps(p->scopes, p->n_scopes) ||
        (p->n_roles && (!p->roles || has_gaps(p->roles, p->n_roles))))
        return ERR_RESOURCE_EXHAUSTED;
    *principal_out = p;
    return ERR_OK;
}

static bool has_expired(const struct dir_key *key)
{
    return key->expires_at_us && key->expires_at_us <= clock_wall_us();
}

static const struct dir_key *prove_api_key(const struct directory *dir, const char *token)
{
    if (strncmp(token, KEY_PREFIX, strlen(KEY_PREFIX)) != 0)
        return NULL;
    return prove_key(dir, token + strlen(KEY_PREFIX), directory_api_key);
}

enum err identity_prove(const char *authorization, struct arena *a, struct proof *proof_out,
                        const char **text_out)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();

    if (!authorization || strncasecmp(authorization, SCHEME, strlen(SCHEME)) != 0) {
        *text_out = "send an API key: Authorization: Bearer dbk_...";
        return ERR_UNAUTHENTICATED;
    }
    if (!dir) {
        *text_out = "the directory is not loaded yet; try again";
        return ERR_UNAVAILABLE;
    }
    const char *token = authorization + strlen(SCHEME);
    const struct dir_key *key = prove_api_key(dir, token + strspn(token, " "));
    if (!key) {
        *text_out = "this API key is not known, or was ended";
        return ERR_UNAUTHENTICATED;
    }
    if (has_expired(key)) {
        *text_out = "this API key has expired";
        return ERR_UNAUTHENTICATED;
    }
    proof_out->key = key->credential;
    return make_principal(dir, key, a, &proof_out->principal, text_out);
}

enum err identity_prove_feed(const char *token, struct arena *a, struct proof *proof_out,
                             const char **text_out)
{
    CLEANUP(directory_releasep) const struct directory *dir = directory_acquire();

    if (!dir) {
        *text_out = "the directory is not loaded yet; try again";
        return ERR_UNAVAILABLE;
    }
    const struct dir_key *key = prove_key(dir, token, directory_calendar_feed);
    if (!key || has_expired(key)) {
        *text_out = "there is no such calendar";
        return ERR_NOT_FOUND;
    }
    proof_out->key = key->credential;
    enum err e = make_principal(dir, key, a, &proof_out->principal, text_out);
    if (!e && key->is_employee)
        proof_out->name = arena_strdup(a, directory_employee(dir, key->tenant, key->actor)->name);
    return e == ERR_UNAUTHENTICATED ? ERR_NOT_FOUND : e;
}
