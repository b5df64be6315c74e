"""The conventions by which flow features are computed, and the columns that each of them writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mtc.errors import UsageError

CICIDS2017, CICFLOWMETER4, CORRECTED = range(3)
"""Codes of the conventions, for kernels."""

STATISTICS = (
    *("Flow Duration", "Total Fwd Packet", "Total Bwd packets"),
    *("Total Length of Fwd Packet", "Total Length of Bwd Packet"),
    *("Fwd Packet Length Max", "Fwd Packet Length Min", "Fwd Packet Length Mean", "Fwd Packet Length Std"),
    *("Bwd Packet Length Max", "Bwd Packet Length Min", "Bwd Packet Length Mean", "Bwd Packet Length Std"),
    *("Flow Bytes/s", "Flow Packets/s"),
    *("Flow IAT Mean", "Flow IAT Std", "Flow IAT Max", "Flow IAT Min"),
    *("Fwd IAT Total", "Fwd IAT Mean", "Fwd IAT Std", "Fwd IAT Max", "Fwd IAT Min"),
    *("Bwd IAT Total", "Bwd IAT Mean", "Bwd IAT Std", "Bwd IAT Max", "Bwd IAT Min"),
    *("Fwd PSH Flags", "Bwd PSH Flags", "Fwd URG Flags", "Bwd URG Flags", "Fwd RST Flags", "Bwd RST Flags"),
    *("Fwd Header Length", "Bwd Header Length", "Fwd Packets/s", "Bwd Packets/s"),
    *("Packet Length Min", "Packet Length Max"),
    *("Packet Length Mean", "Packet Length Std", "Packet Length Variance"),
    *("FIN Flag Count", "SYN Flag Count", "RST Flag Count", "PSH Flag Count"),
    *("ACK Flag Count", "URG Flag Count", "CWR Flag Count", "ECE Flag Count"),
    *("Down/Up Ratio", "Average Packet Size", "Fwd Segment Size Avg", "Bwd Segment Size Avg"),
    *("Fwd Bytes/Bulk Avg", "Fwd Packet/Bulk Avg", "Fwd Bulk Rate Avg"),
    *("Bwd Bytes/Bulk Avg", "Bwd Packet/Bulk Avg", "Bwd Bulk Rate Avg"),
    *("Subflow Fwd Packets", "Subflow Fwd Bytes", "Subflow Bwd Packets", "Subflow Bwd Bytes"),
    *("FWD Init Win Bytes", "Bwd Init Win Bytes", "Fwd Act Data Pkts", "Bwd Act Data Pkts"),
    *("Fwd Seg Size Min", "Bwd Seg Size Min"),
    *("Active Mean", "Active Std", "Active Max", "Active Min"),
    *("Idle Mean", "Idle Std", "Idle Max", "Idle Min"),
    *("ICMP Code", "ICMP Type"),
    *("Fwd TCP Retrans. Count", "Bwd TCP Retrans. Count", "Total TCP Retrans. Count"),
    "Total Connection Flow Time",
)
"""What the kernels compute for every flow, in the order and spelling of the corrected tool."""

_ONLY_CORRECTED = frozenset(
    {
        *(
            "Fwd RST Flags",
            "Bwd RST Flags",
            "Bwd Act Data Pkts",
            "Bwd Seg Size Min",
            "ICMP Code",
            "ICMP Type",
        ),
        *("Fwd TCP Retrans. Count", "Bwd TCP Retrans. Count", "Total TCP Retrans. Count"),
        "Total Connection Flow Time",
    }
)

_SHORT: Mapping[str, str] = MappingProxyType(
    {
        "Total Fwd Packet": "Tot Fwd Pkts",
        "Total Bwd packets": "Tot Bwd Pkts",
        "Total Length of Fwd Packet": "TotLen Fwd Pkts",
        "Total Length of Bwd Packet": "TotLen Bwd Pkts",
        "Flow Bytes/s": "Flow Byts/s",
        "Flow Packets/s": "Flow Pkts/s",
        "Fwd IAT Total": "Fwd IAT Tot",
        "Bwd IAT Total": "Bwd IAT Tot",
        "Fwd Header Length": "Fwd Header Len",
        "Bwd Header Length": "Bwd Header Len",
        "Fwd Packets/s": "Fwd Pkts/s",
        "Bwd Packets/s": "Bwd Pkts/s",
        "CWR Flag Count": "CWE Flag Count",
        "Average Packet Size": "Pkt Size Avg",
        "Fwd Segment Size Avg": "Fwd Seg Size Avg",
        "Bwd Segment Size Avg": "Bwd Seg Size Avg",
        "Subflow Fwd Packets": "Subflow Fwd Pkts",
        "Subflow Fwd Bytes": "Subflow Fwd Byts",
        "Subflow Bwd Packets": "Subflow Bwd Pkts",
        "Subflow Bwd Bytes": "Subflow Bwd Byts",
        "FWD Init Win Bytes": "Init Fwd Win Byts",
        "Bwd Init Win Bytes": "Init Bwd Win Byts",
        **{
            f"{way} {long} Avg": f"{way} {short} Avg"
            for way in ("Fwd", "Bwd")
            for long, short in (
                ("Bytes/Bulk", "Byts/b"),
                ("Packet/Bulk", "Pkts/b"),
                ("Bulk Rate", "Blk Rate"),
            )
        },
        **{
            f"{way}Packet Length {what}": f"{way}Pkt Len {'Var' if what == 'Variance' else what}"
            for way in ("", "Fwd ", "Bwd ")
            for what in ("Max", "Min", "Mean", "Std", "Variance")
        },
        **{
            f"{flag} Flag Count": f"{flag} Flag Cnt"
            for flag in ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE")
        },
    }
)
"""Spellings of the sources of 2017."""

IDENTITY = ("Flow ID", "Src IP", "Src Port", "Dst IP", "Dst Port", "Protocol", "Timestamp")
"""Columns before the statistics, in every convention."""


@dataclass(frozen=True, slots=True)
class Convention:
    """One way to compute flow features.

    Attributes:
        name: As users write it.
        code: As kernels know it.
        columns: Names of the statistics, in the order in which the tool writes them.
        places: For each of them, its place among what the kernels compute.
        label: What the tool writes in its last column, ``Label``.
        writes_single: Whether flows of one packet are written.
    """

    name: str
    code: int
    columns: tuple[str, ...]
    places: tuple[int, ...]
    label: str
    writes_single: bool


def _convention(name: str, code: int, label: str) -> Convention:
    places = tuple(
        i for i, column in enumerate(STATISTICS) if code == CORRECTED or column not in _ONLY_CORRECTED
    )
    columns = [STATISTICS[i] for i in places]
    if code == CICIDS2017:
        columns = [_SHORT.get(column, column) for column in columns]
    return Convention(name, code, tuple(columns), places, label, writes_single=code == CORRECTED)


CONVENTIONS: Mapping[str, Convention] = MappingProxyType(
    {
        "cicids2017": _convention("cicids2017", CICIDS2017, "No Label"),
        "cicflowmeter4": _convention("cicflowmeter4", CICFLOWMETER4, "NeedManualLabel"),
        "corrected": _convention("corrected", CORRECTED, "NeedManualLabel"),
    }
)


def convention_named(name: str) -> Convention:
    """A convention by its name.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in CONVENTIONS:
        raise UsageError(f"no convention of flow features is called {name!r}: {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]
