"""The table of services: the one of the package, and a user's."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtc.errors import InputError
from mtc.flows.services import BUILT_IN, COLUMNS, TYPES, Service, Services, check_pattern

HEADER = ",".join(COLUMNS)
SERVICES = Services.load()


def test_the_table_of_the_package_passes_the_check_of_a_user_s() -> None:
    Services.load(BUILT_IN)


def test_no_pattern_stands_twice_and_every_type_is_used() -> None:
    lines = [line for line in BUILT_IN.read_text().splitlines()[1:] if not line.startswith("#")]
    cells = [line.split(",") for line in lines]
    names = Counter(name for row in cells for name in row[3].split())
    protocols = Counter(protocol for row in cells for protocol in row[4].split())
    assert [name for name, count in (names + protocols).items() if count > 1] == []
    assert {row[1] for row in cells[1:]} == set(TYPES)
    assert len({row[0] for row in cells}) > 250


@pytest.mark.parametrize(
    ("name", "application", "kind"),
    [
        ("www.youtube.com", "YouTube", "Streaming"),
        ("r3---sn-4g5e6nez.googlevideo.com.", "YouTube", "Streaming"),
        ("YouTube.Co.UK", "YouTube", "Streaming"),
        ("mail.google.com", "Gmail", "Email"),
        ("www.google.com", "Google", "Web"),
        ("www.google.co.uk", "Google", "Web"),
        ("whatsapp-cdn-shv-01-ams3.fbcdn.net", "WhatsApp", "Chat"),
        ("scontent.fbcdn.net", "Facebook", "Social"),
        ("*.slack.com", "Slack", "Chat"),
        ("p12-buy.itunes.apple.com", "App Store", "Software Update"),
        ("us04web.zoom.us", "Zoom", "VoIP"),
        ("d111111abcdef8.cloudfront.net", "Amazon Web Services", "Cloud"),
    ],
)
def test_lookup(name: str, application: str, kind: str) -> None:
    service = SERVICES.lookup(name)
    assert service is not None
    assert (service.application, service.type) == (application, kind)


@pytest.mark.parametrize(
    "name",
    [
        "youtube.com.evil.example",
        "notyoutube.com",
        "google.evil.de",
        "192.0.2.1",
        "2001:db8::1",
        "com",
        "co.uk",
        "",
        ".",
        "a..b",
    ],
)
def test_nothing_for_a_name_that_only_looks_like_one(name: str) -> None:
    assert SERVICES.lookup(name) is None


def test_protocols() -> None:
    types = {
        "smtp": "Email",
        "ftp-data": "File Transfer",
        "sip": "VoIP",
        "dns": "DNS",
        "ssh": "Remote Access",
    }
    types |= {"bittorrent": "Torrent", "wireguard": "VPN", "ntp": "Network", "mqtt": "IoT", "http": "Web"}
    for protocol, kind in types.items():
        service = SERVICES.of_protocol(protocol)
        assert service is not None
        assert service.type == kind
    assert SERVICES.of_protocol("tls") is None
    assert SERVICES.of_protocol("quic") is None


def test_a_user_s_table_comes_first_and_longer_patterns_before_it(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text(
        f"\ufeff# Ours\n{HEADER}\nIntranet,Collaboration,Us,intranet.example.org *-api.example.org,\n"
        "\nOur mail,Email,,google.com,xyz-proto\n"
    )
    services = Services.load(table)
    assert services.lookup("a.intranet.example.org") == Service("Intranet", "Collaboration", "Us")
    assert services.lookup("eu-api.example.org") == Service("Intranet", "Collaboration", "Us")
    assert services.lookup("api.example.org") is None
    assert services.lookup("www.google.com") == Service("Our mail", "Email", None)
    assert services.lookup("docs.google.com") == SERVICES.lookup("docs.google.com")
    assert services.of_protocol("xyz-proto") == Service("Our mail", "Email", None)


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("mail.example.org", Service(None, "Email", None)),
        ("imap4.example.co.uk", Service(None, "Email", None)),
        ("mail.ntop.org", Service("ntop", "Email", "ntop")),
        ("a.mail.example.org", None),
        ("mailing.example.org", None),
        ("mail.com", Service("mail.com", "Email", "1&1 Mail & Media")),
        ("video.org", None),
    ],
)
def test_a_word_in_front_of_any_domain_gives_a_type(name: str, service: Service | None) -> None:
    assert SERVICES.lookup(name) == service


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line with the columns application,type,company,names,protocols"),
        ("a,b\n", "line 1: the columns must be application,type,company,names,protocols"),
        (f"{HEADER}\nx,Chat\n", "line 2: 2 columns instead of 5"),
        (f"{HEADER}\nx,Talk,,a.org,\n", "line 2: unknown type 'Talk'; types are Chat, Email"),
        (f"{HEADER}\n\nx,Chat,,,\n", "line 3: neither names nor protocols"),
        (f"{HEADER}\nx,Chat,,co.uk,\n", "line 2: the name 'co.uk' matches a whole public suffix"),
        (f"{HEADER}\nx,Chat,,*.com,\n", "line 2: the name '*.com' matches a whole public suffix"),
        (f"{HEADER}\nx,Chat,,A.org,\n", "line 2: the name 'A.org' is not a domain in lower case"),
        (f"{HEADER}\nx,Chat,,a*b*c.example.org,\n", "is not a domain"),
        (f"{HEADER}\nx,Chat,,a*.b.*,\n", "has two *"),
        (f"{HEADER}\nx,Chat,,a.b.**,\n", "the name 'a.b.**' is not a word before .**"),
        (f'{HEADER}\nx,Chat,"a.org,\n', "line 2: "),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "wrong.csv"
    table.write_text(text)
    with pytest.raises(InputError) as error:
        Services.load(table)
    assert message in str(error.value)
    assert str(error.value).startswith(str(table))
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        Services.load(tmp_path / "missing.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\0")
    with pytest.raises(InputError, match="not UTF-8"):
        Services.load(tmp_path / "binary.csv")


@given(st.text(max_size=80))
def test_any_name(name: str) -> None:
    SERVICES.lookup(name)
    check_pattern(name)
