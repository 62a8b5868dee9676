-- How many rows are parked is asked with each state: without an index, that reads a row of every reading that is kept.
CREATE INDEX delivery_parked ON delivery (sequence) WHERE state = 'parked';
