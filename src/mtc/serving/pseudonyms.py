"""Addresses under a pseudonym: the same key gives the same pseudonym, and neighbours stay neighbours.

Crypto-PAn (Xu, Fan, Ammar, Moon, ICNP 2002): two addresses that share their first n bits share the first
n bits of their pseudonyms. Who has the key can find which address stands behind a pseudonym.
"""

import binascii
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path

from mtc.errors import InputError, UsageError
from mtc.extras import need

KEY_BYTES = 32
CACHED_ADDRESSES = 1 << 16


class Pseudonyms:
    """Gives addresses their pseudonyms; safe to share between threads."""

    def __init__(self, key: bytes) -> None:
        """Use a key.

        Args:
            key: 32 bytes: 16 of an AES key, 16 of padding.

        Raises:
            UsageError: The key has another length, or the library is not installed.
        """
        if len(key) != KEY_BYTES:
            raise UsageError(f"a key for pseudonyms has {KEY_BYTES} bytes, not {len(key)}")
        self._cipher = need("yacryptopan").CryptoPAn(key)
        # The cipher takes about a millisecond an address; a link shows the same ones again and again.
        self._cached = lru_cache(CACHED_ADDRESSES)(self._compute)

    @classmethod
    def from_file(cls, path: str | Path) -> "Pseudonyms":
        """Use the key in a file: 32 bytes, or 64 hexadecimal digits.

        Raises:
            InputError: The file cannot be read, or holds no key.
            UsageError: The library is not installed.
        """
        return cls(read_key(path))

    def address(self, address: str) -> str:
        """The pseudonym of an address.

        Args:
            address: IPv4 or IPv6 as text.

        Returns:
            An address of the same version, in its shortest form.

        Raises:
            UsageError: This is no address.
        """
        return self._cached(address)

    __call__ = address

    def _compute(self, address: str) -> str:
        try:
            real = ip_address(address)
        except ValueError:
            raise UsageError(f"no address: {address!r}") from None
        # The number, not the text: an IPv4 pseudonym as a bare number could be taken for either version.
        number = self._cipher.anonymize_bin(int(real), real.version)
        return str(type(real)(number))


def read_key(path: str | Path) -> bytes:
    """The key in a file: 32 bytes, or 64 hexadecimal digits.

    Raises:
        InputError: The file cannot be read, or holds no key.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(4 * KEY_BYTES)
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if len(content) != KEY_BYTES:
        try:
            content = binascii.unhexlify(content.strip())
        except binascii.Error:
            content = b""
    if len(content) != KEY_BYTES:
        raise InputError(
            f"{path}: no key for pseudonyms, which is {KEY_BYTES} bytes or {2 * KEY_BYTES} hexadecimal "
            "digits (openssl rand -hex 32)"
        )
    return content
