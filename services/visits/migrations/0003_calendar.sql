-- What a calendar shows of a visit (VIS-30, EXT-03). sequence: row version at the last change of time,
-- place or state; NULL: not changed since this migration, then the row version stands for it.
-- changed_at: last change; of the visits before this migration its own moment.
ALTER TABLE ${schema}.visit
    ADD COLUMN sequence bigint,
    ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now();

-- As ContactCreated has them: the phone masked. Those before come by a rebuild.
ALTER TABLE ${schema}.contact
    ADD COLUMN position text,
    ADD COLUMN phone text;
