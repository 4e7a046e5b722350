"""The configuration that the environment asks for."""

from __future__ import annotations

from contextlib import nullcontext

from topology.angel.master.listings import FILE_NAME, Listings
from topology.feeds.subscriptions import named
from topology.log.frames import Configure
from topology.market import Calendar
from topology.market.instruments import default_class
from topology.settings import Settings


def from_settings(settings: Settings) -> Configure:
    """Return the configuration that the environment asks for. Its id is 0: the log gives it one.

    Raises CalendarError for a calendar that can't be used, OSError for one that can't be read.
    """
    return Configure(
        id=0,
        timeframes={seconds: list(settings.indicators) for seconds in settings.enabled_tfs},
        classes=_classes(settings),
        calendar=Calendar.parse(settings.calendar_text()).text,
        lateness_ms=settings.allowed_lateness_ms,
    )


def _classes(settings: Settings) -> dict[str, str]:
    """Return the classes of the subscribed instruments that the instrument master knows better than the exchange does.

    Without a copy of the master there are none: it is fetched before the first start by who needs it.
    """
    with Listings.opened(settings.namespace_dir / FILE_NAME) or nullcontext() as listings:
        if listings is None:
            return {}
        wanted = named(settings.subscribe_tokens, listings)
        found = [listing for instrument in wanted if (listing := listings.get(instrument)) is not None]
    classes = {str(listing.instrument): listing.instrument_class for listing in found}
    return {name: of_class for name, of_class in classes.items() if of_class != default_class(name)}
