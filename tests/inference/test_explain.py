from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mtc.config import RunConfig
from mtc.datasets import LabelledSamples
from mtc.errors import UsageError
from mtc.flows import read_samples
from mtc.inference import Classifier
from mtc.inference.explain.attribution import TOLERATED, explain, field_groups
from mtc.inference.explain.classes import explain_classes
from mtc.models import LoadedModel, ModelCard, build_network, predict_logits
from mtc.packets import mask_samples

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


def test_the_classifier_explains_too(packets: np.ndarray) -> None:
    model = make_model(name="cnn", **SMALL["cnn"])
    (by_classifier, _), (by_hand, _) = (
        Classifier(model).explain(packets, "traffic"),
        explain(model, packets, "traffic"),
    )
    assert by_classifier.contributions() == by_hand.contributions()


def test_attention_received_is_one_on_average(packets: np.ndarray) -> None:
    (found, _) = explain(make_model(name="mtc", **SMALL["mtc"]), packets)
    assert found.attention_received().mean() == pytest.approx(1.0, abs=1e-4)
    (found, _) = explain(make_model(name="cnn", **SMALL["cnn"]), packets)
    assert len(found.attention_received()) == 0


def labelled(packets: np.ndarray, labels: list[int], flow: list[int]) -> LabelledSamples:
    count = len(labels)
    samples = packets[np.arange(count) % 2]
    return LabelledSamples(
        data=samples.reshape(-1),
        offsets=np.arange(count + 1) * 1500,
        labels={"traffic": np.array(labels)},
        flow=np.array(flow, np.int32),
        capture=np.zeros(count, np.int32),
        time=np.arange(count),
        row=np.arange(count),
    )


def test_reasons_of_a_class_are_means_over_its_packets(packets: np.ndarray) -> None:
    model = make_model(name="cnn", **SMALL["cnn"])
    found = explain_classes(model, labelled(packets, [1, 1, -1], [0, 1, 2]), "traffic")
    assert [one.label for one in found] == ["y"]  # of x there is no packet
    both = explain(model, packets, "traffic", "y")
    for name, value in found[0].fields.items():
        assert value == pytest.approx(np.mean([one.by_field().get(name, 0.0) for one in both]), abs=1e-5)
    given = [one.label == "y" for one in explain(model, packets, "traffic")]
    assert (found[0].packets, found[0].recognised) == (2, np.mean(given))


def test_packets_of_a_class_come_from_as_many_flows_as_there_are(packets: np.ndarray) -> None:
    model = make_model(name="cnn", **SMALL["cnn"])
    # Flow 0 has a TCP packet and many of UDP, flow 1 one of UDP: two packets are one of each flow.
    samples = labelled(packets, [0] * 9, [0, 1, 0, 0, 0, 0, 0, 0, 0])
    for seed in range(3):
        (found,) = explain_classes(model, samples, "traffic", per_class=2, seed=seed)
        assert found.packets == 2
    with pytest.raises(UsageError, match="no task 'colour'"):
        explain_classes(model, samples, "colour")
