"""Which application, type and company a name or a protocol stands for."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mtc.errors import InputError

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

TYPES = (
    "Chat",
    "Email",
    "File Transfer",
    "Streaming",
    "Torrent",
    "VoIP",
    "Web",
    "Remote Access",
    "Gaming",
    "Social",
    "Collaboration",
    "Software Update",
    "Advertising",
    "DNS",
    "Network",
    "VPN",
    "IoT",
    "Cloud",
)
"""Types of services; the first six are the paper's, and a service that fits one of them has it."""

COLUMNS = ("application", "type", "company", "names", "protocols")
BUILT_IN = Path(__file__).with_name("services.csv")
_MAX_FILE = 16 << 20
_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


@dataclass(frozen=True, slots=True)
class Service:
    """What a name or a protocol stands for.

    Attributes:
        application: such as ``YouTube``; None for a protocol that many programs speak.
        type: one of ``TYPES``.
        company: who runs it; None where nobody does.
    """

    application: str | None
    type: str
    company: str | None


class Services:
    """A table of services: patterns of names and protocols, and what they stand for.

    A pattern is a domain (``youtube.com``: the name itself and every name under it), a domain under any
    public suffix (``google.*``: google.de, google.co.uk), or a domain with one ``*`` in its first label
    (``whatsapp-*.fbcdn.net``). Of several patterns that match, the one with the most labels is used, of
    these a pattern without ``*`` first.

    A word in front of any domain (``mail.**``: mail.example.org, mail2.example.org) gives a type to names
    that no pattern matches as a whole; application and company are those of the domain, where it has any.
    """

    def __init__(self, rows: Iterable[tuple[Service, Iterable[str], Iterable[str]]]) -> None:
        self._domains: dict[str, Service] = {}
        self._any_suffix: dict[str, Service] = {}
        self._any_suffix_labels: set[str] = set()
        self._first_labels: dict[str, dict[tuple[str, str], Service]] = {}
        self._words: dict[str, Service] = {}
        self._protocols: dict[str, Service] = {}
        for service, names, protocols in rows:
            for protocol in protocols:
                self._protocols[protocol] = service
            for pattern in names:
                self._enter(pattern, service)

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """The table of the package; with ``path`` also a table of the user, whose patterns come first.

        Args:
            path: CSV in UTF-8 with the columns ``application``, ``type``, ``company``, ``names`` and
                ``protocols``; the last two hold patterns and protocols, parted by blanks. Lines that begin
                with ``#`` are comments.

        Raises:
            InputError: the file cannot be read, or a line of it is wrong; the message names the line.
        """
        rows = list(_read_table(BUILT_IN, check=False))
        if path is not None:
            rows.extend(_read_table(path, check=True))
        return cls(rows)

    def lookup(self, server_name: str) -> Service | None:
        """The service of a name; None where no pattern matches, and for addresses."""
        labels = server_name.lower().strip(".").removeprefix("*.").split(".")
        if len(labels) < 2 or labels[-1].isdigit() or len(labels) > 128:
            return None
        at, found = self._longest_match(labels)
        word = self._words.get(labels[0].rstrip("0123456789")) if at > 0 and len(labels) > 2 else None
        if word is None:
            return found
        return word if found is None else replace(found, type=word.type)

    def _longest_match(self, labels: list[str]) -> tuple[int, Service | None]:
        """How many labels stand before the match, and what it says; all of them and None without one."""
        suffix_labels = -1
        for at in range(len(labels) - 1):
            name, rest = ".".join(labels[at:]), ".".join(labels[at + 1 :])
            found = self._domains.get(name) or self._by_first_label(labels[at], rest)
            if found is None and labels[at] in self._any_suffix_labels:
                if suffix_labels < 0:
                    suffix_labels = _public_suffix_labels(".".join(labels))
                found = self._any_suffix.get(".".join(labels[at : len(labels) - suffix_labels]))
            if found is not None:
                return at, found
        return len(labels), None

    def of_protocol(self, app_proto: str) -> Service | None:
        """What a protocol stands for, whichever program speaks it; None for QUIC and the like.

        TLS stands for something by the server's port alone: ``tls/993``.
        """
        return self._protocols.get(app_proto)

    def _by_first_label(self, label: str, rest: str) -> Service | None:
        for (begin, end), service in self._first_labels.get(rest, {}).items():
            if len(label) >= len(begin) + len(end) and label.startswith(begin) and label.endswith(end):
                return service
        return None

    def _enter(self, pattern: str, service: Service) -> None:
        if pattern.endswith(".**"):
            self._words[pattern.removesuffix(".**")] = service
        elif pattern.endswith(".*"):
            stem = pattern.removesuffix(".*")
            self._any_suffix[stem] = service
            self._any_suffix_labels.add(stem.split(".", 1)[0])
        elif "*" in pattern:
            label, rest = pattern.split(".", 1)
            begin, end = label.split("*")
            self._first_labels.setdefault(rest, {})[begin, end] = service
        else:
            self._domains[pattern] = service


def check_pattern(pattern: str) -> str | None:
    """What is wrong with a pattern of names, as a clause; None when nothing is."""
    if pattern.endswith(".**"):
        return None if set(pattern[:-3]) <= _ALLOWED and pattern[:-3] else "is not a word before .**"
    labels = pattern.removesuffix(".*").split(".")
    first, *others = labels
    if pattern.endswith(".*") and "*" in first:
        return "has two *"
    if first.count("*") > 1 or not all(
        label and set(label) <= _ALLOWED for label in (first.replace("*", "x"), *others)
    ):
        return "is not a domain in lower case with at most one *, in its first label or for its suffix"
    if not pattern.endswith(".*") and (
        len(labels) < 2 or _public_suffix_labels(".".join(labels)) >= len(labels) - ("*" in first)
    ):
        return "matches a whole public suffix"
    return None


def _read_table(path: Path, *, check: bool) -> Iterator[tuple[Service, list[str], list[str]]]:
    try:
        if path.stat().st_size > _MAX_FILE:
            raise InputError(f"{path}: larger than {_MAX_FILE >> 20} MiB")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text") from error
    header = None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            (cells,) = csv.reader([line], strict=True)
        except csv.Error as error:
            raise InputError(f"{path}, line {number}: {error}") from error
        if header is None:
            header = tuple(cell.strip() for cell in cells)
            if header != COLUMNS:
                raise InputError(f"{path}, line {number}: the columns must be {','.join(COLUMNS)}")
            continue
        if len(cells) != len(COLUMNS):
            raise InputError(f"{path}, line {number}: {len(cells)} columns instead of {len(COLUMNS)}")
        application, kind, company, names, protocols = (cell.strip() for cell in cells)
        if check:
            problem = _problem(kind, names.split(), protocols.split())
            if problem:
                raise InputError(f"{path}, line {number}: {problem}")
        yield Service(application or None, kind, company or None), names.split(), protocols.split()
    if header is None:
        raise InputError(f"{path}: no line with the columns {','.join(COLUMNS)}")


def _problem(kind: str, names: list[str], protocols: list[str]) -> str | None:
    if kind not in TYPES:
        return f"unknown type {kind!r}; types are {', '.join(TYPES)}"
    if not names and not protocols:
        return "neither names nor protocols"
    problems = ((pattern, check_pattern(pattern)) for pattern in names)
    return next((f"the name {pattern!r} {problem}" for pattern, problem in problems if problem), None)


@lru_cache(maxsize=1)
def _suffixes() -> "PublicSuffixList":
    """The public suffixes of ICANN's domains, from the snapshot that the library brings along."""
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList(only_icann=True)


def _public_suffix_labels(name: str) -> int:
    suffix: str | None = _suffixes().publicsuffix(name)
    return suffix.count(".") + 1 if suffix else 0
