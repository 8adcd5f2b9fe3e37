-- An endpoint gets the events behind this place in the log. Their times do not say which: a clock may be wrong, and what
-- happened earlier may be recorded later. 0: made before there was this column; then the times must do.
ALTER TABLE ${schema}.endpoint ADD COLUMN since_seq bigint NOT NULL DEFAULT 0;
