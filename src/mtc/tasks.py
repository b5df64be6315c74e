"""The tasks and classes of the paper: the only place that names them.

Source: Tables 1 and 2; exact strings and their order as fixed in docs/paper.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from mtc.columns import RESERVED, VPN
from mtc.errors import UsageError

Tasks = Mapping[str, tuple[str, ...]]
"""Task name -> its classes, in the order of the network's outputs."""

FAMILIES = ("Chat", "Email", "File Transfer", "Streaming", "Torrent", "VoIP")

ISCX: Tasks = MappingProxyType(
    {
        "application": (
            "AIM Chat",
            "Email",
            "Facebook",
            "FTPS",
            "ICQ",
            "Gmail",
            "Hangouts",
            "Netflix",
            "SCP",
            "SFTP",
            "Skype",
            "Spotify",
            "Torrent",
            "Tor",
            "Vimeo",
            "Voipbuster",
            "Youtube",
        ),
        "traffic": FAMILIES + tuple(f"VPN {family}" for family in FAMILIES),
        "auxiliary": tuple(f"All {family}" for family in FAMILIES),
    }
)

CICIDS2017: Tasks = MappingProxyType(
    {
        "attack": ("Benign", "DoS/DDoS", "PortScan", "Brute force", "Web attack", "Botnet ARES"),
        "malicious": ("Benign", "Malicious"),
    }
)

INFILTRATION = "Infiltration"
"""The seventh attack class of CICIDS2017, which the paper drops when it balances."""

UNLABELLED = -1
"""Index that stands for a missing label."""

VPN_LABELS = ("VPN", "nonVPN")
"""Classes of what is derived of a task with types over VPN beside others."""


def check_task_names(names: Iterable[str]) -> None:
    """Refuse task names that would collide with a field of the output.

    Raises:
        UsageError: A name is empty, reserved, or begins with ``split_`` or ``fold_``; or it is that of a
            column of another task, such as ``type_confidence`` beside ``type``.
    """
    names = tuple(names)
    derived = {
        f"{name}_{column}" for name in names for column in ("confidence", "likeliest", "probabilities")
    }
    for name in names:
        if not name or name in RESERVED or name.startswith(("split_", "fold_")) or name in derived:
            raise UsageError(f"a task may not be named {name!r}: that is a field of the output")


def vpn_classes(tasks: Tasks) -> tuple[str, tuple[int, ...]] | None:
    """The task that separates traffic over VPN from other traffic, and its classes over VPN.

    Args:
        tasks: Any tasks.

    Returns:
        The first task with labels that begin with "VPN" and others that do not, and the indices of
        those that do; None where there is no such task.
    """
    for task, labels in tasks.items():
        over = tuple(i for i, label in enumerate(labels) if label.startswith("VPN"))
        if 0 < len(over) < len(labels):
            return task, over
    return None


def with_vpn(tasks: Tasks) -> Tasks:
    """The tasks, and ``vpn`` where it can be derived: all tasks of a row, with their labels."""
    return tasks if vpn_classes(tasks) is None else {**tasks, VPN: VPN_LABELS}


def iscx_labels(service: str | None, vpn: bool) -> dict[str, str | None]:
    """Traffic and auxiliary label of an ISCX service.

    Args:
        service: ``chat``, ``email``, ``file-transfer``, ``streaming``, ``torrent``, ``voip``, or
            ``None`` where browsing was dropped.
        vpn: Whether the capture went through the VPN.

    Returns:
        ``{"traffic": label, "auxiliary": label}``, both ``None`` without a service.

    Raises:
        UsageError: The service is none of the six.
    """
    if service is None:
        return {"traffic": None, "auxiliary": None}
    by_service = {family.lower().replace(" ", "-"): family for family in FAMILIES}
    if service not in by_service:
        raise UsageError(f"unknown service {service!r}; known are {', '.join(by_service)}")
    family = by_service[service]
    return {"traffic": f"VPN {family}" if vpn else family, "auxiliary": f"All {family}"}


Pairs = Mapping[str, Mapping[str, Mapping[str, Sequence[str]]]]
"""Task -> a later task -> label of the first -> labels of the second that occurred with it."""
