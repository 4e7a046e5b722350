"""The ten best prices of a packet, level by level."""

from __future__ import annotations

from topology.feeds.angel.packets import DepthLevel, SnapQuotePacket


def levels(packet: SnapQuotePacket) -> tuple[list[DepthLevel], list[DepthLevel]]:
    """Return the buys and the sells, in the order of the packet."""
    found = [DepthLevel._make(packet.depth[start : start + 4]) for start in range(0, 40, 4)]
    return [level for level in found if level.flag], [level for level in found if not level.flag]
