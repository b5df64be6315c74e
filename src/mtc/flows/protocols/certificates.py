"""Names in an X.509 certificate: a walk over its DER, which may be cut off.

Source: RFC 5280, sections 4.1 and 4.2.1.6. Only the path to the subject and to the alternative names is
walked, so a certificate whose other fields are odd, or missing because the capture ends, still has names.
"""

from collections.abc import Iterator

from mtc.flows.protocols.cursor import Cursor, TruncatedError, text

_SEQUENCE, _OID, _OCTETS, _EXTENSIONS, _DNS_NAME = 0x30, 0x06, 0x04, 0xA3, 0x82
_COMMON_NAME = bytes.fromhex("550403")
_ALTERNATIVE_NAMES = bytes.fromhex("551d11")
_MAX_ELEMENTS = 1000
_MAX_NAMES = 100


def names_in_certificate(der: bytes) -> tuple[str, ...]:
    """DNS names of a certificate: the subject's common name if it looks like one, then the alternative names.

    Args:
        der: the certificate; may be cut off.
    """
    names: dict[str, None] = {}
    for name in (*_common_names(der), *_alternative_names(der)):
        if "." in name and " " not in name and len(name) <= 255:
            names.setdefault(name)
    return tuple(names)[:_MAX_NAMES]


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of the DER elements that lie one after the other; the last may be cut off."""
    cursor = Cursor(der)
    for _ in range(_MAX_ELEMENTS):
        try:
            tag, length = cursor.number(1), cursor.number(1)
            if length > 0x84:
                return
            if length >= 0x80:
                length = cursor.number(length - 0x80)
        except TruncatedError:
            return
        yield tag, der[cursor.at : cursor.at + length]
        cursor.at += length
        if cursor.at >= len(der):
            return


def _first(der: bytes, tag: int) -> bytes:
    return next((content for kind, content in _elements(der) if kind == tag), b"")


def _fields(der: bytes) -> list[tuple[int, bytes]]:
    """Fields of the part that is signed: version, serial, algorithm, issuer, validity, subject, key, ..."""
    return list(_elements(_first(_first(der, _SEQUENCE), _SEQUENCE)))


def _common_names(der: bytes) -> Iterator[str]:
    sequences = [content for tag, content in _fields(der) if tag == _SEQUENCE]
    subject = sequences[3] if len(sequences) > 3 else b""  # after algorithm, issuer and validity
    for _, attributes in _elements(subject):
        for _, attribute in _elements(attributes):
            parts = list(_elements(attribute))
            if len(parts) == 2 and parts[0] == (_OID, _COMMON_NAME):
                yield text(parts[1][1])


def _alternative_names(der: bytes) -> Iterator[str]:
    extensions = next((content for tag, content in _fields(der) if tag == _EXTENSIONS), b"")
    for _, extension in _elements(_first(extensions, _SEQUENCE)):
        parts = list(_elements(extension))
        if parts and parts[0] == (_OID, _ALTERNATIVE_NAMES) and parts[-1][0] == _OCTETS:
            for tag, name in _elements(_first(parts[-1][1], _SEQUENCE)):
                if tag == _DNS_NAME:
                    yield text(name)
