"""Label, learn and drift, as the commands do it."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from mtc.cli import app
from mtc.evaluation.drift import unlikeness
from mtc.flows.labels import COLUMNS, label_flows
from mtc.models import load_model

RUN = CliRunner()


@pytest.fixture(scope="module")
def captures(shared_data: Path) -> list[str]:
    """Plain recordings of mail, chat and file transfer."""
    folder = shared_data / "lab" / "captures"
    names = ("curl-imaps", "mbsync-dovecot", "openssh-scp", "rsync-ssh", "irc-inspircd", "paho-mosquitto")
    return [str(path) for name in names for path in sorted(folder.glob(f"plain_{name}*"))[:4]]


@pytest.fixture(scope="module")
def model(captures: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("learn")
    with (folder / "mine.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("capture", "traffic", "seconds"))
        for capture in captures:
            kind = "Email" if "imap" in capture or "mbsync" in capture else "other"
            writer.writerow((capture, kind, "1.5"))
    arguments = ["learn", *captures, "--labels", str(folder / "mine.csv"), "--out", str(folder / "model")]
    result = RUN.invoke(app, [*arguments, "--minutes", "0.1", "--json"])
    assert result.exit_code == 0, result.output
    return folder / "model", json.loads(result.stdout)


def test_labels_name_the_five_tuple_and_the_evidence(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "labelled-captures" / "captures"
    captures = [str(path) for path in sorted(folder.glob("*imap*"))[:3] + sorted(folder.glob("*ssh*"))[:2]]
    out = tmp_path / "labels.csv"
    result = RUN.invoke(app, ["label", *captures, "--out", str(out), "--min-flows", "1", "--json"])
    assert result.exit_code in (0, 3), result.output
    summary = json.loads(result.stdout)
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == summary["labelled"]
    assert {row["evidence"] for row in rows} <= {"server_name", "protocol"}
    assert all(row["application"] or row["type"] for row in rows)
    assert all(float(row["start"]) < float(row["end"]) for row in rows)
    assert {"Email"} <= {row["type"] for row in rows}
    again = RUN.invoke(app, ["label", *captures, "--out", str(out)])
    assert again.exit_code == 2
    rare = RUN.invoke(app, ["label", *captures, "--out", str(tmp_path / "b.csv"), "--min-flows", "1000"])
    assert rare.exit_code in (0, 3)
    assert (tmp_path / "b.csv").read_text().count("\n") == 1


def test_an_unknown_kind_of_evidence_is_refused(tmp_path: Path) -> None:
    result = RUN.invoke(app, ["label", "x.pcap", "--out", str(tmp_path / "a.csv"), "--evidence", "ports"])
    assert result.exit_code != 0
    assert label_flows([]).rows == []


def test_a_learned_model_is_written_with_a_page_and_says_how_good_it_is(
    model: tuple[Path, dict[str, Any]],
) -> None:
    folder, learned = model
    assert learned["split"] == "capture"
    assert learned["classes"]["traffic"].keys() == {"Email", "other"}
    assert 0 < learned["scores"]["extra-trees"]["traffic"] <= 1
    assert "Task traffic: 2 classes" in learned["text"]
    assert learned["text"].split(".")[0] in (folder / "report.md").read_text(encoding="utf-8")
    card = load_model(folder).card
    assert card.config.data.mask == "nameless"
    assert {task: set(classes) for task, classes in card.tasks.items()} == {"traffic": {"Email", "other"}}
    assert (folder / "dataset" / "dataset.json").is_file()


def test_a_learned_model_classifies_captures(model: tuple[Path, dict[str, Any]], captures: list[str]) -> None:
    result = RUN.invoke(app, ["classify", captures[0], "--model", str(model[0]), "--format", "json"])
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert any(row["traffic"] and row["traffic"]["label"] == "Email" for row in rows)


def test_drift_is_small_on_the_training_captures_and_large_on_others(
    model: tuple[Path, dict[str, Any]], captures: list[str], shared_data: Path
) -> None:
    same = RUN.invoke(app, ["drift", str(model[0]), *captures, "--json"])
    assert same.exit_code == 0, same.output
    others = sorted((shared_data / "lab" / "captures").glob("wireguard_*"))[::20]
    moved = RUN.invoke(app, ["drift", str(model[0]), *map(str, others), "--json"])
    before, after = json.loads(same.stdout), json.loads(moved.stdout)
    assert len(before["moved"]) < len(after["moved"])
    assert before["tasks"]["traffic"]["unlike"] < after["tasks"]["traffic"]["unlike"]
    assert set(after["captures"]) == set(map(str, others))
    assert RUN.invoke(app, ["drift", "iscx", captures[0]]).exit_code != 0


def test_what_all_trees_agree_on_is_like_the_training_data() -> None:
    found = unlikeness(np.array([[1.0, 0.0], [0.5, 0.5]], np.float32))
    np.testing.assert_allclose(found, [0.0, 1.0])
