-- The gateway proves callers by their API keys.
GRANT SELECT ON directory_api.api_key TO ${role};
