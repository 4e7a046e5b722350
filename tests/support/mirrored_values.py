"""What Redis holds, against what the archive holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import msgspec
from redis import Redis

from tests.reference.brute_force import Row
from tests.support.archived_rows import Archived


def length(seconds: int) -> int:
    """Return how many entries the streams of a timeframe keep, at least."""
    return 12_000 if seconds == 1 else max(10_800 // seconds + 100, 200)


def mirror_differences(port: int, archived: Archived, rows: list[Row]) -> list[str]:
    """Say where streams, latest values and ticks in Redis differ from the newest rows of the archive, and the ticks."""
    with Redis(port=port, decode_responses=True) as redis:
        wanted = _streams(archived)
        kept = {name for name in redis.scan_iter(count=1000) if redis.type(name) == "stream"}
        found = [f"{len(kept ^ set(wanted))} streams too many or missing"] if kept != set(wanted) else []
        for name, entries in wanted.items():
            found += _stream_differences(redis, name, entries)
        newest = {row.instrument: row for row in sorted(rows, key=lambda row: row.time_ms)}
        for instrument, row in newest.items():
            tick = _read(redis.get(f"tick:latest:{instrument}"))
            if (tick.get("price"), tick.get("tick_ts")) != (row.price, row.time_ms):
                found.append(f"tick of {instrument}: {tick}, not {row}")
    return found


def _streams(archived: Archived) -> dict[str, list[dict[str, Any]]]:
    """Give what each stream has to hold, oldest first, of what the archive has."""
    streams = defaultdict(list)
    for (instrument, seconds, start_ms), candle in archived.candles.items():
        open_, high, low, close, volume, count = candle
        said: dict[str, Any] = {"ts": start_ms // 1000, "tf": seconds, "forming": False, "volume": volume}
        said |= {"open": open_, "high": high, "low": low, "close": close}
        said["ticks_count" if seconds == 1 else "count"] = count
        streams[f"candle:{seconds}s:{instrument}"].append(said)
    for (instrument, name, seconds, start_ms), value in archived.values.items():
        said = {
            "ts": start_ms // 1000,
            "tf": seconds,
            "name": name,
            "value": round(value, 4),
            "ready": True,
            "live": False,
        }
        streams[f"ind:{name}:{seconds}s:{instrument}"].append(said)
    return {name: sorted(entries, key=lambda entry: int(entry["ts"])) for name, entries in streams.items()}


def _stream_differences(redis: Any, name: str, wanted: list[dict[str, Any]]) -> list[str]:
    entries = [(key, _read(fields["data"])) for key, fields in redis.xrange(name)]
    found = []
    if [key for key, _ in entries] != [f"{data['ts']}000-0" for _, data in entries]:
        found.append(f"{name}: ids that aren't the candles' starts")
    if len(entries) < min(len(wanted), length(wanted[-1]["tf"])):
        found.append(f"{name}: {len(entries)} entries of {len(wanted)}")
    newest_first = zip(reversed(entries), reversed(wanted), strict=False)  # the oldest are no longer kept
    found += [f"{name}: {data}, not {row}" for (_, data), row in newest_first if not row.items() <= data.items()][:1]
    prefix, _, instrument = name.partition("s:")
    latest = _read(redis.get(f"{prefix}s:latest:{instrument}"))
    return found if wanted[-1].items() <= latest.items() else [*found, f"{name}: the latest is {latest}"]


def _read(text: str | None) -> Mapping[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(text) if text else {}
    return found
