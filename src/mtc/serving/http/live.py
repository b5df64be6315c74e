"""Events of running watches: the last ones are kept, and passed on to listeners."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from mtc.serving.events import community_id

Event = dict[str, Any]

MOST_LINE = 64 << 10
"""Bytes of one event."""


class LiveFeed:
    """The last events, numbered from 1."""

    def __init__(
        self,
        kept: int,
        problem_of: Callable[[Any], str | None],
        rename: Callable[[str], str] | None = None,
    ) -> None:
        """Begin with none.

        Args:
            kept: Events that are kept.
            problem_of: Says what is wrong with an event, or None.
            rename: Gives addresses their pseudonyms; None leaves them as they are.
        """
        self._rename = rename
        self.last = 0
        self._events: deque[Event] = deque(maxlen=kept)
        self._problem_of = problem_of
        self._news = asyncio.Condition()

    def add_line(self, line: bytes) -> str | None:
        """Take an event as JSON; says why it was not taken, or None."""
        if len(line) > MOST_LINE:
            return f"an event has at most {MOST_LINE:,} bytes"
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            return "no JSON"
        problem = self._problem_of(event)
        if problem is None:
            self._events.append(event if self._rename is None else _renamed(event, self._rename))
            self.last += 1
        return problem

    async def wake(self) -> None:
        """Wake the listeners."""
        async with self._news:
            self._news.notify_all()

    def since(self, number: int) -> list[Event]:
        """Events after the one of that number, as far as they are kept."""
        missing = self.last - number
        return list(self._events)[-missing:] if missing > 0 else []

    async def listen(self, replay: int, every_s: float) -> AsyncIterator[list[Event]]:
        """The last ``replay`` events, then new ones as they come; none each ``every_s`` of silence."""
        number = max(0, self.last - replay)
        while True:
            events = self.since(number)
            number = self.last
            yield events
            async with self._news:
                if self.last == number:
                    try:
                        await asyncio.wait_for(self._news.wait(), every_s)
                    except TimeoutError:
                        continue


def _renamed(event: Event, rename: Callable[[str], str]) -> Event:
    """An event of a flow with pseudonyms, and the community id of the pseudonyms."""
    if "src_ip" not in event:
        return event
    src, dst = rename(event["src_ip"]), rename(event["dest_ip"])
    ports = event["src_port"], event["dest_port"]
    flow_id = community_id(src, dst, *ports, tcp=event["proto"] == "TCP")
    return {**event, "src_ip": src, "dest_ip": dst, "community_id": flow_id}
