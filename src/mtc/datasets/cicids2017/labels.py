"""Labels of CICIDS2017: from the spellings of the download to the paper's classes."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from mtc.tasks import CICIDS2017, INFILTRATION, Tasks

_ORIGINALS: Mapping[str, str] = MappingProxyType(
    {
        "BENIGN": "Benign",
        "DoS slowloris": "DoS/DDoS",
        "DoS Slowhttptest": "DoS/DDoS",
        "DoS Hulk": "DoS/DDoS",
        "DoS GoldenEye": "DoS/DDoS",
        "Heartbleed": "DoS/DDoS",
        "DDoS": "DoS/DDoS",
        "PortScan": "PortScan",
        "FTP-Patator": "Brute force",
        "SSH-Patator": "Brute force",
        "Web Attack - Brute Force": "Web attack",
        "Web Attack - XSS": "Web attack",
        "Web Attack - Sql Injection": "Web attack",
        "Bot": "Botnet ARES",
        "Infiltration": INFILTRATION,
    }
)

LABELS = tuple(_ORIGINALS)
"""The labels of the download, with a plain dash where it has Windows-1252's."""

DOWNLOAD: Mapping[str, int] = MappingProxyType(
    {
        "BENIGN": 2_273_097,
        "DoS slowloris": 5_796,
        "DoS Slowhttptest": 5_499,
        "DoS Hulk": 231_073,
        "DoS GoldenEye": 10_293,
        "Heartbleed": 11,
        "DDoS": 128_027,
        "PortScan": 158_930,
        "FTP-Patator": 7_938,
        "SSH-Patator": 5_897,
        "Web Attack - Brute Force": 1_507,
        "Web Attack - XSS": 652,
        "Web Attack - Sql Injection": 21,
        "Bot": 1_966,
        "Infiltration": 36,
    }
)
"""Rows of each label in ``MachineLearningCSV.zip`` as UNB serves it, 2,830,743 together."""

IMBALANCED: Mapping[str, int] = MappingProxyType(
    {
        "Benign": 2_035_505,
        "DoS/DDoS": 320_269,
        "PortScan": 57_305,
        "Brute force": 8_551,
        "Web attack": 2_118,
        "Botnet ARES": 1_943,
        INFILTRATION: 36,
    }
)
"""Rows of each class before balancing. Source: Table 2."""

BALANCED: Mapping[str, int] = MappingProxyType(
    {
        "Benign": 1_330_000,
        "DoS/DDoS": 350_000,
        "PortScan": 75_500,
        "Brute force": 66_000,
        "Web attack": 65_500,
        "Botnet ARES": 65_000,
    }
)
"""Rows of each class after balancing. Source: Table 2."""


def _letters(label: str) -> str:
    return re.sub(r"[^a-z]", "", label.lower())


_KNOWN = {_letters(label): label for label in LABELS}


def read_label(raw: bytes) -> str | None:
    """The label of the download that a cell means, or None where it is unknown.

    Only ASCII letters count: the dash of the web attacks is served as Windows-1252, as UTF-8, and as
    several stages of the one mistaken for the other.
    """
    return _KNOWN.get(_letters(raw.decode("latin-1")))


def readable_label(raw: bytes) -> str:
    """A cell as text, for messages."""
    try:
        return raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace").strip()


def classes_of(label: str) -> dict[str, str]:
    """Task -> class of a label of the download. Source: Table 2; reading: Heartbleed is DoS/DDoS."""
    attack = _ORIGINALS[label]
    return {"attack": attack, "malicious": "Benign" if attack == "Benign" else "Malicious"}


def cicids_tasks(*, infiltration: bool) -> Tasks:
    """The tasks: six attack classes as after the paper's balancing, or seven as before it."""
    if not infiltration:
        return CICIDS2017
    return {**CICIDS2017, "attack": (*CICIDS2017["attack"], INFILTRATION)}
