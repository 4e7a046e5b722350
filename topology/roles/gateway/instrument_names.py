"""What instruments are called, out of the broker's instrument master."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path

from topology.angel.master import MasterError
from topology.angel.master.listings import Listings
from topology.market.instruments import Instrument, default_class
from web.ports import Info


class MasterNames:
    """Implements `web.ports.Names` with the last good copy of the master at ``path``; a newer one is noticed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Info] = {}
        self._copy: tuple[int, int] | None = None

    async def of(self, instruments: Collection[str]) -> dict[str, Info]:
        """Return what instruments are called: all of them, by their token where nothing is known."""
        return await asyncio.to_thread(self._of, instruments)

    def _of(self, instruments: Collection[str]) -> dict[str, Info]:
        copy = self._stamp()
        known = self._known if copy == self._copy else {}
        missing = [name for name in instruments if name not in known]
        if missing:
            known = known | self._look_up(missing)
            self._known, self._copy = known, copy
        return {name: known[name] for name in instruments}

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns

    def _look_up(self, instruments: Collection[str]) -> dict[str, Info]:
        infos = {}
        try:
            with Listings.opened(self._path) or nullcontext() as listings:
                for name in instruments:
                    listing = None if listings is None else listings.get(Instrument.parse(name))
                    if listing is not None:
                        infos[name] = Info(listing.symbol, listing.name, listing.instrument_class)
        except MasterError:
            pass  # a damaged copy: the feed says so, and makes it anew; until then tokens do
        return {name: infos.get(name) or _by_token(name) for name in instruments}


def _by_token(instrument: str) -> Info:
    token = instrument.partition(":")[2]
    return Info(token, token, default_class(instrument))
