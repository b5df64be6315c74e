"""Sources of captures: ISCX VPN-nonVPN, and the user's own captures."""
