-- The records of devices with a memory: `name` follows from device, characteristic and bytes; `reading` is the id under
-- which it was told first. They outlive the readings: a record that comes again is known.
CREATE TABLE record (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    name    BLOB NOT NULL UNIQUE,
    reading BLOB NOT NULL
) STRICT;

-- Up to where a device's stamps are unsure, on its own clock (no zone), since that clock was set.
CREATE TABLE device_clock (hardware TEXT PRIMARY KEY, unsure_until TEXT NOT NULL) STRICT, WITHOUT ROWID;
