-- params:
UPDATE directory.revision SET revision = revision + 1
