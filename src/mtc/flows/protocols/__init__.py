"""What the first bytes of a flow say: names, ALPN, fingerprint. Functions on bytes, without state."""

from mtc.flows.protocols.carried import carried_protocol
from mtc.flows.protocols.names import NO_NAMES, Names, read_names

__all__ = ["NO_NAMES", "Names", "carried_protocol", "read_names"]
