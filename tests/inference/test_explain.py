from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mtc.config import RunConfig
from mtc.errors import UsageError
from mtc.inference.explain import TOLERATED, explain, field_groups
from mtc.models import LoadedModel, ModelCard, build_network, predict_logits
from mtc.packets import mask_samples, read_samples

pytest.importorskip("captum")

TASKS = {"application": ("a", "b", "c"), "traffic": ("x", "y")}


def make_model(data: dict[str, Any] | None = None, **settings: Any) -> LoadedModel:
    """An untrained model, its heads' weights large enough for logits to differ."""
    config = RunConfig.from_dict({"data": data or {}, "model": settings})
    torch.manual_seed(0)
    network = build_network(config.model, TASKS).eval()
    for head in network.heads.values():  # type: ignore[union-attr, operator]
        head.weight.data.mul_(5)
    absent = {"application": np.array([2]), "traffic": np.array([], np.int64)}
    return LoadedModel(network, ModelCard(tasks=TASKS, config=config), absent)


@pytest.fixture(scope="module")
def packets(short_capture: Path) -> np.ndarray:
    """Two packets of the demo, one of TCP and one of UDP."""
    read = read_samples(str(short_capture))
    protocols = read.headers["protocol"]
    return read.samples[[int(np.flatnonzero(protocols == p)[0]) for p in (6, 17)]]


SMALL = {
    "mtc": {"ffn_width": 8, "repetitions": [1, 1, 1]},
    "transformer": {"ffn_width": 8, "encoders": 2},
    "cnn": {"channels": [6, 5], "dense_widths": [9, 7]},
    "fields": {"leading_bytes": 80, "members": 2, "dense_widths": [9, 7], "encoding_width": 3},
}


@pytest.mark.parametrize("name", SMALL)
def test_attributions_sum_to_the_difference_of_logits(name: str, packets: np.ndarray) -> None:
    model = make_model({"mask": "strict"}, name=name, **SMALL[name])
    if name == "fields":
        masked = mask_samples(packets, "strict")
        model.network.prepare(masked.reshape(-1), np.arange(len(masked) + 1) * 1500)
    expected = predict_logits(
        model.network, mask_samples(packets, "strict").reshape(-1), np.arange(len(packets) + 1) * 1500
    )
    for i, found in enumerate(explain(model, packets, "application")):
        column = TASKS["application"].index(found.label)
        assert found.label != "c"  # which had no training sample
        assert found.logit == pytest.approx(expected["application"][i, column], abs=1e-4)
        difference = found.logit - found.baseline
        total = float(found.by_byte.sum()) + sum(found.numbers.values())
        assert abs(difference) > 1e-3
        assert total - difference == pytest.approx(found.error, abs=1e-4)
        assert abs(found.error) <= max(TOLERATED * abs(difference), 1e-4)
        length = int(np.flatnonzero(found.sample)[-1]) + 1
        assert (found.by_byte[length:] == 0).all()
        assert sum(found.by_field().values()) == pytest.approx(float(found.by_byte.sum()), abs=1e-4)
        assert found.by_field()["ip_ttl"] == 0 if name != "fields" else True
        branches = {"mtc": {"transformer", "cnn"}, "fields": {"bytes"}}
        assert set(found.parts) == branches.get(name, {name})
        layers = {"mtc": 3, "transformer": 2}.get(name, 0)
        assert len(found.attention) == layers
        assert bool(found.numbers) is (name == "fields")
        assert found.to_dict()["label"] == found.label


def test_groups_are_the_header_fields_and_ranges_of_payload(packets: np.ndarray) -> None:
    tcp = packets[0].copy()
    tcp[40:] = 0
    tcp[40:130] = 7
    groups = field_groups(tcp)
    assert list(groups)[:3] == ["ip_version_ihl", "ip_dscp_ecn", "ip_total_length"]
    assert groups["tcp_seq"].tolist() == [24, 25, 26, 27]
    assert [name for name in groups if name.startswith("payload")] == [
        "payload 0-15",
        "payload 16-31",
        "payload 32-63",
        "payload 64-127",
    ]
    assert groups["payload 64-127"].tolist() == list(range(104, 130))
    assert sorted(np.concatenate(list(groups.values())).tolist()) == list(range(130))
    assert next(iter(field_groups(np.full(1500, 255, np.uint8)))) == "payload 0-15"


def test_a_class_may_be_asked_for(packets: np.ndarray) -> None:
    model = make_model(name="cnn", **SMALL["cnn"])
    one, two = (explain(model, packets[:1], "traffic", label)[0] for label in ("x", "y"))
    assert (one.label, two.label) == ("x", "y")
    assert one.confidence + two.confidence == pytest.approx(1, abs=1e-5)
    assert not np.allclose(one.by_byte, two.by_byte)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"task": "colour"}, "no task 'colour'"), ({"label": "z"}, "no class 'z'")],
)
def test_refuses_what_the_model_does_not_know(
    packets: np.ndarray, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        explain(make_model(name="cnn", **SMALL["cnn"]), packets, **arguments)


def test_refuses_what_has_no_gradients(packets: np.ndarray) -> None:
    with pytest.raises(UsageError, match="majority has no gradients"):
        explain(LoadedModel(*_majority()), packets)


def _majority() -> tuple[Any, ModelCard, dict[str, Any]]:
    config = RunConfig.from_dict({"model": {"name": "majority"}})
    return build_network(config.model, TASKS), ModelCard(tasks=TASKS, config=config), {}
