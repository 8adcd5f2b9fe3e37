-- params: consumer updated_at
INSERT INTO ${schema}.consumer_cursor (consumer, seq, starts, updated_at)
VALUES ($1::text, 0, 1, $2::timestamptz)
    ON CONFLICT (consumer) DO UPDATE SET starts = consumer_cursor.starts + 1
