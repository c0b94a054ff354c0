-- What platforms tell of calls, and what is needed to find the call that it is about.

ALTER TABLE axb_cdr ADD COLUMN binding_id INTEGER;
ALTER TABLE axb_cdr ADD COLUMN handle TEXT NOT NULL DEFAULT '';

-- Bindings are numbered as they are made, so this grows nearly at its end. There is no index on the
-- handle, whose keys scatter: an event without our own id is looked for by its time.
CREATE INDEX axb_cdr_binding ON axb_cdr (binding_id) WHERE binding_id IS NOT NULL;

-- seq is the outbox number, which calls and events share. Rows are kept as long as call records are:
-- until an operator removes the file.
CREATE TABLE platform_events (
    seq INTEGER PRIMARY KEY,
    received_at INTEGER NOT NULL,
    interface_name TEXT NOT NULL,
    kind TEXT NOT NULL,
    a_number TEXT NOT NULL,
    x_number TEXT NOT NULL,
    b_number TEXT NOT NULL,
    at INTEGER,
    started_at INTEGER,
    ringing_at INTEGER,
    answered_at INTEGER,
    ended_at INTEGER,
    duration_ms INTEGER,
    cost INTEGER,
    cause TEXT NOT NULL,
    recording TEXT NOT NULL,
    platform_call_id TEXT NOT NULL,
    own_id TEXT NOT NULL,
    handle TEXT NOT NULL,
    callback TEXT NOT NULL,
    key TEXT NOT NULL,
    node TEXT NOT NULL,
    -- When the call began, as near as the event tells it.
    call_at INTEGER NOT NULL,
    -- A repeat of what a platform pushed is no second event.
    UNIQUE (interface_name, callback, key)
) STRICT;

CREATE INDEX platform_events_received ON platform_events (received_at);
CREATE INDEX platform_events_call ON platform_events (interface_name, call_at);
CREATE INDEX platform_events_own ON platform_events (own_id) WHERE own_id <> '';
CREATE INDEX platform_events_bill ON platform_events (interface_name, call_at) WHERE kind = 'bill';

-- Outbox numbers of repeats that were taken before the first one was stored. They hold nothing, but
-- whoever fetches the records of a peer must find every number.
CREATE TABLE platform_repeats (
    seq INTEGER PRIMARY KEY,
    first INTEGER NOT NULL
) STRICT;
