-- params: term
-- Lock, nothing else: the drain's own snapshot must be taken under it.
SELECT last_seq FROM bus.head WHERE one AND term = $1::bigint FOR UPDATE
