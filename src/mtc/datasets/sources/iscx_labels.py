"""Labels of the captures of ISCX VPN-nonVPN 2016: our table of the 150 originals, or a manifest.

The table (``iscx_captures.csv``) gives application, service and VPN of each original capture by its
name; rows that others label differently name the dispute. Source: Table 1; rows as in docs/datasets.md.
"""

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from types import MappingProxyType

from mtc.errors import DatasetError, UsageError
from mtc.tasks import ISCX, iscx_labels

MANIFEST_FILE = "manifest.csv"

VARIANTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"video-call": ("voip", "out"), "gmail": ("email", "chat"), "tor": ("in", "out")}
)
"""Dispute -> readings of its rows, the first is the default: video calls are VoIP or left out, the
captures gmailchat are e-mail or chat, Tor is in or out."""

_TABLE_FILE = "iscx_captures.csv"
_SUFFIX = re.compile(r"(\s*\.(pcap|pcapng|cap|dmp))?(\.(gz|zst|xz))?$", re.IGNORECASE)
_NO_SERVICE = ("", "browsing", "none")


@dataclass(frozen=True, slots=True)
class CaptureFacts:
    """Labels of a capture, by its name."""

    capture: str
    """Name without extension, as its table spells it."""
    application: str | None
    service: str | None
    """``chat``, ``email``, ...; None for browsing, which is no traffic type here."""
    vpn: bool
    disputed: str = ""
    """Why others label it differently: ``video-call``, ``gmail``, ``tor``, or nothing."""

    @property
    def labels(self) -> dict[str, str | None]:
        """Task -> label, or None where there is none."""
        return {"application": self.application, **iscx_labels(self.service, self.vpn)}


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Facts by name; names are found whatever their case, blanks and extension."""

    name: str
    version: str
    """Version of our own table, or the sha256 of a manifest."""
    facts: Mapping[str, CaptureFacts]
    """Folded name -> facts."""

    def find(self, file: str) -> CaptureFacts | None:
        """Facts of a file, by the last part of its name."""
        for key in _keys(file):
            if key in self.facts:
                return self.facts[key]
        return None


def capture_name(file: str) -> str:
    """Name of a capture without folders and the extensions that captures have."""
    name = re.split(r"[/\\]", file)[-1].strip()
    return _SUFFIX.sub("", name).strip()


@cache
def iscx_table() -> LabelTable:
    """Our table of the 150 original captures."""
    text = (resources.files("mtc.datasets.sources") / _TABLE_FILE).read_text(encoding="utf-8")
    head, _, rows = text.partition("\n")
    version = head.removeprefix("# table_version:").strip()
    return LabelTable("iscx", version, _read_facts(rows, _TABLE_FILE))


def check_variants(variants: Mapping[str, str]) -> dict[str, str]:
    """The reading of every dispute, those not named at their default.

    Raises:
        UsageError: No such dispute or reading.
    """
    for dispute, reading in variants.items():
        if reading not in VARIANTS.get(dispute, ()):
            known = ", ".join(f"{name}={reading}" for name, all_ in VARIANTS.items() for reading in all_)
            raise UsageError(f"no variant {dispute}={reading}; known are {known}")
    return {dispute: variants.get(dispute, readings[0]) for dispute, readings in VARIANTS.items()}


def read_as(fact: CaptureFacts, variants: Mapping[str, str]) -> CaptureFacts:
    """The facts of a capture under a reading of the disputes; without labels where it is left out."""
    reading = variants.get(fact.disputed)
    if reading == "out":
        return replace(fact, application=None, service=None)
    return replace(fact, service="chat") if reading == "chat" else fact


def read_manifest(data: bytes, name: str) -> LabelTable:
    """Read a ``manifest.csv``: columns ``capture``, ``application``, ``service`` and ``vpn``.

    Args:
        data: The file's bytes (UTF-8).
        name: The file's name, for messages.

    Raises:
        DatasetError: A column is missing, or a row says something that the tasks do not know.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{name}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    return LabelTable(name, hashlib.sha256(data).hexdigest(), _read_facts(text, name))


def _read_facts(text: str, name: str) -> dict[str, CaptureFacts]:
    lines = csv.DictReader(text.splitlines())
    columns = {column.strip().lower() for column in lines.fieldnames or ()}
    if missing := {"capture", "application", "service", "vpn"} - columns:
        raise DatasetError(f"{name}: no column {', '.join(sorted(missing))}")
    facts: dict[str, CaptureFacts] = {}
    for row in lines:
        values = {(key or "").strip().lower(): (value or "").strip() for key, value in _pairs(row)}
        place = f"{name}: line {lines.line_num}"
        fact = _fact(values, place)
        key = next(iter(_keys(values["capture"])))
        if key in facts:
            raise DatasetError(f"{place}: capture {fact.capture!r} is listed twice")
        facts[key] = fact
    return facts


def _pairs(row: Mapping[str | None, str | list[str] | None]) -> Iterator[tuple[str | None, str]]:
    return ((key, value) for key, value in row.items() if isinstance(value, str))


def _fact(values: Mapping[str, str], place: str) -> CaptureFacts:
    application, service, vpn = (values.get(key, "") for key in ("application", "service", "vpn"))
    known = {name.lower(): name for name in ISCX["application"]}
    if application and application.lower() not in known:
        raise DatasetError(f"{place}: unknown application {application!r}; known are {_list(known.values())}")
    if vpn.lower() not in ("0", "1", "false", "true", "no", "yes"):
        raise DatasetError(f"{place}: vpn must be 0 or 1, not {vpn!r}")
    fact = CaptureFacts(
        capture=capture_name(values["capture"]),
        application=known[application.lower()] if application else None,
        service=None if service.lower() in _NO_SERVICE else service.lower(),
        vpn=vpn.lower() in ("1", "true", "yes"),
        disputed=values.get("disputed", ""),
    )
    try:
        iscx_labels(fact.service, fact.vpn)
    except UsageError as error:
        raise DatasetError(f"{place}: {error}") from error
    return fact


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _keys(file: str) -> Iterator[str]:
    """Folded spellings of a name: blanks dropped, or standing for underscores."""
    name = capture_name(file).casefold()
    yield re.sub(r"\s+", "", name)
    yield re.sub(r"\s+", "_", name)
