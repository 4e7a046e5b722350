-- The archive: prices in paise, times in epoch seconds UTC, indicator values as float64.
-- partition and position name the tick frame that caused a row. marks: 1 where the feed saw nothing for a part of the
-- candle, 2 where high or low is one of the day that no tick has shown, 4 where the broker's history has the candle; the
-- sum of what applies. With 4 the source is 'broker'. The revision is 1 where history corrects, 0 where it fills in.

PRAGMA user_version = 3;

CREATE TABLE IF NOT EXISTS candles_1s (
    exchange TEXT NOT NULL,
    token TEXT NOT NULL,
    ts INTEGER NOT NULL,
    open INTEGER NOT NULL,
    high INTEGER NOT NULL,
    low INTEGER NOT NULL,
    close INTEGER NOT NULL,
    volume INTEGER NOT NULL,
    ticks_count INTEGER NOT NULL,
    source TEXT NOT NULL DEFAULT 'live',
    marks INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (exchange, token, ts)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS candles_tf (
    exchange TEXT NOT NULL,
    token TEXT NOT NULL,
    tf INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    open INTEGER NOT NULL,
    high INTEGER NOT NULL,
    low INTEGER NOT NULL,
    close INTEGER NOT NULL,
    volume INTEGER NOT NULL,
    count INTEGER NOT NULL,
    source TEXT NOT NULL DEFAULT 'live',
    revision INTEGER NOT NULL DEFAULT 0,
    marks INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (exchange, token, tf, ts)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS indicators (
    exchange TEXT NOT NULL,
    token TEXT NOT NULL,
    name TEXT NOT NULL,
    tf INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    value REAL NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (exchange, token, name, tf, ts)
) WITHOUT ROWID;

-- When the feed saw nothing of an instrument, from_ms to to_ms in epoch milliseconds; to_ms is NULL while that lasts.
-- broken is 0 where only some packets were missed, or came wrong. The position is that of the newest frame that told of
-- it. Gaps of an instrument may overlap: what a feed tells at the end may reach back further than at the beginning.
CREATE TABLE IF NOT EXISTS gaps (
    exchange TEXT NOT NULL,
    token TEXT NOT NULL,
    from_ms INTEGER NOT NULL,
    to_ms INTEGER,
    broken INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (exchange, token, from_ms)
) WITHOUT ROWID;

-- How far each stage's topic has been read, moved in the transaction that writes the rows; and what the frames up to
-- there held, so that the counts are exactly once too. Ticks are counted by the candles stage.
CREATE TABLE IF NOT EXISTS positions (
    stage TEXT NOT NULL,
    partition INTEGER NOT NULL,
    log TEXT NOT NULL,
    run INTEGER NOT NULL,
    position INTEGER NOT NULL,
    "offset" INTEGER NOT NULL,
    clock_ms INTEGER NOT NULL,
    row_count INTEGER NOT NULL,
    gaps INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    late INTEGER NOT NULL,
    out_of_session INTEGER NOT NULL,
    PRIMARY KEY (stage, partition)
) WITHOUT ROWID;
