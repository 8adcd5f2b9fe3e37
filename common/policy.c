/*
 * policy.c - judging and reading values of the rule book.
 *
 * Keys are found through a hash of the table, made once. A value that is stored was accepted when
 * it was set; should a later version of the table narrow a type, readers fall back to the default
 * rather than count with nonsense.
 */
#include "common/policy.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>

#include "common/num.h"
#include "common/policy_table.h"
#include "common/tz.h"
#include "common/utf8.h"

#define VALUE_BYTES_MAX 1000
#define WORD_MAX POLICY_WORD_MAX
#define SLOTS 1024 /* a power of two, several times the table */

static uint16_t slots[SLOTS]; /* index + 1; 0 = empty */
static pthread_once_t slots_once = PTHREAD_ONCE_INIT;

static uint32_t hash_text(const char *s)
{
    uint32_t h = 2166136261U; /* FNV-1a: the keys are ours, nobody floods this table */
    for (; *s; s++)
        h = (h ^ (uint8_t)*s) * 16777619U;
    return h;
}

static void fill_slots(void)
{
    assert(policy_table_len < SLOTS / 2);
    for (size_t i = 0; i < policy_table_len; i++) {
        uint32_t at = hash_text(policy_table[i].key) % SLOTS;
        while (slots[at])
            at = (at + 1) % SLOTS;
        slots[at] = (uint16_t)(i + 1);
    }
}

const struct policy_def *policy_find(const char *key)
{
    if (!key)
        return NULL;
    pthread_once(&slots_once, fill_slots);
    for (uint32_t at = hash_text(key) % SLOTS; slots[at]; at = (at + 1) % SLOTS) {
        const struct policy_def *def = &policy_table[slots[at] - 1];
        if (strcmp(def->key, key) == 0)
            return def;
    }
    return NULL;
}

const struct policy_def *policy_all(size_t *n_out)
{
    *n_out = policy_table_len;
    return policy_table;
}

const char *policy_type_name(enum policy_type type)
{
    static const char *const names[] = {
        [POLICY_TYPE_INT] = "int",           [POLICY_TYPE_HOURS] = "hours",
        [POLICY_TYPE_MINUTES] = "minutes",   [POLICY_TYPE_DAYS] = "days",
        [POLICY_TYPE_WORKDAYS] = "workdays", [POLICY_TYPE_PERCENT] = "percent",
        [POLICY_TYPE_DECIMAL] = "decimal",   [POLICY_TYPE_BOOL] = "bool",
        [POLICY_TYPE_TIME] = "time",         [POLICY_TYPE_OFFSETS] = "offsets",
        [POLICY_TYPE_TEXT] = "text",         [POLICY_TYPE_LIST] = "list",
    };
    return names[type];
}

/* --- words of a list ------------------------------------------------------------------------- */

/* Copies the next word up to the comma. False: the end, or (bad) an empty or overlong word. */
static bool next_word(const char **at, char word[static WORD_MAX], bool *bad)
{
    const char *p = *at;
    if (!p || !*p)
        return false;
    size_t len = strcspn(p, ",");
    /* A comma must be followed by a word. */
    if (len == 0 || len >= WORD_MAX || (p[len] == ',' && p[len + 1] == '\0')) {
        *bad = true;
        return false;
    }
    memcpy(word, p, len);
    word[len] = '\0';
    *at = p[len] ? p + len + 1 : p + len;
    return true;
}

/* Whether every word of the list satisfies `fits`; an empty list does. */
static bool each_word(const char *text, bool (*fits)(const char *word, const char *arg),
                      const char *arg)
{
    char word[WORD_MAX];
    bool bad = false;
    while (next_word(&text, word, &bad))
        if (!fits(word, arg))
            return false;
    return !bad;
}

static bool is_word(const char *word, const char *arg)
{
    (void)arg;
    return strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:+-%") ==
           strlen(word);
}

/* arg: "a|b|c" */
static bool is_choice(const char *word, const char *arg)
{
    size_t len = strlen(word);
    while (*arg) {
        size_t n = strcspn(arg, "|");
        if (n == len && memcmp(arg, word, n) == 0)
            return true;
        arg += n + (arg[n] == '|');
    }
    return false;
}

/* --- times, spans, weekdays ------------------------------------------------------------------ */

/* HH:MM at p, 00:00 to 24:00; the minute, or -1. Looks at five characters. */
static int clock_minute(const char *p)
{
    static const char pattern[] = "dd:dd";
    for (size_t i = 0; i < sizeof(pattern) - 1; i++) {
        bool digit = p[i] >= '0' && p[i] <= '9';
        if (pattern[i] == 'd' ? !digit : p[i] != ':')
            return -1; /* also at the end of the text */
    }
    int hour = (p[0] - '0') * 10 + (p[1] - '0');
    int minute = (p[3] - '0') * 10 + (p[4] - '0');
    if (minute > 59 || hour * 60 + minute > 24 * 60)
        return -1;
    return hour * 60 + minute;
}

static bool is_time_word(const char *text)
{
    return is_choice(text, "workday_start|workday_end|end_of_working_day");
}

int policy_minute(struct policy_value v, int workday_start_minute, int workday_end_minute)
{
    if (strcmp(v.text, "workday_start") == 0)
        return workday_start_minute;
    if (is_time_word(v.text))
        return workday_end_minute;
    int minute = clock_minute(v.text);
    return minute >= 0 ? minute : workday_end_minute;
}

bool policy_span(const char *text, int *from_minute_out, int *to_minute_out)
{
    if (strlen(text) != 11 || text[5] != '-')
        return false;
    int from = clock_minute(text), to = clock_minute(text + 6);
    if (from < 0 || to < 0)
        return false;
    *from_minute_out = from;
    *to_minute_out = to;
    return true;
}

bool policy_week_mask(const char *text, uint8_t *mask_out)
{
    static const char *const names[] = { "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun" };
    char word[WORD_MAX];
    bool bad = false;
    unsigned mask = 0;

    while (next_word(&text, word, &bad)) {
        unsigned bit = 0;
        for (unsigned i = 0; i < ARRAY_LEN(names); i++)
            if (strcmp(word, names[i]) == 0)
                bit = 1U << i;
        if (!bit)
            return false;
        mask |= bit;
    }
    if (bad || !mask)
        return false;
    *mask_out = (uint8_t)mask;
    return true;
}

/* --- offsets and escalation steps ------------------------------------------------------------- */

static bool parse_offset(const char *word, int64_t *us_out)
{
    bool negative = *word == '-';
    int64_t us;
    if (!num_duration_us(word + (*word == '-' || *word == '+'), &us))
        return false;
    *us_out = negative ? -us : us;
    return true;
}

static bool fits_offset(const char *word, const char *arg)
{
    (void)arg;
    int64_t us;
    return parse_offset(word, &us);
}

size_t policy_offsets_us(struct policy_value v, int64_t *out, size_t max)
{
    char word[WORD_MAX];
    bool bad = false;
    size_t n = 0;
    const char *at = v.text;
    while (n < max && next_word(&at, word, &bad))
        if (parse_offset(word, &out[n]))
            n++;
    return n;
}

/* Role codes of a company's own may have digits and points too. */
#define ROLE_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

static bool parse_step(const char *word, struct policy_step *out)
{
    struct policy_step step = { 0 };
    size_t place = strcspn(word, ":");
    const char *recipient = word + place + 1;
    if (!word[place] || strlen(recipient) >= sizeof(step.recipient))
        return false;
    size_t role = strspn(recipient, ROLE_CHARACTERS);
    if (role == 0 || (recipient[role] && strcmp(recipient + role, POLICY_LIST_MARK) != 0))
        return false;
    memcpy(step.recipient, recipient, strlen(recipient) + 1);

    char when[WORD_MAX];
    memcpy(when, word, place);
    when[place] = '\0';
    int64_t n;
    if (place > 1 && when[place - 1] == '%') {
        if (!num_i64_n(when, place - 1, 1, 99, &n))
            return false;
        step.percent = (int)n;
    } else if (place > 2 && strcmp(when + place - 2, "wd") == 0) {
        if (!num_i64_n(when, place - 2, 1, 400, &n))
            return false;
        step.workdays = (int)n;
    } else if (!parse_offset(when, &step.offset_us)) {
        return false;
    }
    *out = step;
    return true;
}

static bool fits_step(const char *word, const char *arg)
{
    (void)arg;
    struct policy_step step;
    return parse_step(word, &step);
}

size_t policy_steps(struct policy_value v, struct policy_step *out, size_t max)
{
    char word[WORD_MAX];
    bool bad = false;
    size_t n = 0;
    const char *at = v.text;
    while (n < max && next_word(&at, word, &bad))
        if (parse_step(word, &out[n]))
            n++;
    return n;
}

/* --- judging ---------------------------------------------------------------------------------- */

static bool form_steps(const char *text)
{
    return each_word(text, fits_step, NULL);
}

static bool form_roles(const char *text)
{
    return each_word(text, is_word, NULL);
}

static bool form_zone(const char *text)
{
    return tz_find(text) != NULL;
}

static bool form_currency(const char *text)
{
    return strlen(text) == 3 && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 3;
}

static bool form_weekdays(const char *text)
{
    uint8_t mask;
    return policy_week_mask(text, &mask);
}

static bool form_span(const char *text)
{
    int from, to;
    return policy_span(text, &from, &to);
}

static bool fits_time(const char *word)
{
    return is_time_word(word) || (strlen(word) == 5 && clock_minute(word) >= 0);
}

static const struct form {
    const char *name;
    bool (*fits)(const char *text);
    const char *expected;
} forms[] = {
    { "zone", form_zone, "a time zone of the IANA list, such as Asia/Shanghai" },
    { "currency", form_currency, "three capital letters, such as CNY" },
    { "weekdays", form_weekdays, "weekdays such as Mon,Tue,Wed, at least one" },
    { "span", form_span, "two times such as 21:00-08:00" },
    { "steps", form_steps,
      "steps such as 0:owner,24h:supervisor,1wd:sales_manager!list,75%:superior" },
    { "roles", form_roles, "role codes such as supervisor,sales_manager" },
};

static bool form_accepts(const struct policy_def *def, const char *value, const char **reason_out)
{
    if (!def->form)
        return true;
    if (def->form[0] == '=') {
        *reason_out = def->form + 1;
        return each_word(value, is_choice, def->form + 1);
    }
    for (size_t i = 0; i < ARRAY_LEN(forms); i++)
        if (strcmp(forms[i].name, def->form) == 0) {
            *reason_out = forms[i].expected;
            return forms[i].fits(value);
        }
    assert(!"a form that policy.c knows");
    return false;
}

static bool is_number(enum policy_type type)
{
    return type <= POLICY_TYPE_DECIMAL;
}

static bool is_whole(enum policy_type type)
{
    return type == POLICY_TYPE_INT || type == POLICY_TYPE_DAYS || type == POLICY_TYPE_WORKDAYS ||
           type == POLICY_TYPE_MINUTES;
}

static bool number_accepts(const struct policy_def *def, const char *value, const char **reason_out)
{
    double number;
    int64_t whole;
    *reason_out = is_whole(def->type) ? "a whole number" : "a decimal number";
    if (!num_double(value, &number))
        return false;
    if (is_whole(def->type) && !num_i64(value, INT64_MIN, INT64_MAX, &whole))
        return false;
    *reason_out = "a number within the key's minimum and maximum";
    return (def->min == 0 && def->max == 0) || (number >= def->min && number <= def->max);
}

bool policy_accepts(const struct policy_def *def, const char *value, const char **reason_out)
{
    *reason_out = "a value";
    if (!value)
        return false;
    size_t len = strlen(value);
    *reason_out = "at most 1000 bytes of text";
    if (len > VALUE_BYTES_MAX || !utf8_is_valid(value, len))
        return false;
    if (is_number(def->type))
        return number_accepts(def, value, reason_out);

    switch (def->type) {
    case POLICY_TYPE_BOOL:
        *reason_out = "true or false";
        return is_choice(value, "true|false");
    case POLICY_TYPE_TIME:
        *reason_out = "HH:MM, workday_start, workday_end or end_of_working_day";
        return fits_time(value);
    case POLICY_TYPE_OFFSETS:
        *reason_out = "offsets such as -4h,-1h,0";
        return each_word(value, fits_offset, NULL);
    case POLICY_TYPE_LIST:
        *reason_out = "words parted by commas";
        return def->form ? form_accepts(def, value, reason_out) : each_word(value, is_word, NULL);
    default: /* POLICY_TYPE_TEXT */
        *reason_out = "a text that is not empty";
        return len > 0 && form_accepts(def, value, reason_out);
    }
}

/* --- roles ------------------------------------------------------------------------------------ */

/* Requirements 0.4. "system" is the software itself and nobody's role. */
static const char roles[] = "rep|senior_rep|team_lead|supervisor|sales_manager|regional_manager|"
                            "general_manager|sales_assistant|customer_service|legal|marketing|"
                            "tech|production|logistics|hr|admin_office|management_office|finance";

bool policy_role_is_known(const char *role, const char *extra)
{
    char word[WORD_MAX];
    bool bad = false;

    if (is_choice(role, roles))
        return true;
    while (*role && next_word(&extra, word, &bad))
        if (strcmp(word, role) == 0)
            return true;
    return false;
}

bool policy_roles_are_known(const struct policy_def *def, const char *value, const char *extra,
                            char unknown_out[static POLICY_WORD_MAX])
{
    bool is_steps = def->form && strcmp(def->form, "steps") == 0, bad = false;
    char word[WORD_MAX];

    if (!is_steps && (!def->form || strcmp(def->form, "roles") != 0))
        return true;
    while (next_word(&value, word, &bad)) {
        char *role = is_steps ? word + strcspn(word, ":") + 1 : word;
        role[strcspn(role, "!")] = '\0';
        if ((is_steps && is_choice(role, "owner|superior")) || policy_role_is_known(role, extra))
            continue;
        snprintf(unknown_out, POLICY_WORD_MAX, "%s", role);
        return false;
    }
    return true;
}

/* --- reading ---------------------------------------------------------------------------------- */

double policy_number(struct policy_value v)
{
    double number = 0;
    assert(is_number(v.def->type));
    if (!num_double(v.text, &number) && !num_double(v.def->default_value, &number))
        assert(!"a number as default of a number");
    return number;
}

int64_t policy_us(struct policy_value v)
{
    int64_t unit = v.def->type == POLICY_TYPE_HOURS     ? HOUR_US
                   : v.def->type == POLICY_TYPE_MINUTES ? MINUTE_US
                                                        : DAY_US;
    assert(unit != DAY_US || v.def->type == POLICY_TYPE_DAYS);
    return (int64_t)llround(policy_number(v) * (double)unit);
}

bool policy_bool(struct policy_value v)
{
    assert(v.def->type == POLICY_TYPE_BOOL);
    return strcmp(v.text, "true") == 0;
}

const char *policy_provenance(struct policy_value v, char *buf, size_t size)
{
    char unit[ID_TEXT_MAX];
    if (v.from_default)
        snprintf(buf, size, "default");
    else if (id_is_nil(v.unit))
        snprintf(buf, size, "company");
    else
        snprintf(buf, size, "unit:%s", id_text(v.unit, unit));
    return buf;
}
