"""The notices that wait for a channel: grouped by kind, and let out at the channel's pace. Pure."""

from __future__ import annotations

from math import inf

import msgspec

from topology.notifiers.notice import Kind, Notice, clock

GROUP_S = 300.0
"""After a message, notices of its kind wait this long, and become one message."""
BURST, PACE_S = 6, 20.0
"""A channel gets six messages at once, then one in twenty seconds. (Telegram's limit: 20 a minute in a group.)"""


class NoticeGroup(msgspec.Struct):
    """Notices of one kind that become one message: how many, when the first came, and the newest, which is shown."""

    newest: Notice
    first: Notice
    first_s: float
    count: int = 1

    @property
    def notice(self) -> Notice:
        """The notice of the group: the newest one, and how often it happened."""
        if self.count == 1:
            return self.newest
        title = f"{self.newest.title} ({self.count} times since {clock(self.first.at_ms)})"
        return msgspec.structs.replace(self.newest, title=title)


class NoticeQueue:
    """What waits for a channel: at most one message of each kind, so that it stays small however long that takes.

    Messages leave in the order of their newest notice. So when one is due, those before it that are held back
    leave first: "recovered" never comes before the "stale" that it answers. Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._groups: dict[Kind, NoticeGroup] = {}  # in the order of their newest notice
        self._left_s: dict[Kind, float] = {}
        self._paid_until_s = -inf  # each message pays for the next `PACE_S`, up to a burst ahead

    def add(self, notice: Notice, now_s: float) -> bool:
        """Add a notice; return whether it was added to a group that waits."""
        group = self._groups.pop(notice.kind, None)
        if group is None:
            self._groups[notice.kind] = NoticeGroup(notice, notice, now_s)
            return False
        group.newest, group.count = notice, group.count + 1
        self._groups[notice.kind] = group
        return True

    def wait_s(self, now_s: float) -> float | None:
        """Return how long to wait until a message may leave, zero where one may now; None where there is none."""
        if not self._groups:
            return None
        due_s = min(map(self._due_s, self._groups))
        return max(0.0, due_s - now_s, self._paid_until_s - (BURST - 1) * PACE_S - now_s)

    def pop(self, now_s: float) -> NoticeGroup | None:
        """Let out the next message, None if none may leave yet."""
        if self.wait_s(now_s) != 0.0:
            return None
        self._paid_until_s = max(self._paid_until_s, now_s) + PACE_S
        kind = next(iter(self._groups))
        self._left_s[kind] = now_s
        return self._groups.pop(kind)

    def _due_s(self, kind: Kind) -> float:
        """Return when a message may leave: at once, but not within `GROUP_S` of the last one of its kind."""
        return self._left_s.get(kind, -inf) + GROUP_S
