"""Names of files and of places in a page."""

import re

_SHORT = {"ISCX VPN-nonVPN 2016": "iscx"}


def slug(name: str) -> str:
    """A name in lower case, of letters, digits and dashes only: fit for a file and for an id."""
    return re.sub(r"[^a-z0-9]+", "-", _SHORT.get(name, name).lower()).strip("-") or "unnamed"
