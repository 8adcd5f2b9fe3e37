/*
 * visit_store.h - rows <-> visits, commitments and the customers that visits know of.
 */
#ifndef DAYBOOK_SERVICES_VISITS_VISIT_STORE_H
#define DAYBOOK_SERVICES_VISITS_VISIT_STORE_H

#include "services/visits/visits.h"

/* What visits know of a customer. */
struct visit_customer {
    bool has_contact; /* the one that was asked for is his */
    const char *name;
    struct id owner; /* nil when he has none */
    const char *address;
    bool has_place;
    double latitude, longitude;
};

/* ERR_NOT_FOUND: no such row for this tenant. */
NODISCARD enum err visit_store_find(struct call *call, const char *id, PbVisit **visit_out,
                                    struct visit_aside *aside_out);
NODISCARD enum err visit_store_lock(struct call *call, const char *id, PbVisit **visit_out,
                                    struct visit_aside *aside_out);
/* contact_id: "" when none is asked for. */
NODISCARD enum err visit_store_find_customer(struct call *call, const char *id,
                                             const char *contact_id,
                                             struct visit_customer *customer_out);

/* The visit of that visitor and customer for which a check-in at now_us may be meant, locked
 * against others that are only being made; NULL when there is none. day: the local one's bounds.
 * opens_us: start of the latest visit whose window is open. */
struct visit_day {
    int64_t start_us, end_us, opens_us, now_us;
};
NODISCARD enum err visit_store_of_today(struct call *call, const PbVisit *outing,
                                        const struct visit_day *day, PbVisit **visit_out);

/* Sent at once: ERR_ALREADY_EXISTS = the visitor's slot is taken. */
NODISCARD enum err visit_store_insert(struct call *call, const PbVisit *visit);
/* Queued. Raises the row version, also in visit->etag. unit: of the visitor now that the visit ends,
 * as text; NULL or "" = the one that stands there. */
NODISCARD enum err visit_store_update(struct call *call, PbVisit *visit, const char *unit);
/* Version that the etag stands for. */
int64_t visit_store_version(const PbVisit *visit);

struct commitment_row {
    PbCommitment *commitment;
    int64_t version;
    struct id unit;           /* whose rules count its time; nil = the company's */
    struct id customer_owner; /* nil when he has none */
};
NODISCARD enum err commitment_store_lock(struct call *call, const char *id,
                                         struct commitment_row *row_out);
/* unit: as text; "" = the company's rules. */
NODISCARD enum err commitment_store_insert(struct call *call, const PbCommitment *commitment,
                                           const char *unit);
NODISCARD enum err commitment_store_update(struct call *call, const PbCommitment *commitment);

#endif
