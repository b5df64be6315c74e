"""The host that an HTTP/1 request is for.

Source: RFC 9112, sections 3.2 and 7.1.
"""

import re

MAX_HEAD = 16384
"""Bytes of a request that are looked at for its Host."""
_MAX_PREFACE = 300
"""Bytes before the request, such as those that ask a SOCKS proxy for a connection."""
_REQUEST = re.compile(rb"(?<![ -~])[A-Z][A-Z-]{2,19} +([^\s]{1,8192}) +HTTP/1\.[01]\r?\n")
_HOST = re.compile(rb"\r?\n[Hh][Oo][Ss][Tt][ \t]*:[ \t]*([^\s]{1,255})[ \t]*\r?\n")
_ABSOLUTE = re.compile(rb"[a-z]{2,8}://(?:[^/@\s]*@)?([^/\s?#]{1,255})")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::\d{0,5})?")


def request_host(stream: bytes) -> str | None:
    """Host of the first request of a TCP stream, without its port.

    Args:
        stream: bytes of the client's direction in order, from the beginning; may be cut off.

    Returns:
        The ``Host`` field; else the host of an absolute target or of CONNECT; None without one.
    """
    head = stream[:MAX_HEAD]
    request = _REQUEST.search(head) if b" HTTP/1." in head else None
    if request is None or request.start() > _MAX_PREFACE:
        return None
    end = head.find(b"\r\n\r\n", request.end() - 2)
    fields = head[request.end() - 1 : end + 2 if end >= 0 else len(head)]
    target = request[1]
    host = _HOST.search(fields) or _ABSOLUTE.match(target)
    value = host[1] if host else target if request[0].startswith(b"CONNECT ") else b""
    try:
        authority = _AUTHORITY.fullmatch(value.decode("ascii"))
    except UnicodeDecodeError:
        return None
    return authority[1].strip("[]") if authority and authority[1].isprintable() else None
