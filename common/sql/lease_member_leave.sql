-- params: instance
DELETE FROM ${schema}.member WHERE instance = $1::text
