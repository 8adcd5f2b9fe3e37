-- params:
SELECT revision FROM directory_api.revision
