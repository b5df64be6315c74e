import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from mtc.config import RunConfig
from mtc.datasets import PARTS, Dataset, LabelledSamples, ragged
from mtc.evaluation.audit.audit import AuditSettings, audit
from mtc.evaluation.audit.fields import FOLDS, FieldJudge, assign_folds
from mtc.evaluation.audit.sharing import shared, sharing_keys
from mtc.packets import mask_samples
from mtc.training import train

FLOWS, PER_FLOW, CLASSES = 150, 5, ("a", "b", "c")
N = FLOWS * PER_FLOW
QUICK = AuditSettings(rows=1000)


@dataclasses.dataclass
class World:
    """A dataset of UDP packets in memory; the payload tells the class, and no header does."""

    dense: np.ndarray
    labels: np.ndarray
    flow: np.ndarray
    capture: np.ndarray
    parts: dict[str, np.ndarray]
    path: Path = Path("world")
    hash: str = "1" * 64
    splits: tuple[str, ...] = ("flow", "packet", "capture")

    @property
    def tasks(self) -> dict[str, tuple[str, ...]]:
        return {"task": CLASSES}

    @property
    def info(self) -> Any:
        return SimpleNamespace(
            name="world",
            kind="packets",
            features=None,
            flows=SimpleNamespace(with_rows=FLOWS),
            captures=range(int(self.capture.max()) + 1),
        )

    def __len__(self) -> int:
        return len(self.dense)

    def part(self, split: str, part: str, *, mask: Any = "paper") -> LabelledSamples:
        chosen = self.parts[split] == PARTS.index(part) if part != "all" else np.ones(len(self), np.bool_)
        rows = np.flatnonzero(chosen)
        data, offsets, _ = ragged.trim(mask_samples(self.dense[rows], mask))
        return LabelledSamples(
            data=data,
            offsets=offsets,
            labels={"task": self.labels[rows]},
            flow=self.flow[rows].astype(np.int32),
            capture=self.capture[rows].astype(np.int32),
            time=rows,
            row=rows,
        )


def clean_world() -> World:
    rng = np.random.default_rng(1)
    flow = np.repeat(np.arange(FLOWS), PER_FLOW)
    label_of_flow = np.arange(FLOWS) % 3
    capture_of_flow = np.arange(FLOWS) // 3 % 10
    part_of_flow = np.where(np.arange(FLOWS) // 3 % 5 == 4, 2, np.where(np.arange(FLOWS) // 3 % 5 == 3, 1, 0))
    dense = np.zeros((N, 1500), np.uint8)
    dense[:, 0], dense[:, 9] = 0x45, 17
    dense[:, 2:6] = rng.integers(0, 256, (N, 4))
    dense[:, 8] = rng.integers(40, 120, FLOWS)[flow]
    dense[:, 10:12] = rng.integers(0, 256, (N, 2))
    dense[:, 20:24] = rng.integers(0, 256, (FLOWS, 4))[flow]
    dense[:, 26:28] = rng.integers(0, 256, (N, 2))
    dense[:, 40:70] = rng.integers(1, 256, (N, 30))
    dense[:, 44:60] = (80 * label_of_flow[flow])[:, None] + rng.integers(1, 60, (N, 16))
    return World(
        dense=dense,
        labels=label_of_flow[flow],
        flow=flow,
        capture=capture_of_flow[flow],
        parts={
            "flow": part_of_flow[flow],
            "packet": rng.choice(3, N, p=[0.6, 0.2, 0.2]),
            "capture": np.where(capture_of_flow >= 8, 2, np.where(capture_of_flow >= 6, 1, 0))[flow],
        },
    )


@pytest.fixture(scope="module")
def clean() -> dict[str, Any]:
    return audit(clean_world(), settings=QUICK)  # type: ignore[arg-type]


def test_a_clean_dataset_is_met_with_silence(clean: dict[str, Any]) -> None:
    assert clean["findings"] == []
    assert not clean["splits"]["flow"]["leaks"]
    assert clean["splits"]["packet"]["leaks"]  # by construction
    assert clean["honest"]["task"]["macro_f1"] > 0.97
    assert {row["verdict"] for entry in clean["fields"] for row in entry["tasks"].values()} <= {
        "none",
        "flow",
    }
    assert clean["verdict"][0] == "No leak between the parts of the split flow."
    assert "task: no field alone is a shortcut." in clean["verdict"]
    assert json.loads(json.dumps(clean)) == clean


def test_a_field_that_names_the_flow_is_told_from_one_that_names_the_class(clean: dict[str, Any]) -> None:
    rows = {entry["field"]: entry["tasks"]["task"] for entry in clean["fields"]}
    assert rows["udp_src_port"]["verdict"] == "flow"
    assert rows["udp_src_port"]["by_packet"] > 0.7 > 0.5 > rows["udp_src_port"]["by_flow"]
    assert rows["ip_id"]["verdict"] == "none"
    assert "tcp_seq" not in rows  # no packet has it
    assert "ip_src" not in rows


def test_a_planted_field_that_equals_the_label_is_found() -> None:
    world = clean_world()
    world.dense[:, 8] = 60 + world.labels
    found = audit(world, settings=QUICK)  # type: ignore[arg-type]
    assert [(f["kind"], f["field"], f["task"]) for f in found["findings"]] == [("label", "ip_ttl", "task")]
    assert found["fields"][0]["field"] == "ip_ttl"
    assert found["fields"][0]["tasks"]["task"]["by_flow"] > 0.99
    assert "task: the label is given away by ip_ttl." in found["verdict"]


def test_a_planted_shortcut_is_found_and_its_worth_told() -> None:
    world = clean_world()
    rng = np.random.default_rng(2)
    world.dense[:, 40:70] = rng.integers(1, 256, (N, 30))  # the payload tells nothing
    told = rng.random(FLOWS) < 0.6
    port = np.where(told, 10 + world.labels[::PER_FLOW], rng.integers(0, 256, FLOWS))
    world.dense[:, 22] = port[world.flow]
    found = audit(world, settings=QUICK)  # type: ignore[arg-type]
    kinds = {(f["kind"], f["field"]) for f in found["findings"]}
    assert ("shortcut", "udp_dst_port") in kinds
    assert {"gap", "mask"} <= {kind for kind, _ in kinds}
    assert found["gap"]["task"]["mask_difference"] > 0.05  # the trees try a fifth of the bytes a split
    assert found["honest"]["task"]["mask"] == "strict"
    assert found["honest"]["task"]["macro_f1"] < 0.5


def test_planted_flows_on_both_sides_are_found() -> None:
    world = clean_world()
    rng = np.random.default_rng(3)
    moved = rng.choice(N, 60, replace=False)
    world.parts["flow"][moved] = rng.choice(3, 60)
    found = audit(world, settings=QUICK)  # type: ignore[arg-type]
    kinds = {(f["kind"], f["split"]) for f in found["findings"]}
    assert ("flows", "flow") in kinds
    assert found["splits"]["flow"]["leaks"]
    in_parts = [set(world.parts["flow"][world.flow == flow]) for flow in range(FLOWS)]
    assert found["splits"]["flow"]["flows"]["shared"] == sum(len(parts) > 1 for parts in in_parts)
    assert "several parts" in found["verdict"][0]


def test_planted_duplicates_are_found_exact_and_near() -> None:
    world = clean_world()
    trained, tested = (np.flatnonzero(world.parts["flow"] == part) for part in (0, 2))
    world.dense[tested[:20]] = world.dense[trained[:20]]
    world.dense[tested[20:60]] = world.dense[trained[20:60]]
    world.dense[tested[20:60], 8] += 1  # another TTL
    found = audit(world, settings=QUICK)  # type: ignore[arg-type]
    counts = {kind: row["test_rows"] for kind, row in found["splits"]["flow"]["duplicates"].items()}
    assert counts == {"exact": 20, "masked": 60, "payload": 60}
    other = found["splits"]["flow"]["duplicates"]["exact"]["other_label"]["task"]
    assert other == (world.labels[tested[:20]] != world.labels[trained[:20]]).sum()
    found_in = {(f["kind"], f["split"]) for f in found["findings"]}
    assert ("duplicates", "flow") in found_in


def test_sharing_is_what_a_plain_loop_counts() -> None:
    rng = np.random.default_rng(4)
    keys = rng.integers(0, 40, 300).astype(np.uint64)
    parts, labels = rng.integers(0, 3, 300), rng.integers(-1, 3, 300)
    found = shared(keys, parts, {"task": labels})
    trained = {
        k: {v for kk, p, v in zip(keys, parts, labels, strict=True) if kk == k and p == 0} for k in keys
    }
    test = [(k, v) for k, p, v in zip(keys, parts, labels, strict=True) if p == 2]
    again = [(k, v) for k, v in test if k and trained[k]]
    assert found["test_rows"] == len(again)
    assert found["share"] == pytest.approx(len(again) / len(test))
    told = [(k, v) for k, v in again if v >= 0 and trained[k] - {-1}]
    assert found["other_label"]["task"] == sum(v not in trained[k] for k, v in told)
    assert found["distinct"] == len(set(keys.tolist()) - {0})


def test_payloads_are_compared_behind_the_header_and_only_where_there_is_enough() -> None:
    world = clean_world()
    world.dense[0, 40:] = world.dense[1, 40:]
    world.dense[2:4, 45:] = 0
    world.dense[2:4, 40:45] = 7
    keys = sharing_keys(world.part("flow", "all")).duplicates["payload"]
    assert keys[0] == keys[1] != 0
    assert keys[2] == keys[3] == 0
    assert len(np.unique(keys[4:])) == N - 4


def test_folds_hold_whole_groups_of_every_class() -> None:
    rng = np.random.default_rng(5)
    groups = rng.integers(0, 200, 2000)
    labels = groups % 4
    folds = assign_folds(groups, labels, rng)
    assert all(len(set(folds[groups == group])) == 1 for group in np.unique(groups))
    counts = np.array([[(labels[folds == f] == c).sum() for c in range(4)] for f in range(FOLDS)])
    assert counts.min() > 0.7 * counts.mean()


def test_a_fields_score_is_that_of_its_predictions() -> None:
    world = clean_world()
    judge = FieldJudge(world.part("flow", "all"), "task", CLASSES, seed=1)
    row = judge.score(world.labels.astype(np.float64))
    assert row["by_flow"] == row["by_packet"] == row["by_capture"] == 1.0
    assert row["lift"] == pytest.approx(1.0)
    always = f1_score(world.labels, np.zeros(N), labels=[0, 1, 2], average="macro")
    assert row["majority"] == pytest.approx(always)
    assert row["chance"] >= row["majority"]


def test_occlusion_tells_what_a_model_rests_on(tmp_path: Path) -> None:
    world = clean_world()
    world.dense[:, 40:70] = 1
    world.dense[:, 8] = 60 + 20 * world.labels
    settings = {"model": {"name": "extra-trees", "forest_trees": 20, "leading_bytes": 70}}
    train(RunConfig.from_dict(settings), _with_columns(world), tmp_path / "run")
    found = audit(_with_columns(world), tmp_path / "run", QUICK)["occlusion"]
    assert found["part"] == "test"
    drops = {row["group"]: row["tasks"]["task"]["drop"] for row in found["hidden"]}
    assert found["whole"]["task"] == 1.0
    assert drops["TTL"] > 0.4
    assert drops["payload only"] > 0.4
    assert drops["addresses"] == drops["sequence numbers"] == drops["first payload bytes"] == 0.0
    assert drops["header only"] == pytest.approx(0.0, abs=0.05)
    assert {row["group"]: row["fields"] for row in found["hidden"]}["TTL"] == ["ip_ttl"]


def test_every_step_is_told_to_its_end() -> None:
    told: dict[str, list[tuple[int, int]]] = {}

    def progress(step: str, done: int, total: int) -> None:
        told.setdefault(step, []).append((done, total))

    audit(clean_world(), settings=QUICK, progress=progress)  # type: ignore[arg-type]
    assert len(told) == 3
    for step, calls in told.items():
        assert calls[0][0] == 0
        assert step.startswith("comparing") or calls[-1][0] == calls[-1][1] > 1


def test_flow_features(flows_dataset: Path, flows_model: Path) -> None:
    found = audit(Dataset.open(flows_dataset), flows_model, AuditSettings(rows=300))
    assert found["dataset"]["kind"] == "features"
    assert found["dataset"]["flows"] is None
    assert set(found["splits"]) == {"honest", "paper"}
    assert set(found["splits"]["honest"]["duplicates"]) == {"exact", "near"}
    assert len(found["occlusion"]["hidden"]) == 49
    assert {row["split"] for row in found["scores"]} == {"honest", "paper"}
    # The labels of this dataset move every feature.
    assert found["fields"][0]["tasks"]["malicious"]["verdict"] in ("label", "shortcut", "signal")
    assert any(entry["field"] == "Destination Port" and entry["identifying"] for entry in found["fields"])


def _with_columns(world: World) -> Any:
    """What a run needs besides: the whole columns."""
    world.columns = lambda *names: {"flow": world.flow, "task": world.labels}  # type: ignore[attr-defined]
    return world
