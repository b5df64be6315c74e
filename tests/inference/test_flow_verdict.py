"""Which of name, protocol and model decides what a flow is."""

from typing import Any

import pytest

from mtc.inference.verdicts import FlowVerdict
from mtc.tasks import ISCX

UNKNOWN = {"application": None, "type": None, "by": "unknown", "confidence": None}


def row(**changed: Any) -> dict[str, Any]:
    """A TLS flow that the model calls Skype and Chat."""
    record = {
        "app_proto": "tls",
        "service": None,
        "application": {"label": "Skype", "confidence": 0.9},
        "traffic": {"label": "Chat", "confidence": 0.8},
        "conflict": None,
    }
    return record | changed


def service(application: str | None, kind: str, by: str) -> dict[str, Any]:
    return {"application": application, "type": kind, "by": by}


def verdict(record: dict[str, Any], *, unlike: bool = False) -> dict[str, Any]:
    return FlowVerdict(ISCX)(record, unlike=unlike)


def test_a_name_speaks_first() -> None:
    found = verdict(row(service=service("YouTube", "Streaming", "server_name")))
    assert found == {"application": "YouTube", "type": "Streaming", "by": "server_name", "confidence": None}


def test_a_protocol_speaks_where_there_is_no_name() -> None:
    found = verdict(row(app_proto="smtp", service=service(None, "Email", "protocol")))
    assert found == {"application": None, "type": "Email", "by": "protocol", "confidence": None}


def test_the_model_speaks_where_the_flow_is_silent() -> None:
    assert verdict(row()) == {"application": "Skype", "type": "Chat", "by": "model", "confidence": 0.8}


@pytest.mark.parametrize(
    ("record", "unlike"),
    [
        (row(), True),
        (row(conflict=[["application", "traffic"]]), False),
        (row(application=None, traffic=None), False),
        (row(application={"label": "unknown", "confidence": 0.1}, traffic=None), False),
    ],
    ids=["unlike", "conflict", "no sample", "below the threshold"],
)
def test_the_model_is_silent_without_reason(record: dict[str, Any], unlike: bool) -> None:
    assert verdict(record, unlike=unlike) == UNKNOWN


VPN_CHAT = {"label": "VPN Chat", "confidence": 0.7}


def test_inside_a_tunnel_the_model_may_say_more() -> None:
    tunnel = service("WireGuard", "VPN", "protocol")
    found = verdict(row(app_proto="wireguard", service=tunnel, traffic=VPN_CHAT))
    assert found == {"application": "WireGuard", "type": "VPN Chat", "by": "model", "confidence": 0.7}
    for record, unlike in (
        (row(app_proto="wireguard", service=tunnel), False),
        (row(traffic=VPN_CHAT), True),
    ):
        found = verdict(record | {"app_proto": "wireguard", "service": tunnel}, unlike=unlike)
        assert found == {"application": "WireGuard", "type": "VPN", "by": "protocol", "confidence": None}


@pytest.mark.parametrize("app_proto", ["tls", "ssh", "quic"])
def test_no_vpn_by_the_model_on_what_is_visibly_no_tunnel(app_proto: str) -> None:
    assert verdict(row(app_proto=app_proto, traffic=VPN_CHAT)) == UNKNOWN
    assert verdict(row(app_proto=None, traffic=VPN_CHAT))["type"] == "VPN Chat"


def test_models_with_other_tasks_decide_nothing() -> None:
    attacks = {"attack": ("Benign", "DoS")}
    record = {
        "app_proto": None,
        "service": None,
        "attack": {"label": "DoS", "confidence": 1.0},
        "conflict": None,
    }
    assert FlowVerdict(attacks)(record, unlike=False) == UNKNOWN
