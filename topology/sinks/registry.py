"""All sinks: a new one is imported and named here, and its role is in `topology.settings.ROLES`."""

from __future__ import annotations

from collections.abc import Sequence

from topology.settings import Settings
from topology.sinks.archive.sink import ArchiveSink
from topology.sinks.jsonl.sink import JsonlSink
from topology.sinks.mirror.sink import MirrorSink
from topology.sinks.sink import Sink

SINKS: Sequence[type[Sink]] = (
    MirrorSink,
    ArchiveSink,
    JsonlSink,
)


def used_sinks(settings: Settings) -> list[Sink]:
    """Return the sinks that this installation has."""
    sinks = [sink(settings) for sink in SINKS]
    return [sink for sink in sinks if sink.is_used]
