-- The instrument master: one row a listing, in the order in which a search lists them (`place`).
-- Prices are in units of 1/price_divisor rupee. A key has letters, digits and & only, in capitals.

PRAGMA user_version = 1;

CREATE TABLE listings (
    place INTEGER PRIMARY KEY,
    exchange TEXT NOT NULL,
    token TEXT NOT NULL,
    symbol TEXT NOT NULL,
    name TEXT NOT NULL,
    expiry TEXT,
    strike INTEGER,
    lot_size INTEGER NOT NULL,
    tick_size INTEGER,
    instrument_type TEXT NOT NULL,
    price_divisor INTEGER NOT NULL,
    instrument_class TEXT NOT NULL,
    symbol_key TEXT NOT NULL,
    stock_key TEXT NOT NULL,
    name_key TEXT NOT NULL,
    option INTEGER NOT NULL,
    UNIQUE (token, exchange)
);

CREATE INDEX symbols ON listings (symbol_key);
CREATE INDEX stocks ON listings (stock_key) WHERE stock_key <> '';
CREATE INDEX names ON listings (name_key, option);

-- The words of each listing, and the same text, after a space, by every three characters: for words within words.
CREATE VIRTUAL TABLE words USING fts5 (
    text, content = '', detail = none, prefix = '1 2', tokenize = "ascii tokenchars '&'"
);
CREATE VIRTUAL TABLE parts USING fts5 (text, content = '', tokenize = 'trigram');

CREATE TABLE origin (
    fetched_at_ms INTEGER NOT NULL,
    source TEXT NOT NULL,
    left_out TEXT NOT NULL,
    listings INTEGER NOT NULL
);
