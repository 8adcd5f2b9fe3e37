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

/* ERR_NOT_FOUND: no such row for this tenant. customer_owner_out: nil when not known. */
NODISCARD enum err visit_store_find(struct call *call, const char *id, PbVisit **visit_out,
                                    struct id *customer_owner_out);
NODISCARD enum err visit_store_lock(struct call *call, const char *id, PbVisit **visit_out,
                                    struct id *customer_owner_out);
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
/* Queued. Raises the row version, also in visit->etag. */
NODISCARD enum err visit_store_update(struct call *call, PbVisit *visit);
/* Version that the etag stands for. */
int64_t visit_store_version(const PbVisit *visit);

/* version_out: of the row as read. customer_owner_out: nil when he has none. */
NODISCARD enum err commitment_store_lock(struct call *call, const char *id,
                                         PbCommitment **commitment_out, int64_t *version_out,
                                         struct id *customer_owner_out);
NODISCARD enum err commitment_store_insert(struct call *call, const PbCommitment *commitment);
NODISCARD enum err commitment_store_update(struct call *call, const PbCommitment *commitment);

#endif
