"""The closed list of what becomes of a packet: a sample, or skipped for one named reason."""

SAMPLE = 0
UNSUPPORTED_LINK_TYPE = 1
NOT_IP = 2
ENCRYPTED_LINK = 3
TRUNCATED_HEADER = 4
MALFORMED_IP = 5
MALFORMED_TRANSPORT = 6
TOO_DEEP = 7
FRAGMENT = 8
NOT_TCP_UDP = 9
NO_PAYLOAD = 10
PAYLOAD_NOT_CAPTURED = 11
DNS = 12
MDNS = 13
LLMNR = 14
NETBIOS = 15
SSDP = 16
NTP = 17
DHCP = 18
DHCPV6 = 19
FILTERED = 20
OUTSIDE_WINDOW = 21
UNREAD_ENCAPSULATION = 22
DUPLICATE = 23
NOT_SELECTED = (FILTERED, OUTSIDE_WINDOW, DUPLICATE)

REASONS: tuple[str, ...] = (
    "",
    "unsupported_link_type",
    "not_ip",
    "encrypted_link",
    "truncated_header",
    "malformed_ip",
    "malformed_transport",
    "too_deep",
    "fragment",
    "not_tcp_udp",
    "no_payload",
    "payload_not_captured",
    "dns",
    "mdns",
    "llmnr",
    "netbios",
    "ssdp",
    "ntp",
    "dhcp",
    "dhcpv6",
    "filtered",
    "outside_window",
    "unread_encapsulation",
    "duplicate",
)
"""Name of each reason code; index 0 stands for a sample. docs/captures.md says what each means."""

REASON_TEXTS: dict[str, str] = {
    "unsupported_link_type": "a link layer that is not read",
    "not_ip": "no IP packet inside (ARP, LLDP, 802.11 management, ...)",
    "encrypted_link": "the link layer is encrypted (802.11 protected frame, MACsec)",
    "truncated_header": "a header is cut off by the end of the captured bytes",
    "malformed_ip": "an IP header that contradicts itself",
    "malformed_transport": "a TCP header that contradicts itself or its IP header",
    "too_deep": "more layers inside each other than are peeled",
    "fragment": "a later fragment, which carries no ports",
    "not_tcp_udp": "IP that carries neither TCP nor UDP",
    "no_payload": "TCP or UDP without payload",
    "payload_not_captured": "payload that was on the wire and none of it in the capture",
    "dns": "DNS (port 53)",
    "mdns": "multicast DNS (UDP port 5353)",
    "llmnr": "link-local name resolution (UDP port 5355)",
    "netbios": "NetBIOS name and datagram service (UDP ports 137, 138)",
    "ssdp": "service discovery (UDP port 1900)",
    "ntp": "network time (UDP port 123)",
    "dhcp": "DHCP (UDP ports 67, 68)",
    "dhcpv6": "DHCPv6 (UDP ports 546, 547)",
    "filtered": "not what the filter asks for",
    "outside_window": "outside the window of time that was asked for",
    "unread_encapsulation": "an encapsulation that is not read and may hold IP",
    "duplicate": "a copy of a packet that was just read (--drop-duplicates)",
}
"""What each reason means, in a line."""
