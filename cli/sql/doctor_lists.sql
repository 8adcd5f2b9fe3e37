-- params: tenant_id
-- Lists in Redis may be newer than the database now; versions go by the clock, so these are newer than all.
WITH bumped AS (
    UPDATE reminders.list_version
       SET version = greatest(version + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
     WHERE tenant_id = $1::uuid
    RETURNING employee_id
)
SELECT count(*) AS n FROM bumped
