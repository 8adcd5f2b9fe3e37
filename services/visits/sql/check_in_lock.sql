-- params: tenant_id visitor_id
-- One outing after the other: of two taps at once the second sees what the first has made.
SELECT pg_advisory_xact_lock(hashtextextended('visits.check_in/' || $1::text || $2::text, 0));
