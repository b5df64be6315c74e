"""Application protocols of flows beside nDPI's, on the captures of its own tests.

    python benchmarks/evidence.py [--data ../shared/data] [--differences]

For each flow of ``ndpi-metadata.csv`` whose protocol is in ``SAME``: whether ``app_proto`` says the same.
nDPI itself guesses by port where there is no payload, or none that it knows; mtc never does where there is
none, and such flows count against it here.
"""

import argparse
import csv
from collections import Counter, defaultdict
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from mtc.flows import SampleStream

SETS = ("labelled-captures", "protocol-captures")

SAME: dict[str, tuple[str, ...]] = {
    "AJP": ("ajp",),
    "AMQP": ("amqp",),
    "AVASTSecureDNS": ("dnscrypt", "dns"),
    "BitTorrent": ("bittorrent", "bittorrent-dht"),
    "CiscoVPN": ("dtls",),
    "COAP": ("coap",),
    "DHCP": ("dhcp",),
    "DHCPV6": ("dhcpv6",),
    "DNS": ("dns",),
    "DNScrypt": ("dnscrypt", "dns"),
    "DTLS": ("dtls",),
    "DoH_DoT": ("dot", "tls", "quic"),
    "Discord": ("discord",),
    "Dropbox": ("dropbox",),
    "FTP_CONTROL": ("ftp",),
    "FTP_DATA": ("ftp-data",),
    "HTTP": ("http",),
    "HTTP2": ("http2",),
    "HTTP_Connect": ("http",),
    "HTTP_Proxy": ("http",),
    "IMAP": ("imap",),
    "IMAPS": ("tls",),
    "Jabber": ("xmpp",),
    "Kerberos": ("krb5",),
    "LLMNR": ("llmnr",),
    "MDNS": ("mdns",),
    "MQTT": ("mqtt",),
    "Megaco": ("megaco",),
    "MsSQL-TDS": ("tds",),
    "MySQL": ("mysql",),
    "NFS": ("nfs", "sunrpc"),
    "NTP": ("ntp",),
    "NetBIOS": ("nbns", "nbdgm", "nbss"),
    "OpenVPN": ("openvpn",),
    "POP3": ("pop3",),
    "PostgreSQL": ("pgsql",),
    "QUIC": ("quic",),
    "RDP": ("rdp",),
    "RTP": ("rtp",),
    "RTSP": ("rtsp",),
    "RakNet": ("raknet",),
    "SD-RTN": ("sd-rtn",),
    "SIP": ("sip",),
    "SMBv1": ("smb", "nbdgm"),
    "SMBv23": ("smb",),
    "SMTP": ("smtp",),
    "SMTPS": ("tls",),
    "SOCKS": ("socks",),
    "SRTP": ("rtp",),
    "SSDP": ("ssdp",),
    "SSH": ("ssh",),
    "STUN": ("stun",),
    "Spotify": ("spotify",),
    "Syncthing": ("syncthing",),
    "Syslog": ("syslog",),
    "TFTP": ("tftp",),
    "TLS": ("tls", "dot"),
    "TeamSpeak": ("teamspeak",),
    "Telegram": ("telegram",),
    "Usenet": ("nntp",),
    "WhatsApp": ("whatsapp",),
    "WireGuard": ("wireguard",),
    "Zoom": ("zoom",),
}
"""nDPI's protocol -> what ``app_proto`` may call it; of a pair ``NetBIOS.SMBv1`` the second may be it too."""


def flow_key(protocol: str, one: tuple[str, int], other: tuple[str, int]) -> tuple[str, frozenset[Any]]:
    return protocol, frozenset((plain(host), port) for host, port in (one, other))


def plain(host: str) -> str:
    """An address as we print it; nDPI writes some with two gaps, as in ``2600:1901::7a0b::``."""
    try:
        return str(ip_address(host))
    except ValueError:
        groups = [group for group in host.split("::") if group]
        return str(ip_address(f"{groups[0]}:0:{groups[1]}::"))


def our_flows(path: Path) -> dict[tuple[str, frozenset[Any]], dict[str, Any]]:
    with SampleStream(path, build=False, names=True) as stream:
        for _ in stream:
            pass
        records = stream.flows.records()
    table = records.columns()
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    return {flow_key(r["protocol"], (r["src"], r["src_port"]), (r["dst"], r["dst_port"])): r for r in rows}


def pairs(data: Path) -> Iterator[tuple[dict[str, str], dict[str, Any] | None]]:
    """Each TCP or UDP flow of nDPI with ours."""
    for name in SETS:
        of_capture = defaultdict(list)
        with (data / name / "ndpi-metadata.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["l4"] in ("TCP", "UDP"):
                    of_capture[row["capture"]].append(row)
        for capture, rows in of_capture.items():
            ours = our_flows(data / name / "captures" / capture)
            for row in rows:
                ends = (row["src"], int(row["src_port"])), (row["dst"], int(row["dst_port"]))
                yield row, ours.get(flow_key(row["l4"].lower(), *ends))


def accepted(protocol: str) -> set[str]:
    """What ``app_proto`` may be for a protocol of nDPI such as ``TLS.Google``."""
    master, _, application = protocol.partition(".")
    return {
        *SAME.get(master, ()),
        *(SAME.get(application, ()) if application.startswith(("SMB", "BitT")) else ()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--differences", action="store_true", help="print each flow that differs")
    arguments = parser.parse_args()
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for theirs, ours in pairs(arguments.data):
        said = (ours or {}).get("app_proto")
        master = theirs["protocol"].partition(".")[0]
        ends = [f"{theirs[side]}:{theirs[side + '_port']}" for side in ("src", "dst")]
        where = f"{theirs['capture']} {theirs['l4']} {ends[0]} {ends[1]}"
        if accepted(theirs["protocol"]):
            total[master] += 1
            same = said in accepted(theirs["protocol"])
            right[master] += same
            seen["total"] += theirs["confidence"] != "Match by port"
            seen["right"] += same and theirs["confidence"] != "Match by port"
            if arguments.differences and not same:
                print(
                    where, theirs["protocol"], theirs["confidence"], "ours:", said, "" if ours else "NO FLOW"
                )
        else:
            outside[f"{theirs['protocol']} -> {said}"] += 1
    for master in sorted(total, key=lambda name: right[name] - total[name]):
        print(f"{master:16} {right[master]:5} of {total[master]:5}")
    print(f"{sum(right.values())} of {sum(total.values())}: {sum(right.values()) / sum(total.values()):.1%}")
    share = seen["right"] / seen["total"]
    print(f"without nDPI's guesses by port: {seen['right']} of {seen['total']}: {share:.1%}")
    print("not in the list:", ", ".join(f"{name} ({count})" for name, count in outside.most_common()))


if __name__ == "__main__":
    main()
