"""The tasks and classes of the paper: the only place that names them.

Source: Tables 1 and 2; exact strings and their order as fixed in docs/paper.md.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

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

RESERVED_NAMES = frozenset(
    {
        "flow",
        "protocol",
        "src",
        "src_port",
        "dst",
        "dst_port",
        "start",
        "end",
        "packets",
        "bytes",
        "samples",
        "community_id",
        "capture",
        "packet",
        "row",
        "vpn",
        "time",
        "wirelen",
        "sample",
    }
)
"""Fields of the outputs and dataset columns, which no task may be named like."""


def check_task_names(names: Iterable[str]) -> None:
    """Refuse task names that would collide with a field of the output.

    Raises:
        UsageError: A name is empty, reserved, or begins with ``split_``.
    """
    for name in names:
        if not name or name in RESERVED_NAMES or name.startswith("split_"):
            raise UsageError(f"a task may not be named {name!r}: that is a field of the output")


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
