-- CRC-32 over id, revision, topic and payload (rows.py), looked at before a row is sent. Rows of older schemas have none.
ALTER TABLE reading ADD COLUMN checksum INTEGER;
