"""Several processes share the work of a run: the same result as one, and only the first writes."""

import csv
import io
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mtc.config import RunConfig, TrainConfig
from mtc.errors import ConfigError
from mtc.models import build_network
from mtc.training import batches, multi_task_loss, train
from mtc.training.batches import Chunks, PackedLoader
from mtc.training.ranks import expected_rank
from mtc.training.run_folder import FILES, TENSORBOARD

pytestmark = pytest.mark.slow

SCRIPT = f"""
    import json, os, signal, sys
    sys.path.insert(0, {str(Path(__file__).parent)!r})
    from conftest import MemoryDataset
    from test_run import AtStep
    from mtc.config import RunConfig
    from mtc.training import Interrupted, train
    out, settings, mode = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
    end = lambda trainer: os.kill(os.getpid(), signal.SIGTERM) if trainer.global_rank == 1 else None
    callbacks = [AtStep(7, end)] if mode == "sigterm" else []
    try:
        metrics = train(
            RunConfig.from_dict(settings), MemoryDataset(), out, resume=mode == "resume", callbacks=callbacks
        )
    except Interrupted:
        os.write(1, b"interrupted\\n")
        sys.exit(130)
    os.write(1, b"scored\\n" if metrics else b"silent\\n")
"""


def by(settings: dict, **sections: dict) -> dict:
    return settings | {name: settings.get(name, {}) | section for name, section in sections.items()}


class Processes:
    """Runs of the script, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "run.py").write_text(textwrap.dedent(SCRIPT))

    def start(self, name: str, settings: dict, mode: str = "whole", **more: str) -> subprocess.Popen[str]:
        known = {k: v for k, v in os.environ.items() if k not in ("RANK", "LOCAL_RANK", "NODE_RANK")}
        return subprocess.Popen(
            [
                sys.executable,
                str(self.folder / "run.py"),
                str(self.folder / name),
                json.dumps(settings),
                mode,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=known | {"OMP_NUM_THREADS": "1"} | more,
        )

    def run(self, name: str, settings: dict, mode: str = "whole") -> tuple[int, list[str]]:
        process = self.start(name, settings, mode)
        out, errors = process.communicate(timeout=550)
        assert "Traceback" not in errors, errors
        return process.returncode, sorted(out.split())


def history(folder: Path) -> list[dict[str, float]]:
    rows = csv.DictReader(io.StringIO((folder / "epochs.csv").read_text()))
    return [{k: float(v) for k, v in row.items() if k not in ("minutes", "samples_per_s")} for row in rows]


@pytest.fixture(scope="module")
def plain(settings: dict) -> dict:
    """Without batch statistics and dropout, so that it does not matter who computes which sample."""
    train = {"precision": "fp32", "averaging": 0.5}
    return by(settings, model={"name": "transformer", "ffn_dropout": 0.0}, train=train)


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Processes:
    return Processes(tmp_path_factory.mktemp("ranks"))


@pytest.fixture(scope="module")
def together(plain: dict, processes: Processes) -> Path:
    """A run of two processes, which the first one starts."""
    status, said = processes.run("together", by(plain, train={"devices": 2}))
    assert status == 0
    assert said == ["scored", "silent"]
    return processes.folder / "together"


def test_two_processes_come_to_the_result_of_one(
    plain: dict, together: Path, dataset: Any, tmp_path: Path
) -> None:
    train(RunConfig.from_dict(plain), dataset, tmp_path / "alone")
    assert {path.name for path in together.iterdir()} == {*FILES, "checkpoints", TENSORBOARD}
    ours, expected = history(together), history(tmp_path / "alone")
    assert len(ours) == len(expected) == 2
    for row, other in zip(ours, expected, strict=True):
        assert row == pytest.approx(other, rel=1e-3)
    scores, others = (
        json.loads((folder / "metrics.json").read_text())["parts"]["test"]["application"]
        for folder in (together, tmp_path / "alone")
    )
    assert scores["macro_f1"] == pytest.approx(others["macro_f1"], abs=0.03)


def test_sigterm_to_one_ends_all_and_the_run_goes_on(
    plain: dict, together: Path, processes: Processes
) -> None:
    settings = by(plain, train={"devices": 2})
    status, said = processes.run("broken", settings, "sigterm")
    assert status == 130
    assert said == ["interrupted", "interrupted"]
    kept = torch.load(processes.folder / "broken" / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 8  # they agree at the end of the next step
    assert processes.run("broken", settings, "resume") == (0, ["scored", "silent"])
    for row, other in zip(history(processes.folder / "broken"), history(together), strict=True):
        assert row == pytest.approx(other, rel=1e-9)


def test_two_machines_with_batch_statistics_and_a_clock(settings: dict, processes: Processes) -> None:
    """Each machine is started by hand, as on a cluster without a scheduler."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    limited = {"nodes": 2, "epochs": 1000, "max_minutes": 0.02, "schedule": "budget"}
    started = [
        processes.start(
            "machines", by(settings, train=limited), NODE_RANK=rank, MASTER_ADDR="127.0.0.1", MASTER_PORT=port
        )
        for rank in "01"
    ]
    said = [process.communicate(timeout=550) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert [out.strip() for out, _ in said] == ["scored", "silent"]
    run = json.loads((processes.folder / "machines" / "run.json").read_text())
    assert run["ended"] == "time"


class Shares:
    """Lets this process be one of several in the eyes of the loaders."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def be(self, rank: int, world: int) -> None:
        self._monkeypatch.setattr(batches, "share", lambda: (rank, world))


@pytest.fixture
def shares(monkeypatch: pytest.MonkeyPatch) -> Shares:
    return Shares(monkeypatch)


def test_processes_share_each_batch_and_its_loss(config: RunConfig, dataset: Any, shares: Shares) -> None:
    network = build_network(config.model, dataset.tasks).eval()
    whole = list(PackedLoader(dataset.parts["train"], network, config))
    parts = []
    for rank in range(3):
        shares.be(rank, 3)
        parts.append(list(PackedLoader(dataset.parts["train"], network, config)))
    with torch.no_grad():
        for batch, *split in zip(whole, *parts, strict=True):
            assert sum(map(len, split)) == len(batch)
            assert {part.whole for part in split} == {len(batch)}
            loss = multi_task_loss(network(batch.packed), batch.labels, {})
            losses = [multi_task_loss(network(p.packed), p.labels, {}, p.labelled) for p in split]
            assert float(sum(losses)) / 3 == pytest.approx(float(loss), rel=1e-5)


def test_a_last_batch_that_is_too_short_for_all_begins_again(
    settings: dict, dataset: Any, shares: Shares
) -> None:
    config = RunConfig.from_dict(by(settings, train={"batch_size": 149}))
    network = build_network(config.model, dataset.tasks)
    for rank in range(3):
        shares.be(rank, 3)
        last = list(PackedLoader(dataset.parts["train"], network, config))[-1]
        assert (len(last), last.whole) == (1, 3)


@pytest.mark.parametrize(("rows", "world"), [(40, 3), (40, 1), (2, 3), (9000, 2)])
def test_processes_take_turns_in_validation(rows: int, world: int, dataset: Any, shares: Shares) -> None:
    part = dataset.parts["train"].take(np.arange(rows) % 150)
    turns = []
    for rank in range(world):
        shares.be(rank, world)
        chunks = Chunks(part)
        turns.append([piece.offsets[-1] for piece in chunks])
        assert len(turns[-1]) == len(chunks)
    assert len({len(turn) for turn in turns}) == 1
    assert sum(map(sum, turns)) == part.offsets[-1]


@pytest.mark.parametrize(
    ("variables", "rank"),
    [
        ({}, 0),
        ({"LOCAL_RANK": "1"}, 1),
        ({"NODE_RANK": "1"}, 2),
        ({"NODE_RANK": "1", "LOCAL_RANK": "1"}, 3),
        ({"GROUP_RANK": "1", "LOCAL_RANK": "0", "RANK": "2"}, 2),
        ({"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "3", "SLURM_LOCALID": "1"}, 3),
    ],
)
def test_rank_is_known_before_processes_are_connected(
    variables: dict[str, str], rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert expected_rank(TrainConfig(devices=2, nodes=2)) == rank
    assert expected_rank(TrainConfig()) == 0


def test_a_batch_must_go_round(settings: dict) -> None:
    with pytest.raises(ConfigError, match="at least 2 a device"):
        RunConfig.from_dict(by(settings, train={"devices": 4, "nodes": 5}))
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
