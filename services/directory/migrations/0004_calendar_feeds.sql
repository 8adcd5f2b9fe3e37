-- Calendar feeds: credentials whose secret is the address (EXT-03). An employee has one at a time.
ALTER TABLE ${schema}.credential
    DROP CONSTRAINT credential_kind_check,
    ADD CONSTRAINT credential_kind_check CHECK (kind IN ('api_key', 'curve', 'calendar')),
    DROP CONSTRAINT credential_proof,
    ADD CONSTRAINT credential_proof CHECK ((kind = 'curve') = (curve_public_key IS NOT NULL)
                                           AND (kind IN ('api_key', 'calendar')) = (secret_hash IS NOT NULL)
                                           AND (kind <> 'calendar' OR is_employee));
CREATE UNIQUE INDEX credential_one_feed ON ${schema}.credential (tenant_id, actor_id)
    WHERE kind = 'calendar' AND revoked_at IS NULL;

-- Apart from API keys, so that no edge takes the secret of a feed for one. Granted to the gateway's
-- role alone (its second migration).
CREATE VIEW directory_api.calendar_feed AS
    SELECT c.tenant_id, c.id AS credential_id, c.actor_id, c.is_employee, c.scopes, c.secret_hash,
           c.expires_at
      FROM ${schema}.credential c
     WHERE c.kind = 'calendar' AND c.revoked_at IS NULL
       AND EXISTS (SELECT FROM ${schema}.employee e
                    WHERE e.tenant_id = c.tenant_id AND e.id = c.actor_id AND e.active);
