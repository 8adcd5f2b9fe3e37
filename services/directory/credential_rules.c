/*
 * credential_rules.c - see credential_rules.h.
 */
#include "services/directory/credential_rules.h"

#include "services/directory/employee_rules.h"

#define Z85_KEY_LEN 40

static int z85_digit(char c)
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 ".-:+=^!/*?&<>()[]{}@%$#";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Five digits are one number of 32 bits; not all of them fit. */
static bool z85_group(const char *text, uint64_t *value_out)
{
    uint64_t value = 0;

    for (int i = 0; i < 5; i++) {
        int digit = z85_digit(text[i]);
        if (digit < 0)
            return false;
        value = value * 85 + (uint64_t)digit;
    }
    *value_out = value;
    return value <= UINT32_MAX;
}

bool credential_rules_z85_ok(const char *text)
{
    uint64_t all = 0, value;

    if (strlen(text) != Z85_KEY_LEN)
        return false;
    for (size_t i = 0; i < Z85_KEY_LEN; i += 5) {
        if (!z85_group(text + i, &value))
            return false;
        all |= value;
    }
    return all != 0;
}

static bool holds(const PbPrincipal *p, const char *scope)
{
    for (size_t i = 0; i < p->n_scopes; i++)
        if (strcmp(p->scopes[i], scope) == 0)
            return true;
    return false;
}

static bool is_general_manager(const PbPrincipal *p)
{
    for (size_t i = 0; i < p->n_roles; i++)
        if (strcmp(p->roles[i], "general_manager") == 0)
            return true;
    return false;
}

bool credential_rules_may_stand_for(const PbPrincipal *giver, const struct dir_employee *actor,
                                    const PbEmployee *holder, size_t nscopes, const char **text_out)
{
    bool is_service = giver->kind == DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SERVICE;
    char own[ID_TEXT_MAX];

    if (giver->kind == DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SYSTEM)
        return true;
    *text_out = "a service account without tenant.all makes keys of service accounts only";
    if (is_service && !holds(giver, "tenant.all"))
        return false;
    *text_out = "name scopes: a key without them acts with all rights of the employee";
    if (giver->n_scopes > 0 && nscopes == 0)
        return false;
    *text_out = "only the general manager makes a key of an employee with this role";
    if (is_service)
        return !employee_rules_is_powerful(holder);
    return actor && (dir_employee_has_role(actor, "general_manager") ||
                     strcmp(id_text(actor->id, own), holder->id) == 0 ||
                     !employee_rules_is_powerful(holder));
}

bool credential_rules_may_grant(const PbPrincipal *giver, char *const *scopes, size_t n,
                                const char **scope_out)
{
    bool is_person = giver->kind == DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_EMPLOYEE;
    bool as_himself = is_person && giver->n_scopes == 0;

    if (giver->kind == DAYBOOK__COMMON__V1__ACTOR_KIND__ACTOR_KIND_SYSTEM)
        return true;
    for (size_t i = 0; i < n; i++) {
        /* of no person's scopes: a token may name what its issuer thinks fit */
        bool is_all = is_person && strcmp(scopes[i], "tenant.all") == 0;
        if ((is_all && !is_general_manager(giver)) || (!as_himself && !holds(giver, scopes[i]))) {
            *scope_out = scopes[i];
            return false;
        }
    }
    return true;
}
