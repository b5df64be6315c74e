"""Protocols of lines of text: web, mail, chat, calls, files."""

import re
from collections.abc import Callable

from mtc.flows.detectors.detector import Detector, Side, is_text

_REQUEST = re.compile(
    rb"[A-Z][A-Z_-]{1,19} [^\r\n]{1,8000}? (HTTP/1\.[01]|RTSP/1\.0|RTSP/2\.0|SIP/2\.0|ICAP/1\.0)\r?\n"
)
_METHOD = re.compile(
    rb"(GET|POST|HEAD|PUT|DELETE|OPTIONS|CONNECT|PATCH|TRACE|PROPFIND|PROPPATCH|MKCOL|COPY|MOVE|LOCK|UNLOCK|REPORT"
    rb"|SEARCH|BITS_POST|RPC_IN_DATA|RPC_OUT_DATA|RPC_CONNECT) [^\x00-\x1f\x7f]{1,8000}$"
)
_CAPITALS = tuple(bytes([letter]) for letter in range(65, 91))
_LETTERS = (*_CAPITALS, *(letter.lower() for letter in _CAPITALS))
_KINDS = {b"HTTP": "http", b"RTSP": "rtsp", b"SIP/": "sip", b"ICAP": "icap"}


def _request_of(kind: str) -> Callable[[bytes, Side], bool]:
    def is_request(first: bytes, side: Side) -> bool:
        found = _REQUEST.match(first)
        return found is not None and _KINDS[found[1][:4]] == kind

    return is_request


def _is_long_request(first: bytes, side: Side) -> bool:
    """A request line so long that its end is not there, answered by HTTP or at its ports."""
    answered = side.answer.startswith(b"HTTP/1.")
    known = side.peer_port in (80, 8080, 3128)
    return (answered or known) and _METHOD.match(first.split(b"\r\n", 1)[0]) is not None


def _greets(*words: bytes, client: tuple[bytes, ...]) -> Callable[[bytes, Side], bool]:
    """A server's greeting that names its protocol, or is answered by one of a client's commands."""

    def is_greeting(first: bytes, side: Side) -> bool:
        line = first[:600].upper()
        answer = side.answer[:64].upper()
        return any(word in line for word in words) or answer.startswith(client)

    return is_greeting


def _commands(server: tuple[bytes, ...]) -> Callable[[bytes, Side], bool]:
    """A client's command, answered as its protocol does."""

    def is_command(first: bytes, side: Side) -> bool:
        return side.answer.startswith(server) and b"\n" in first[:600]

    return is_command


_SMTP = (b"EHLO", b"HELO", b"LHLO", b"STARTTLS", b"MAIL FROM", b"QUIT")
_FTP = (b"USER ", b"AUTH ", b"FEAT", b"SYST", b"PASS ", b"OPTS ", b"ACCT ")
_IMAP = re.compile(
    rb"[A-Za-z0-9.+_-]{1,16} (CAPABILITY|LOGIN|AUTHENTICATE|STARTTLS|ID|NOOP|SELECT|LOGOUT)[ \r\n]", re.I
)
_NNTP = (b"MODE READER", b"CAPABILITIES", b"GROUP ", b"LIST", b"AUTHINFO", b"ARTICLE ", b"XOVER", b"HELP")
_IRC = re.compile(rb"(:[^ ]{1,512} )?(NICK|USER|PASS|CAP|NOTICE|JOIN|PRIVMSG|001|ERROR) [^\r\n]*\r?\n", re.I)
_SYSLOG = re.compile(rb"<(1?[0-9]?[0-9])>(1 |[A-Z][a-z]{2} [ 0-3]?[0-9] |[\x20-\x7e])")
_SIP = re.compile(rb"[A-Z]{3,10} (sips?|tel|im|pres):[^\r\n]{1,2000} SIP/2\.0\r?\n", re.I)
_SSDP = (b"M-SEARCH * HTTP/1.1", b"NOTIFY * HTTP/1.1", b"HTTP/1.1 200 OK")


def _is_imap_command(first: bytes, side: Side) -> bool:
    return _IMAP.match(first) is not None and (side.at(143) or bool(side.peer))


def _is_irc(first: bytes, side: Side) -> bool:
    peer = side.answer
    other = _IRC.match(peer) is not None or side.at(6667)
    return _IRC.match(first) is not None and (other or first.count(b"\n") > 1)


def _is_xmpp(first: bytes, side: Side) -> bool:
    head = first[:1000]
    return b"jabber:" in head or b"<stream:stream" in head or b"etherx.jabber.org" in head


def _is_syslog(first: bytes, side: Side) -> bool:
    """A priority up to 191, and text (RFC 3164, RFC 5424)."""
    found = _SYSLOG.match(first)
    return found is not None and int(found[1]) <= 191 and not any(byte < 9 for byte in first[:64])


def _is_sip(first: bytes, side: Side) -> bool:
    return _SIP.match(first) is not None


def _is_damaged_sip(first: bytes, side: Side) -> bool:
    """A line with SIP's version or one of its methods, or what keeps an address translation alive."""
    line = first.split(b"\n", 1)[0]
    methods = (b"INVITE", b"REGISTER", b"OPTIONS", b"CANCEL", b"ACK ", b"BYE ", b"SUBSCRIBE", b"NOTIFY")
    return b"SIP/" in line or first.startswith(methods) or not first.strip(b"\r\n\0 ")


def _is_line(first: bytes, side: Side) -> bool:
    return is_text(first) and b"\n" in first[:1000]


def _is_amid_http(first: bytes, side: Side) -> bool:
    """Anything, where the beginning of the stream is not there: a body that goes on."""
    return not side.opened


def _is_tracker_request(first: bytes, side: Side) -> bool:
    """A request to a BitTorrent tracker, which goes over HTTP (BEP 3), or the answer to one."""
    return any(b"info_hash=" in text.partition(b"\r\n")[0] for text in (first, side.answer))


TEXT = (
    Detector("bittorrent", "tcp", (b"GET ", b"HTTP/1."), _is_tracker_request),
    Detector("http2", "tcp", (b"PRI * HTTP/2.0\r\n",)),
    Detector("http", "tcp", (b"HTTP/1.0 ", b"HTTP/1.1 ")),
    Detector("rtsp", "tcp", (b"RTSP/1.0 ", b"RTSP/2.0 ")),
    Detector("rtsp", "both", _CAPITALS, _request_of("rtsp")),
    Detector("sip", "both", (b"SIP/2.0 ",)),
    Detector("sip", "both", _LETTERS, _is_sip),
    Detector("sip", "udp", test=_is_damaged_sip, ports=frozenset((5060, 5061)), needs_port=True),
    Detector("ssdp", "udp", _SSDP, lambda first, side: side.at(1900) or b"ssdp" in first),
    Detector("bittorrent", "udp", (b"BT-SEARCH * HTTP/1.1",)),
    Detector("http", "tcp", _CAPITALS, _request_of("http")),
    Detector("icap", "tcp", _CAPITALS, _request_of("icap")),
    Detector("http", "tcp", _CAPITALS, _is_long_request),
    Detector("smtp", "tcp", (b"220 ", b"220-", b"554 ", b"421 "), _greets(b"SMTP", b"MAIL", client=_SMTP)),
    Detector("ftp", "tcp", (b"220 ", b"220-", b"230 "), _greets(b"FTP", client=_FTP)),
    Detector("smtp", "tcp", _SMTP[:3], _commands((b"220", b"250", b"5"))),
    Detector("ftp", "tcp", _FTP, _commands((b"220", b"331", b"234", b"230", b"530"))),
    Detector("ftp", "tcp", test=_is_line, ports=frozenset((21,)), needs_port=True),
    Detector("smtp", "tcp", test=_is_line, ports=frozenset((25, 587)), needs_port=True),
    Detector("http", "tcp", test=_is_amid_http, ports=frozenset((80, 3128, 8080)), needs_port=True),
    Detector(
        "pop3",
        "tcp",
        (b"+OK", b"-ERR"),
        _greets(b"POP", client=(b"USER", b"CAPA", b"APOP", b"AUTH", b"STLS")),
    ),
    Detector("pop3", "tcp", (b"USER ", b"CAPA", b"APOP ", b"STLS"), _commands((b"+OK", b"-ERR"))),
    Detector("pop3", "tcp", (b"+OK",), None, frozenset((110,)), True),
    Detector("imap", "tcp", (b"* OK", b"* PREAUTH", b"* BYE")),
    Detector("imap", "tcp", test=_is_imap_command),
    Detector("nntp", "tcp", (b"200 ", b"201 "), _greets(b"NNTP", b"NEWS", client=_NNTP)),
    Detector("nntp", "tcp", _NNTP, _commands((b"200", b"201", b"480", b"381", b"281", b"211"))),
    Detector("xmpp", "tcp", (b"<?xml", b"<stream:", b"\xef\xbb\xbf<?xml"), _is_xmpp),
    Detector("irc", "tcp", (b":", *_LETTERS), _is_irc),
    Detector("syslog", "udp", (b"<",), _is_syslog),
    Detector("syslog", "tcp", (b"<",), _is_syslog, frozenset((514, 601)), True),
    Detector("megaco", "both", (b"MEGACO/", b"!/1", b"!/2", b"!/3")),
    Detector("rsync", "tcp", (b"@RSYNCD:",)),
    Detector("git", "tcp", (b"0032git-", b"003"), lambda first, side: first[4:8] == b"git-"),
    Detector("rfb", "tcp", (b"RFB 003.", b"RFB 004.", b"RFB 005.")),
    Detector("gnutella", "tcp", (b"GNUTELLA CONNECT/", b"GNUTELLA/")),
    Detector("whois", "tcp", test=_is_line, ports=frozenset((43,)), needs_port=True),
    Detector("telnet", "tcp", (b"\xff\xfb", b"\xff\xfc", b"\xff\xfd", b"\xff\xfe", b"\xff\xfa")),
)
