"""Makes the packed data folder: a short day is fed until its middle, all is stopped in order, and the folder is packed.

    .venv/bin/python -m tests.wire.make_state 2022-11-22.csv

It was run with the code of commit 2fb48a8 (`kept.COMMIT`), where only these tests were new, on a recorded day of the
NIFTY 50 (timestamp,price). Run by later code it makes what that code leaves: give it another COMMIT then.

The pack holds `recording.csv`, whole; `data/`, as the code left it after five ninths of that: the broker's log, Redis'
dump, the archive, the tables of the pipeline, and the feed's and gateway's files; and `expected.json`, what the same
code made of the whole recording in one go. Left out is what is made anew at each start and names paths of the
machine: logs, configurations and locks.
"""

from __future__ import annotations

import asyncio
import csv
import json
import re
import sys
import tarfile
import tempfile
from datetime import date
from pathlib import Path

from tests.reference.brute_force import indian_ms
from tests.wire import kept
from tests.wire.inside import (
    BackfillQueue,
    BackfillRequest,
    FeedEvent,
    TickLogWriter,
    Warmup,
    append_command,
    configuration_of,
    create_log,
    subscriptions_of,
    write_listings,
)
from tests.wire.kept import INDEX, OTHER, STOCK, StateCluster

DAY = date(2022, 11, 22)
STRETCHES = (("09:15:00", "09:24:00"), ("15:26:00", "15:30:00"))
LISTINGS = [
    (INDEX, "Nifty 50", "NIFTY", "AMXIDX"),
    (STOCK, "TCS-EQ", "TCS", ""),
    (OTHER, "RELIANCE-EQ", "RELIANCE", ""),
    ("NFO:35001", "NIFTY22NOV22FUT", "NIFTY", "FUTIDX"),
]
LEFT_OUT = re.compile(
    r"(kafka|valkey|[a-z]+-0)\.log|(server|log4j2)\.properties|valkey\.conf|lock|LOCK|instruments\.lock|LOG.*|OPTIONS.*"
)
INDEX_OF_METADATA = re.compile(r".*/__cluster_metadata-0/\d+\.(time)?index")  # 10 MB of zeros each: made anew


def record(day: Path, path: Path) -> None:
    """Take two intervals of a recorded day for the index, and make a stock with volume and another one of it."""
    spans = [(indian_ms(DAY, begin), indian_ms(DAY, end)) for begin, end in STRETCHES]
    with day.open(newline="") as source, path.open("w", newline="") as target:
        written = csv.writer(target, lineterminator="\n")
        written.writerow(["time_ms", "instrument", "price", "volume"])
        for row in csv.DictReader(source):
            time_ms, price = indian_ms(DAY, row["timestamp"].split()[1]), round(float(row["price"]) * 100)
            if not any(begin <= time_ms < end for begin, end in spans):
                continue
            written.writerow([time_ms, INDEX, price, ""])
            second = time_ms // 1000
            if second % 3 == 0:
                written.writerow([time_ms + 150, STOCK, price * 17 // 100, second % 86_400 * 7])
            if second % 7 == 0:
                written.writerow([time_ms + 400, OTHER, price * 13 // 100, second % 86_400 * 3])


async def begin(cluster: StateCluster) -> None:
    """Make the log, a request in it, and what feed and gateway keep on disk."""
    settings = cluster.settings
    log = await create_log(settings.bootstrap, settings.namespace, kept.PARTITIONS, configuration_of(settings))
    await append_command(settings.bootstrap, settings.namespace, Warmup(0, [STOCK], True))
    await cluster.read_log()
    folder = settings.namespace_dir
    at_ms = indian_ms(DAY, "08:30:00")
    for listings in (LISTINGS, LISTINGS[:-1]):  # a contract was seen, and is gone
        write_listings(
            folder / "instruments.db", [kept.listing(*one) for one in listings], left_out={}, fetched_at_ms=at_ms,
            source="made up", accept=lambda _: None,
        )  # fmt: skip
        subscriptions_of(settings)
    backlog = BackfillQueue(folder / "history.json", log.header.log)
    backlog.asked = 2
    backlog.promise(STOCK, {60: 250, 300: 250})
    backlog.add(
        STOCK,
        [
            BackfillRequest(60, at_ms - 86_400_000, at_ms, at_ms, tries=1),
            BackfillRequest(300, at_ms, at_ms + 60_000, at_ms, 1),
        ],
    )
    backlog.begin_gap([STOCK], at_ms)
    backlog.save()
    settings.token_path.write_text(kept.TOKEN + "\n")


async def fed(folder: Path, slices: list[kept.Slice], gaps_from: list[kept.Slice]) -> dict[str, object]:
    """Run everything over slices; return what archive and Redis hold then, and what names there are."""
    cluster = StateCluster(folder)
    async with cluster.running():
        await begin(cluster)
        cluster.start()
        await cluster.write(slices, kept.gaps_of(gaps_from))
        async with TickLogWriter(cluster.kafka.bootstrap, cluster.log) as writer:
            await writer.event(FeedEvent(0, "", slices[-1].clock_ms, "gap", 0, "a socket", slices[0].clock_ms, None, 1))
            await writer.flush()
        await cluster.settle()
        redis, names = kept.redis_values(cluster.valkey.port), await cluster.names()
    return {"archive": kept.archive_rows(folder / "candles.db"), "redis": redis, "names": names}


def pack(made: Path) -> None:
    """Pack what belongs into it, with owners that name nobody."""

    def included(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if LEFT_OUT.fullmatch(Path(entry.name).name) or INDEX_OF_METADATA.fullmatch(entry.name):
            return None
        entry.uid = entry.gid = 1000
        entry.uname = entry.gname = "topology"
        return entry

    kept.PACKED.parent.mkdir(exist_ok=True)
    with tarfile.open(kept.PACKED, "w:xz", preset=9) as packed:
        for name in ("recording.csv", "expected.json", "data"):
            packed.add(made / name, name, filter=included)


def main(day: Path) -> None:
    """Make it."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made"
        made.mkdir()
        record(day, made / "recording.csv")
        slices = kept.recording(made / "recording.csv")
        expected = asyncio.run(fed(Path(folder) / "whole", slices, slices))
        asyncio.run(fed(made / "data", slices[: kept.cut_of(slices)], slices))
        expected["commit"] = kept.COMMIT
        (made / "expected.json").write_text(json.dumps(expected, indent=1))
        pack(made)
    print(f"{kept.PACKED}: {kept.PACKED.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
