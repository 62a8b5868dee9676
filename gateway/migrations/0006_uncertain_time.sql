-- Rows that went out with a time that may be wrong, since the clock was not synchronized (`quality`: unsynced, holdover).
-- instant: when it was received, in seconds since that start of the machine (`boot`), time asleep included.
-- utc: when that was, in seconds since 1970; null until the clock is right. By it, and not by kept_at, a row's age is told.
CREATE TABLE uncertain_time (
    sequence INTEGER PRIMARY KEY REFERENCES reading (sequence) ON DELETE CASCADE,
    boot     TEXT NOT NULL,
    instant  REAL NOT NULL,
    quality  TEXT NOT NULL,
    utc      REAL
) STRICT;
CREATE INDEX uncertain_time_open ON uncertain_time (boot, sequence) WHERE utc IS NULL;
