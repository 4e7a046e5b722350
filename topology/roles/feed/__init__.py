"""The role `feed`: the broker's ticks into the tick log, and what happens to the feed."""
