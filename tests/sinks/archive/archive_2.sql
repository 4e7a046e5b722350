-- An archive as version 2 made it, with a row in each table: what a later version has to take over.

-- The archive: prices in paise, times in epoch seconds UTC, indicator values as float64.
-- partition and position name the tick frame that caused a row. marks: 1 where the feed saw nothing for a part of the
-- candle, 2 where high or low is one of the day that no tick has shown, 4 where the broker's history has the candle; the
-- sum of what applies. With 4 the source is 'broker'; its revision is 1 where it corrects, 0 where it only fills in.

PRAGMA user_version = 2;

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

INSERT INTO candles_1s VALUES ('NSE', '00', 1669088700, 100, 110, 90, 105, 5, 3, 'live', 0, 0, 0);
INSERT INTO candles_tf VALUES ('NSE', '00', 60, 1669088700, 100, 110, 90, 105, 5, 3, 'broker', 1, 4, 0, 0);
INSERT INTO indicators VALUES ('NSE', '00', 'SMA_9', 60, 1669088700, 35.5, 0, 0);
INSERT INTO positions VALUES ('candles_1s', 0, 'log', 1, 0, 0, 1669088700000, 1, 0, 3, 0, 0);
