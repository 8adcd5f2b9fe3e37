-- params: consumer
SELECT 1 FROM ${schema}.consumer_cursor WHERE consumer = $1::text FOR UPDATE
