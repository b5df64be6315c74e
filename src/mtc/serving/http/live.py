"""Events of running watches: the last ones are kept, and passed on to whoever listens."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

Event = dict[str, Any]

MOST_LINE = 64 << 10
"""Bytes of one event."""


class LiveFeed:
    """The last events, numbered from 1."""

    def __init__(self, kept: int, problem_of: Callable[[Any], str | None]) -> None:
        """Keep ``kept`` events; ``problem_of`` says what is wrong with an event, or None."""
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
            self._events.append(event)
            self.last += 1
        return problem

    async def tell(self) -> None:
        """Wake whoever listens."""
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
