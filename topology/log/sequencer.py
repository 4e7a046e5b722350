"""The law of positions: each frame is applied once, in order, and never past one that is missing."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection
from typing import Generic, TypeVar

HOLD_S = 60.0  # how long a frame waits for one that is missing before it

Item = TypeVar("Item")


class Order(enum.Enum):
    """What a frame is to a reader that has applied a position."""

    DUPLICATE = "duplicate"
    NEXT = "next"
    AHEAD = "ahead"


def order(applied: int | None, position: int) -> Order:
    """Say whether the frame at ``position`` is a duplicate, the next one, or ahead of one that is missing.

    ``applied`` is None where nothing has been applied: then any frame is the first.
    """
    if applied is None or position == applied + 1:
        return Order.NEXT
    return Order.DUPLICATE if position <= applied else Order.AHEAD


class Sequencer(Generic[Item]):
    """Puts the items of one partition in the order of their positions. ``clock`` gives monotonic seconds.

    ``applied`` is the position of the last item that was released, None where there is none yet. An item ahead of one
    that is missing is held until that comes; of several at one position the first is held.
    """

    def __init__(self, applied: int | None, clock: Callable[[], float]) -> None:
        self.applied = applied
        self._clock = clock
        self._held: dict[int, Item] = {}
        self._waiting_since_s: float | None = None

    @property
    def held(self) -> Collection[Item]:
        """The items that wait for a missing one before them."""
        return self._held.values()

    @property
    def is_overdue(self) -> bool:
        """Whether the missing item has been waited for longer than `HOLD_S`."""
        return self._waiting_since_s is not None and self._clock() - self._waiting_since_s > HOLD_S

    def is_duplicate(self, position: int) -> bool:
        """Whether the item at a position has been released before."""
        return order(self.applied, position) is Order.DUPLICATE

    def release(self, position: int, item: Item) -> list[tuple[int, Item]]:
        """Return what may be applied now that this item has come, in order, each with its position.

        That is nothing for a duplicate or one that is ahead, and several where it fills a hole.
        """
        match order(self.applied, position):
            case Order.DUPLICATE:
                return []
            case Order.AHEAD:
                self._held.setdefault(position, item)
                if self._waiting_since_s is None:
                    self._waiting_since_s = self._clock()
                return []
        released = [(position, item)]
        while position + 1 in self._held:
            position += 1
            released.append((position, self._held.pop(position)))
        self.applied = position
        self._waiting_since_s = self._clock() if self._held else None
        return released
