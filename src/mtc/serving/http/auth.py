"""Bearer-token authentication and browser sessions."""

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable

COOKIE = "mtc_session"
SESSION_S = 12 * 3600
MOST_SESSIONS = 1000


def new_token() -> str:
    """A token that nobody guesses: 256 bits."""
    return secrets.token_urlsafe(32)


class Authenticator:
    """Knows the token and the sessions that were opened with it."""

    def __init__(self, token: str | None) -> None:
        """Ask for ``token``, or for nothing where it is None."""
        self._token = None if token is None else token.encode()
        self._sessions: OrderedDict[str, float] = OrderedDict()

    @property
    def asks(self) -> bool:
        """Whether anything must be shown."""
        return self._token is not None

    def is_token(self, given: str) -> bool:
        """Whether this is the token; takes as long for any wrong one."""
        return self._token is not None and hmac.compare_digest(given.encode(), self._token)

    def open_session(self) -> str:
        """A new session, for a cookie."""
        session = secrets.token_urlsafe(32)
        self._sessions[session] = time.monotonic() + SESSION_S
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def close_session(self, session: str) -> None:
        """Forget a session."""
        self._sessions.pop(session, None)

    def allows(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether the headers of a request show the token or a session."""
        if not self.asks:
            return True
        for name, value in headers:
            text = value.decode("latin-1")
            if name == b"authorization" and text[:7].lower() == "bearer ":
                return self.is_token(text[7:].strip())
            if name == b"cookie" and self._is_session(cookie(text)):
                return True
        return False

    def _is_session(self, session: str | None) -> bool:
        # Sessions are random and long: looking one up in a dictionary says nothing about the others.
        return session is not None and self._sessions.get(session, 0) > time.monotonic()


def cookie(header: str) -> str | None:
    """The session in a ``Cookie`` header."""
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return None
