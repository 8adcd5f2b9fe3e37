-- The gateway proves calendars' subscribers by the address that they ask for.
GRANT SELECT ON directory_api.calendar_feed TO ${role};
