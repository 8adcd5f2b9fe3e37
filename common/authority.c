/*
 * authority.c - one rule of sight, by role (ORG-01, ORG-02), asked one row at a time or as a list
 * of owners for a query.
 */
#include "common/authority.h"

#include "common/metrics.h"
#include "common/sbuf.h"

#define SCOPE_ALL "tenant.all"
#define SCOPE_MAX 64
#define OWNERS_LIMIT (4 * MIB)

enum sight {
    SIGHT_OWN,   /* his own and, as for everybody, those below him in the reporting line */
    SIGHT_UNIT,  /* also everybody's of his unit */
    SIGHT_BELOW, /* also of the units below */
    SIGHT_ALL,
};

static const struct role_sight {
    const char *role;
    enum sight sight;
} role_sights[] = {
    { "team_lead", SIGHT_UNIT },      { "supervisor", SIGHT_BELOW },
    { "sales_manager", SIGHT_BELOW }, { "regional_manager", SIGHT_BELOW },
    { "general_manager", SIGHT_ALL },
};

static struct metric denied_total = {
    .name = "daybook_authz_denied_total",
    .type = METRIC_COUNTER,
    .help = "Requests refused because the actor may not see or do it.",
};

static const PbPrincipal *principal(const struct call *call)
{
    return call->context ? call->context->principal : NULL;
}

static bool is_kind(const struct call *call, int kind)
{
    const PbPrincipal *p = principal(call);
    return p && (int)p->kind == kind;
}

bool authority_is_system(const struct call *call)
{
    return is_kind(call, DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SYSTEM);
}

static bool lists_scope(const struct call *call, const char *scope)
{
    const PbPrincipal *p = principal(call);

    for (size_t i = 0; p && i < p->n_scopes; i++)
        if (strcmp(p->scopes[i], scope) == 0)
            return true;
    return false;
}

/* An employee who acts with a key of his own is bound by its scopes; one whom the edge let in as
 * himself carries none and is judged by role and row. */
bool authority_has_scope(const struct call *call, const char *scope)
{
    const PbPrincipal *p = principal(call);

    if (p == NULL)
        return false;
    if (authority_is_system(call))
        return true;
    if (is_kind(call, DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE) && p->n_scopes == 0)
        return true;
    return lists_scope(call, scope);
}

bool authority_scope_ok(const char *scope)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz_";
    size_t area = strspn(scope, letters);

    if (area == 0 || scope[area] != '.' || strlen(scope) > SCOPE_MAX)
        return false;
    size_t verb = strspn(scope + area + 1, letters);
    return verb > 0 && scope[area + 1 + verb] == '\0';
}

static bool is_all_seeing(const struct call *call)
{
    return authority_is_system(call) ||
           (is_kind(call, DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE) &&
            lists_scope(call, SCOPE_ALL));
}

static enum sight sight_of(const struct dir_employee *e)
{
    enum sight widest = SIGHT_OWN;

    for (size_t i = 0; i < ARRAY_LEN(role_sights); i++)
        if (dir_employee_has_role(e, role_sights[i].role))
            widest = MAX(widest, role_sights[i].sight);
    return widest;
}

static bool sees_employee(const struct dir_employee *me, enum sight sight,
                          const struct dir_employee *other)
{
    if (sight == SIGHT_ALL || id_equal(me->id, other->id) || dir_is_superior(me, other))
        return true;
    if (me->unit == NULL || other->unit == NULL || dir_is_superior(other, me))
        return false; /* a unit's head does not see the one above him who belongs to it too */
    if (sight == SIGHT_BELOW)
        return dir_unit_is_below(other->unit, me->unit);
    return sight == SIGHT_UNIT && id_equal(other->unit->id, me->unit->id);
}

/* An owner who is not in the directory belongs to nobody's team: only those see him who see all. */
bool authority_sees(const struct call *call, struct id owner)
{
    if (is_all_seeing(call))
        return true;
    if (!id_is_nil(owner) && id_equal(owner, call->actor))
        return true;
    if (call->employee == NULL || call->dir == NULL)
        return false;
    enum sight sight = sight_of(call->employee);
    if (sight == SIGHT_ALL)
        return true;
    const struct dir_employee *other = directory_employee(call->dir, call->tenant, owner);
    return other && sees_employee(call->employee, sight, other);
}

static enum err denied(struct call *call, enum err code, const char *reason)
{
    metric_add(&denied_total, 1, NULL);
    return call_reason(call, code, reason);
}

/* Whether the people needed for a judgement are known at all. */
static enum err need_directory(struct call *call)
{
    if (call->dir || !is_kind(call, DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE))
        return ERR_OK;
    enum err e = call_fail(call, ERR_UNAVAILABLE, "", "the directory is not loaded yet; try again");
    return call_reason(call, e, "DIRECTORY_NOT_LOADED");
}

enum err authority_need_sight(struct call *call, struct id owner, const char *what)
{
    if (authority_sees(call, owner))
        return ERR_OK;
    enum err e = need_directory(call);
    if (e)
        return e;
    call_out_of_sight(call);
    e = call_fail(call, ERR_NOT_FOUND, "", "there is no such %s", what);
    return denied(call, e, "NOT_FOUND"); /* as if it did not exist */
}

static bool has_any_role(const struct dir_employee *e, const char *const *roles)
{
    for (; *roles; roles++)
        if (dir_employee_has_role(e, *roles))
            return true;
    return false;
}

static const char *join(struct call *call, const char *const *roles)
{
    struct sbuf text;
    char mem[256];

    sbuf_init_fixed(&text, mem, sizeof mem);
    for (size_t i = 0; roles[i]; i++) {
        if (i)
            sbuf_add_text(&text, ", ");
        sbuf_add_text(&text, roles[i]);
    }
    const char *copy = arena_strdup(call->arena, text.data);
    return copy ? copy : "";
}

enum err authority_need_role(struct call *call, const char *const *roles, const char *what)
{
    if (is_all_seeing(call) || (call->employee && has_any_role(call->employee, roles)))
        return ERR_OK;
    enum err e = need_directory(call);
    if (e)
        return e;
    const char *names = join(call, roles);
    call_detail(call, "roles", names);
    e = call_fail(call, ERR_PERMISSION_DENIED, "", "to %s one of these roles is needed: %s", what,
                  names);
    return denied(call, e, "ROLE_REQUIRED");
}

enum err authority_need_manager(struct call *call, const char *what)
{
    static const char *const roles[] = { "general_manager", NULL };
    bool is_person = is_kind(call, DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE);

    return is_person ? authority_need_role(call, roles, what) : ERR_OK;
}

enum err authority_need_approver(struct call *call, struct id submitter, const char *const *roles,
                                 const char *what)
{
    if (authority_is_system(call))
        return ERR_OK;
    enum err e = need_directory(call);
    if (e)
        return e;
    if (id_equal(submitter, call->actor)) {
        e = call_fail(call, ERR_PERMISSION_DENIED, "", "nobody may %s his own", what);
        return denied(call, e, "OWN_SUBMISSION");
    }
    const struct dir_employee *by =
        call->dir ? directory_employee(call->dir, call->tenant, submitter) : NULL;
    if (by && call->employee && dir_is_superior(call->employee, by) &&
        has_any_role(call->employee, roles))
        return ERR_OK;
    const char *names = join(call, roles);
    call_detail(call, "roles", names);
    e = call_fail(call, ERR_PERMISSION_DENIED, "",
                  "to %s one must stand above the submitter with one of these roles: %s", what,
                  names);
    return denied(call, e, "APPROVER_REQUIRED");
}

/* --- lists --- */

struct gather {
    const struct dir_employee *me;
    enum sight sight;
    struct sbuf text;
};

static void add_owner(struct gather *g, struct id id)
{
    char buf[ID_TEXT_MAX];

    sbuf_add_char(&g->text, g->text.len ? ',' : '{');
    sbuf_add_text(&g->text, id_text(id, buf));
}

static bool gather_one(void *ctx, const struct dir_employee *e)
{
    struct gather *g = ctx;

    if (!id_equal(e->id, g->me->id) && sees_employee(g->me, g->sight, e))
        add_owner(g, e->id);
    return !g->text.bad;
}

const char *authority_visible_owners(struct call *call)
{
    if (is_all_seeing(call))
        return NULL;
    struct gather g = { .me = call->employee, .sight = SIGHT_OWN };
    if (call->employee)
        g.sight = sight_of(call->employee);
    if (g.sight == SIGHT_ALL)
        return NULL;

    sbuf_init(&g.text, OWNERS_LIMIT);
    add_owner(&g, call->actor);
    if (call->employee && call->dir)
        directory_each_employee(call->dir, call->tenant, gather_one, &g);
    sbuf_add_char(&g.text, '}');
    const char *copy = g.text.bad ? NULL : arena_strdup(call->arena, g.text.data);
    sbuf_fini(&g.text);
    return copy ? copy : "{}"; /* never NULL, which would mean everything */
}
