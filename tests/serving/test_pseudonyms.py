"""Pseudonyms against the vectors that Crypto-PAn was published with."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtc.errors import InputError, UsageError
from mtc.serving import Pseudonyms

# Key and pairs of the reference implementation (sample.cpp and sample_trace_sanitized.dat of
# Crypto-PAn 1.0, Xu et al., Georgia Institute of Technology).
REFERENCE_KEY = bytes.fromhex("1522178d33a4cf80130a5b1649907d10d8988f837979652762574c2d2a842202")
REFERENCE = {
    "128.11.68.132": "135.242.180.132",
    "129.118.74.4": "134.136.186.123",
    "130.132.252.244": "133.68.164.234",
    "141.223.7.43": "141.167.8.160",
    "141.233.145.108": "141.129.237.235",
    "152.163.225.39": "151.140.114.167",
    "156.29.3.236": "147.225.12.42",
    "165.247.96.84": "162.9.99.234",
    "166.107.77.190": "160.132.178.185",
    "192.102.249.13": "252.138.62.131",
    "192.215.32.125": "252.43.47.189",
}
NUMBERED_KEY = bytes(range(32))


def test_reference_vectors():
    pseudonyms = Pseudonyms(REFERENCE_KEY)
    assert {address: pseudonyms(address) for address in REFERENCE} == REFERENCE


def test_ipv6():
    # From the documentation of yacryptopan, whose own test this is.
    pseudonyms = Pseudonyms(NUMBERED_KEY)
    assert pseudonyms("192.0.2.1") == "2.90.93.17"
    assert pseudonyms("2001:db8::1") == "dd92:2c44:3fc0:ff1e:7ff9:c7f0:8180:7e00"


def shared_bits(first: str, second: str) -> int:
    a, b = ipaddress.ip_address(first), ipaddress.ip_address(second)
    return a.max_prefixlen - (int(a) ^ int(b)).bit_length()


@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_prefixes_are_kept(first, second):
    pseudonyms = Pseudonyms(NUMBERED_KEY)
    assert shared_bits(pseudonyms(str(first)), pseudonyms(str(second))) == shared_bits(
        str(first), str(second)
    )


def test_another_key_gives_other_pseudonyms():
    assert Pseudonyms(NUMBERED_KEY)("192.0.2.1") != Pseudonyms(REFERENCE_KEY)("192.0.2.1")


@pytest.mark.parametrize("content", [REFERENCE_KEY, REFERENCE_KEY.hex().encode() + b"\n"])
def test_key_file(tmp_path, content):
    (tmp_path / "key").write_bytes(content)
    assert Pseudonyms.from_file(tmp_path / "key")("128.11.68.132") == "135.242.180.132"


@pytest.mark.parametrize("content", [b"", b"short", b"z" * 64, bytes(33)])
def test_no_key_in_the_file(tmp_path, content):
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(InputError, match="32 bytes or 64 hexadecimal"):
        Pseudonyms.from_file(tmp_path / "key")


def test_missing_key_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        Pseudonyms.from_file(tmp_path / "key")


def test_no_address():
    with pytest.raises(UsageError, match="no address"):
        Pseudonyms(NUMBERED_KEY)("example.org")
