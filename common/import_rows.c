/*
 * import_rows.c - see import_rows.h.
 *
 * A column writes one member of one part of the row's message; parts that got nothing are left out.
 * What only the service can judge (lengths, codes, owners) is left to it, so that there is one
 * place for each rule.
 */
#include "common/import_rows.h"

#include <strings.h>

#include "common/clock.h"
#include "common/num.h"
#include "common/sbuf.h"
#include "common/wire.h"

#define CUSTOMERS "daybook.customers.v1."

typedef Daybook__Customers__V1__ImportCustomer ImportCustomer;
typedef Daybook__Customers__V1__Customer Customer;
typedef Daybook__Customers__V1__Contact Contact;
typedef Daybook__Customers__V1__Order Order;
typedef Daybook__Customers__V1__RecordOrderRequest OrderRow;
typedef Daybook__Common__V1__ExternalRef Ref;
typedef Daybook__Common__V1__LatLng Place;
typedef Daybook__Common__V1__Money Money;

enum part {
    ROW,
    MAIN,
    REF,
    CONTACT,
    PLACE_LAT,
    PLACE_LON,
    CUSTOMER_REF,
    CANCELS_REF,
    MONEY,
    PARTS
};

enum cell { TEXT, ENUM, INT32, INT64, DOUBLE, BOOL, TIME };

struct import_column {
    const char *name;
    enum part part;
    enum cell cell;
    size_t offset;
    const ProtobufCEnumDescriptor *values;
    bool required;
};

const char *const import_outcomes[IMPORT_OUTCOMES] = { "unspecified", "inserted",  "updated",
                                                       "unchanged",   "duplicate", "invalid" };

static const struct import_column customer_columns[] = {
    { "external_id", REF, TEXT, offsetof(Ref, id), NULL, true },
    { "name", MAIN, TEXT, offsetof(Customer, name), NULL, true },
    { "industry", MAIN, TEXT, offsetof(Customer, industry), NULL, false },
    { "company_size", MAIN, ENUM, offsetof(Customer, company_size),
      &daybook__customers__v1__company_size__descriptor, false },
    { "address", MAIN, TEXT, offsetof(Customer, address), NULL, false },
    { "city_code", MAIN, TEXT, offsetof(Customer, city_code), NULL, false },
    { "lat", PLACE_LAT, DOUBLE, offsetof(Place, latitude), NULL, false },
    { "lon", PLACE_LON, DOUBLE, offsetof(Place, longitude), NULL, false },
    { "source", MAIN, ENUM, offsetof(Customer, source),
      &daybook__customers__v1__customer_source__descriptor, false },
    { "relation_type", MAIN, ENUM, offsetof(Customer, relation_type),
      &daybook__customers__v1__relation_type__descriptor, false },
    { "owner_no", ROW, TEXT, offsetof(ImportCustomer, owner_no), NULL, false },
    { "owner_id", MAIN, TEXT, offsetof(Customer, owner_id), NULL, false },
    { "key_account", MAIN, BOOL, offsetof(Customer, key_account), NULL, false },
    { "credit_code", MAIN, TEXT, offsetof(Customer, credit_code), NULL, false },
    { "potential_rating", MAIN, INT32, offsetof(Customer, potential_rating), NULL, false },
    { "contact_name", CONTACT, TEXT, offsetof(Contact, name), NULL, false },
    { "contact_position", CONTACT, TEXT, offsetof(Contact, position), NULL, false },
    { "contact_role", CONTACT, TEXT, offsetof(Contact, decision_role), NULL, false },
    { "contact_phone", CONTACT, TEXT, offsetof(Contact, phone), NULL, false },
    { "contact_email", CONTACT, TEXT, offsetof(Contact, email), NULL, false },
    { "contact_birthday", CONTACT, TEXT, offsetof(Contact, birthday), NULL, false },
    { .name = NULL },
};

static const struct import_column order_columns[] = {
    { "external_id", REF, TEXT, offsetof(Ref, id), NULL, true },
    { "customer_external_id", CUSTOMER_REF, TEXT, offsetof(Ref, id), NULL, true },
    { "ordered_at", MAIN, TIME, offsetof(Order, ordered_at), NULL, true },
    { "amount_minor", MONEY, INT64, offsetof(Money, minor_units), NULL, true },
    { "currency", MONEY, TEXT, offsetof(Money, currency_code), NULL, true },
    { "kind", MAIN, ENUM, offsetof(Order, kind), &daybook__customers__v1__order_kind__descriptor,
      false },
    { "cancels_external_id", CANCELS_REF, TEXT, offsetof(Ref, id), NULL, false },
    { .name = NULL },
};

/* --- customers -------------------------------------------------------------------------------- */

static Ref *new_ref(struct arena *a, const char *source)
{
    Ref *r = wire_new(&daybook__common__v1__external_ref__descriptor, a);
    char *copy = arena_strdup(a, source);
    if (!r || !copy)
        return NULL;
    r->source = copy;
    return r;
}

static bool begin_customer(void *parts[], struct arena *a, const char *source)
{
    ImportCustomer *row = wire_new(&daybook__customers__v1__import_customer__descriptor, a);
    Customer *customer = wire_new(&daybook__customers__v1__customer__descriptor, a);
    Ref *ref = new_ref(a, source);
    Place *place = wire_new(&daybook__common__v1__lat_lng__descriptor, a);
    Contact **contacts = arena_array(a, 1, sizeof *contacts);
    Contact *contact = wire_new(&daybook__customers__v1__contact__descriptor, a);
    if (!row || !customer || !ref || !place || !contacts || !contact)
        return false;
    contacts[0] = contact;
    customer->external_ref = ref;
    row->customer = customer;
    row->contacts = contacts;
    parts[ROW] = row;
    parts[MAIN] = customer;
    parts[REF] = ref;
    parts[CONTACT] = contact;
    parts[PLACE_LAT] = parts[PLACE_LON] = place;
    return true;
}

static const char *finish_customer(void *parts[], const bool *used)
{
    ImportCustomer *row = parts[ROW];
    if (used[PLACE_LAT] != used[PLACE_LON])
        return "lat and lon belong together: give both or none";
    if (used[PLACE_LAT])
        row->customer->location = parts[PLACE_LAT];
    row->n_contacts = used[CONTACT] ? 1 : 0;
    return NULL;
}

static ProtobufCMessage *customers_request(struct arena *a, ProtobufCMessage **rows, size_t n,
                                           struct import_wish wish)
{
    Daybook__Customers__V1__BatchImportCustomersRequest *r =
        wire_new(&daybook__customers__v1__batch_import_customers_request__descriptor, a);
    if (!r)
        return NULL;
    r->rows = (ImportCustomer **)(void *)rows;
    r->n_rows = n;
    r->dry_run = wish.dry_run;
    r->update_owner = wish.update_owner;
    return &r->base;
}

static ImportResult *const *customers_results(const ProtobufCMessage *answer, size_t *n_out)
{
    const Daybook__Customers__V1__BatchImportCustomersResponse *r = (const void *)answer;
    *n_out = r->n_results;
    return r->results;
}

static Ref **customer_ref(ProtobufCMessage *row)
{
    Customer *c = ((ImportCustomer *)row)->customer;
    return c ? &c->external_ref : NULL;
}

static size_t contacts_of(const ProtobufCMessage *row)
{
    return ((const ImportCustomer *)row)->n_contacts;
}

/* --- orders ----------------------------------------------------------------------------------- */

static bool begin_order(void *parts[], struct arena *a, const char *source)
{
    OrderRow *row = wire_new(&daybook__customers__v1__record_order_request__descriptor, a);
    Order *order = wire_new(&daybook__customers__v1__order__descriptor, a);
    Ref *ref = new_ref(a, source), *customer = new_ref(a, source), *cancels = new_ref(a, source);
    Money *money = wire_new(&daybook__common__v1__money__descriptor, a);
    if (!row || !order || !ref || !customer || !cancels || !money)
        return false;
    order->external_ref = ref;
    order->amount = money;
    order->kind = DAYBOOK__CUSTOMERS__V1__ORDER_KIND__ORDER_KIND_ORDER;
    row->order = order;
    row->customer_external_ref = customer;
    parts[ROW] = row;
    parts[MAIN] = order;
    parts[REF] = ref;
    parts[CUSTOMER_REF] = customer;
    parts[CANCELS_REF] = cancels;
    parts[MONEY] = money;
    return true;
}

static const char *finish_order(void *parts[], const bool *used)
{
    OrderRow *row = parts[ROW];
    if (used[CANCELS_REF])
        row->cancels_external_ref = parts[CANCELS_REF];
    return NULL;
}

static ProtobufCMessage *orders_request(struct arena *a, ProtobufCMessage **rows, size_t n,
                                        struct import_wish wish)
{
    Daybook__Customers__V1__BatchRecordOrdersRequest *r =
        wire_new(&daybook__customers__v1__batch_record_orders_request__descriptor, a);
    if (!r)
        return NULL;
    r->rows = (OrderRow **)(void *)rows;
    r->n_rows = n;
    r->dry_run = wish.dry_run;
    return &r->base;
}

static ImportResult *const *orders_results(const ProtobufCMessage *answer, size_t *n_out)
{
    const Daybook__Customers__V1__BatchRecordOrdersResponse *r = (const void *)answer;
    *n_out = r->n_results;
    return r->results;
}

static Ref **order_ref(ProtobufCMessage *row)
{
    Order *o = ((OrderRow *)row)->order;
    return o ? &o->external_ref : NULL;
}

/*
 * Customers go one batch after another: whether a row duplicates one of an earlier batch can only
 * be judged once that is written (CUS-07). Orders do not look at each other; a
 * cancellation whose order is on its way in another batch is refused and found by the next run.
 */
static const struct import_kind kinds[] = {
    { .name = "customers",
      .service = CUSTOMERS "CustomerService",
      .method = "BatchImport",
      .columns = customer_columns,
      .row_type = &daybook__customers__v1__import_customer__descriptor,
      .answer_type = &daybook__customers__v1__batch_import_customers_response__descriptor,
      .batch = 500,
      .window = 1,
      .request = customers_request,
      .results = customers_results,
      .ref = customer_ref,
      .weight = contacts_of,
      .weight_one = 20,
      .weight_max = 2500,
      .begin = begin_customer,
      .finish = finish_customer },
    { .name = "orders",
      .service = CUSTOMERS "DealService",
      .method = "BatchRecordOrders",
      .columns = order_columns,
      .row_type = &daybook__customers__v1__record_order_request__descriptor,
      .answer_type = &daybook__customers__v1__batch_record_orders_response__descriptor,
      .batch = 1000,
      .window = 4,
      .request = orders_request,
      .results = orders_results,
      .ref = order_ref,
      .begin = begin_order,
      .finish = finish_order },
};

const char *const import_roles[] = { "sales_manager", "regional_manager", "general_manager", NULL };

bool import_is_source(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len <= 32 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

const struct import_kind *import_kind(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

/* --- the header ------------------------------------------------------------------------------- */

static const struct import_column *find_column(const struct import_kind *kind, const char *name,
                                               size_t len)
{
    for (const struct import_column *c = kind->columns; c->name; c++)
        if (strlen(c->name) == len && strncasecmp(c->name, name, len) == 0)
            return c;
    return NULL;
}

static bool has_column(const struct import_map *map, const struct import_column *column)
{
    for (size_t i = 0; i < map->n; i++)
        if (map->columns[i] == column)
            return true;
    return false;
}

/* Spaces around a name are nobody's intention. */
static const char *trim(const char *name, size_t *len_out)
{
    name += strspn(name, " \t");
    size_t len = strlen(name);
    while (len && strchr(" \t", name[len - 1]))
        len--;
    *len_out = len;
    return name;
}

static bool map_field(struct import_map *map, const char *cell, struct sbuf *ignored)
{
    size_t len;
    const char *name = trim(cell, &len);
    const struct import_column *column = find_column(map->kind, name, len);
    if (column && has_column(map, column)) {
        snprintf(map->why, sizeof map->why, "the column %s stands in the header twice",
                 column->name);
        return false;
    }
    if (!column)
        sbuf_addf(ignored, "%s%.*s", ignored->len ? ", " : "", (int)MIN(len, 40), name);
    map->columns[map->n++] = column;
    return true;
}

static bool missing(struct import_map *map, const struct csv_row *header)
{
    for (const struct import_column *c = map->kind->columns; c->name; c++) {
        if (!c->required || has_column(map, c))
            continue;
        bool other = header->n == 1 && strpbrk(header->fields[0], ";\t");
        snprintf(map->why, sizeof map->why, "the header has no column %s%s", c->name,
                 other ? "; fields must be parted by commas" : "");
        return true;
    }
    return false;
}

bool import_map_header(const struct import_kind *kind, const struct csv_row *header,
                       struct import_map *map)
{
    struct sbuf ignored;
    *map = (struct import_map){ .kind = kind };
    sbuf_init_fixed(&ignored, map->ignored, sizeof map->ignored);
    if (header->n > ARRAY_LEN(map->columns)) {
        snprintf(map->why, sizeof map->why, "the header has more than %zu columns",
                 ARRAY_LEN(map->columns));
        return false;
    }
    for (size_t i = 0; i < header->n; i++)
        if (!map_field(map, header->fields[i], &ignored))
            return false;
    return !missing(map, header);
}

/* --- cells ------------------------------------------------------------------------------------ */

/* "market_research" -> CUSTOMER_SOURCE_MARKET_RESEARCH, without its prefix in the text. */
static const ProtobufCEnumValue *enum_value(const ProtobufCEnumDescriptor *e, const char *text)
{
    const ProtobufCEnumValue *zero = protobuf_c_enum_descriptor_get_value(e, 0);
    size_t prefix = strlen(zero->name) - strlen("UNSPECIFIED");
    for (unsigned i = 0; i < e->n_values; i++)
        if (e->values[i].value != 0 && strcasecmp(e->values[i].name + prefix, text) == 0)
            return &e->values[i];
    return NULL;
}

static void list_values(const ProtobufCEnumDescriptor *e, char *out, size_t size)
{
    const ProtobufCEnumValue *zero = protobuf_c_enum_descriptor_get_value(e, 0);
    size_t prefix = strlen(zero->name) - strlen("UNSPECIFIED");
    struct sbuf text;
    sbuf_init_fixed(&text, out, size);
    sbuf_add_text(&text, "must be one of");
    for (unsigned i = 0; i < e->n_values; i++)
        if (e->values[i].value != 0)
            sbuf_addf(&text, "%s %s", text.data[text.len - 1] == 'f' ? "" : ",",
                      e->values[i].name + prefix);
    for (char *p = out; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + 32);
}

static bool parse_bool(const char *text, protobuf_c_boolean *out)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = { { "1", true },  { "true", true },   { "yes", true },
                  { "0", false }, { "false", false }, { "no", false } };
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcasecmp(text, words[i].word) == 0) {
            *out = words[i].value;
            return true;
        }
    return false;
}

#define PUT(type, value)                                                                           \
    do {                                                                                           \
        type put_ = (value);                                                                       \
        memcpy((char *)part + column->offset, &put_, sizeof put_);                                 \
    } while (0)

/* False: message says why; it is empty when the arena is full. */
static bool set_cell(void *part, const struct import_column *column, const char *text,
                     struct arena *a, char *message, size_t size)
{
    int64_t i;
    double d;
    protobuf_c_boolean b;
    char *copy;
    void *time;
    const ProtobufCEnumValue *v;

    switch (column->cell) {
    case TEXT:
        copy = arena_strdup(a, text);
        PUT(char *, copy);
        return copy != NULL;
    case ENUM:
        v = enum_value(column->values, text);
        if (v)
            PUT(int, v->value);
        else
            list_values(column->values, message, size);
        return v != NULL;
    case INT32:
        if (num_i64(text, INT32_MIN, INT32_MAX, &i)) {
            PUT(int32_t, (int32_t)i);
            return true;
        }
        snprintf(message, size, "must be a whole number");
        return false;
    case INT64:
        if (num_i64(text, INT64_MIN, INT64_MAX, &i)) {
            PUT(int64_t, i);
            return true;
        }
        snprintf(message, size, "must be a whole number of the smallest unit, e.g. 1250 for 12.50");
        return false;
    case DOUBLE:
        if (num_double(text, &d)) {
            PUT(double, d);
            return true;
        }
        snprintf(message, size, "must be a number such as 31.23");
        return false;
    case BOOL:
        if (parse_bool(text, &b)) {
            PUT(protobuf_c_boolean, b);
            return true;
        }
        snprintf(message, size, "must be true or false");
        return false;
    case TIME:
        if (!time_parse(text, &i)) {
            snprintf(message, size, "must be a time with zone such as 2026-11-16T09:00:00+08:00");
            return false;
        }
        time = wire_time(a, i);
        PUT(void *, time);
        return time != NULL;
    }
    return false;
}

/* --- rows ------------------------------------------------------------------------------------- */

static void fault(struct import_fault *f, const char *field, const char *message)
{
    snprintf(f->field, sizeof f->field, "%s", field);
    snprintf(f->message, sizeof f->message, "%s", message);
}

static bool set_cells(const struct import_map *map, const struct csv_row *row, struct arena *a,
                      void *parts[], bool *used, struct import_fault *f)
{
    for (size_t i = 0; i < row->n; i++) {
        const struct import_column *column = map->columns[i];
        char message[sizeof f->message] = "";
        if (!column)
            continue;
        if (row->fields[i][0] == '\0') {
            if (!column->required)
                continue;
            fault(f, column->name, "is empty");
            return false;
        }
        used[column->part] = true;
        if (!set_cell(parts[column->part], column, row->fields[i], a, message, sizeof message)) {
            fault(f, column->name, message);
            return false;
        }
    }
    return true;
}

ProtobufCMessage *import_row(const struct import_map *map, const struct csv_row *row,
                             const char *source, struct arena *a, struct import_fault *fault_out)
{
    void *parts[PARTS] = { NULL };
    bool used[PARTS] = { false };
    char message[sizeof fault_out->message];

    fault(fault_out, "", "");
    if (row->n != map->n) {
        snprintf(message, sizeof message, "has %zu fields, but the header has %zu", row->n, map->n);
        fault(fault_out, "", message);
        return NULL;
    }
    if (!map->kind->begin(parts, a, source) || !set_cells(map, row, a, parts, used, fault_out))
        return NULL;
    const char *why = map->kind->finish(parts, used);
    if (why) {
        fault(fault_out, "lat", why);
        return NULL;
    }
    return parts[ROW];
}

const char *import_cell(const struct import_map *map, const struct csv_row *row, const char *column)
{
    for (size_t i = 0; i < MIN(map->n, row->n); i++)
        if (map->columns[i] && strcmp(map->columns[i]->name, column) == 0)
            return row->fields[i];
    return "";
}
