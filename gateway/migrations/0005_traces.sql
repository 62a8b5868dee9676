-- What `trace` tells of a row: which characteristic said it (Bluetooth), when it was handed to the connection, which
-- broker acknowledged it, and the version of the software that did that. The version that captured, validated and
-- committed it stands in its payload. Rows of before have none of it.
ALTER TABLE reading ADD COLUMN characteristic TEXT;
ALTER TABLE delivery ADD COLUMN sent_at REAL;
ALTER TABLE delivery ADD COLUMN broker TEXT;
ALTER TABLE delivery ADD COLUMN version TEXT;

-- A row that went out again on request: how often, and the last time. It is beside what became of the row at first.
CREATE TABLE replay (
    sequence INTEGER PRIMARY KEY REFERENCES reading (sequence) ON DELETE CASCADE,
    times    INTEGER NOT NULL,
    sent_at  REAL,
    at       REAL,
    reason   TEXT NOT NULL,
    broker   TEXT,
    version  TEXT NOT NULL
) STRICT;
CREATE INDEX reading_by_time ON reading (kept_at);
