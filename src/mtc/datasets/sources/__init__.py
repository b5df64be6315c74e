"""What is specific to a source of captures: ISCX VPN-nonVPN, and captures of the user's own."""
