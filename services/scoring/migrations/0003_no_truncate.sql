-- TRUNCATE asks no wall: one company's work could have emptied the tables of all. Nothing of the daemon's needs
-- it, for a rebuild empties them as the owner.
REVOKE TRUNCATE ON ${schema}.customer, ${schema}.order_fact, ${schema}.score, ${schema}.tier_change, ${schema}.policy
    FROM ${role};
