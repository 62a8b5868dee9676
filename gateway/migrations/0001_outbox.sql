-- One row is one revision of one reading, exactly as it goes out. Rows never change; they are deleted keep_days after
-- their delivery. AUTOINCREMENT: a sequence is never given twice, not even after its row is gone.
CREATE TABLE reading (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id       BLOB    NOT NULL,
    revision INTEGER NOT NULL,
    device   TEXT    NOT NULL,
    topic    TEXT    NOT NULL,
    payload  BLOB    NOT NULL,
    raw      BLOB    NOT NULL,
    kept_at  REAL    NOT NULL,      -- seconds since 1970, UTC
    UNIQUE (id, revision)
) STRICT;
CREATE INDEX reading_by_device ON reading (device, sequence);

-- What became of a row: waiting, delivered (PUBACK, with its reason code) or parked (the broker will never take it).
CREATE TABLE delivery (
    sequence INTEGER PRIMARY KEY REFERENCES reading (sequence) ON DELETE CASCADE,
    state    TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'parked')),
    at       REAL,
    reason   TEXT
) STRICT;
CREATE INDEX delivery_waiting ON delivery (sequence) WHERE state = 'waiting';
CREATE INDEX delivery_done ON delivery (at) WHERE state = 'delivered';

-- Topics on which a retained message of ours may lie at the broker: what the YAML names no more is cleared there.
CREATE TABLE retained (topic TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

-- stream: the UUID of this database, within which sequences have no gaps.
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
