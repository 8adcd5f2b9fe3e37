-- API keys for the edges, which prove callers by them; granted to no role but theirs (the gateway's
-- first migration). The hash is keyed: without the installation's master key it says nothing.
CREATE VIEW directory_api.api_key AS
    SELECT c.tenant_id, c.id AS credential_id, c.actor_id, c.is_employee, c.scopes, c.secret_hash,
           c.expires_at
      FROM ${schema}.credential c
     WHERE c.kind = 'api_key' AND c.revoked_at IS NULL
       AND (NOT c.is_employee OR EXISTS (SELECT FROM ${schema}.employee e
                                          WHERE e.tenant_id = c.tenant_id AND e.id = c.actor_id
                                            AND e.active));
