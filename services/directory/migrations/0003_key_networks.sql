-- Where an API key may be used from, and when it was. Both columns are added without a rewrite; a
-- directory of before leaves them at their defaults.
ALTER TABLE ${schema}.credential
    ADD COLUMN allowed_networks text[] NOT NULL DEFAULT '{}', -- CIDR; empty: everywhere
    ADD COLUMN last_used_at timestamptz;                      -- told by the gateway, no part of a revision
CREATE OR REPLACE VIEW directory_api.api_key AS
    SELECT c.tenant_id, c.id AS credential_id, c.actor_id, c.is_employee, c.scopes, c.secret_hash,
           c.expires_at, c.allowed_networks
      FROM ${schema}.credential c
     WHERE c.kind = 'api_key' AND c.revoked_at IS NULL
       AND (NOT c.is_employee OR EXISTS (SELECT FROM ${schema}.employee e
                                          WHERE e.tenant_id = c.tenant_id AND e.id = c.actor_id
                                            AND e.active));
