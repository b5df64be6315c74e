"""Flows as Zeek writes its connections (``conn.log``), with what we know of them behind its columns."""

import hashlib
from typing import IO

from mtc.rows import Row, Writer

_FIELDS = (
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("proto", "enum"),
    ("service", "string"),
    ("duration", "interval"),
    ("orig_pkts", "count"),
    ("orig_ip_bytes", "count"),
    ("resp_pkts", "count"),
    ("resp_ip_bytes", "count"),
    ("community_id", "string"),
    ("server_name", "string"),
    ("server_name_by", "string"),
    ("alpn", "vector[string]"),
    ("ja4", "string"),
    ("application", "string"),
    ("application_type", "string"),
)
_SERVICES = {"tls": "ssl", "krb5": "krb", "rfb": "rfb", "dot": "ssl"}
"""Where Zeek calls a protocol otherwise."""


class ZeekWriter(Writer):
    """Tab-separated lines below Zeek's header. Bytes are those on the wire, link layer included."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        names, types = zip(*_FIELDS, strict=True)
        for line in (
            "#separator \\x09",
            "#set_separator\t,",
            "#empty_field\t(empty)",
            "#unset_field\t-",
            "#path\tconn",
            "#fields\t" + "\t".join(names),
            "#types\t" + "\t".join(types),
        ):
            file.write(line + "\n")

    def write(self, row: Row) -> None:
        """Take a flow record of ``mtc flows``."""
        service = row["service"] or {}
        app_proto = row["app_proto"]
        values = (
            f"{row['start']:.6f}",
            _uid(row),
            row["src"],
            row["src_port"],
            row["dst"],
            row["dst_port"],
            row["protocol"],
            _SERVICES.get(app_proto, app_proto),
            f"{row['end'] - row['start']:.6f}",
            row["packets_forward"],
            row["bytes_forward"],
            row["packets_back"],
            row["bytes_back"],
            row["community_id"],
            row["server_name"],
            row["server_name_by"],
            ",".join(row["alpn"] or ()) or None,
            row["ja4"],
            service.get("application"),
            service.get("type"),
        )
        self._file.write("\t".join("-" if value is None else _escaped(str(value)) for value in values) + "\n")


def _uid(row: Row) -> str:
    """An id in Zeek's form, the same whenever the capture is read."""
    text = f"{row['capture']} {row['flow']} {row['community_id']} {row['start']}"
    return "C" + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _escaped(text: str) -> str:
    """Zeek writes control characters and its own separators as ``\\xHH``."""
    return "".join(c if c.isprintable() and c != "\\" else f"\\x{ord(c):02x}" for c in text)
