"""Names for what comes next in a packet.

A layer is an integer: an EtherType where there is one (0x0600 and above), one of the small numbers
below, or the negative of a reason (``mtc.packets.reasons``) where peeling ends. Functions that peel
a layer return ``(position, layer)`` of what they found inside.
"""

RAW_IP = 1
"""IPv4 or IPv6, by its first four bits."""
ETHERNET = 2
LLC = 3
"""IEEE 802.2."""
PPP = 4
"""PPP, with or without its HDLC address and control bytes."""
MPLS = 5
PPPOE = 6

IPV4 = 0x0800
IPV6 = 0x86DD
