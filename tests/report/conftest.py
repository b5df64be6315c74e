"""What the tests of reports share; lets them import `report_inputs`, which lies beside them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from report_inputs import audit_result, open_set_result, paired_result, result, sweep_result, write_results


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results: two models by flow, one of them with two seeds, one by packet; sweep; audit."""
    one = ['data.tasks=["application"]']
    named = {
        "flow-mtc-1": result("iscx-mtc", "flow", 1, settings=one),
        "flow-mtc-2": result("iscx-mtc", "flow", 2, settings=one),
        "flow-cnn-1": result("iscx-cnn", "flow", 1, settings=one),
        "packet-mtc-1": result("iscx-mtc", "packet", 1, settings=one),
        "dropout": sweep_result("model.cnn_dropout", [0.05, 0.07, 0.2]),
        "batches": sweep_result("train.batch_size", [64, 128]),
        "audited": audit_result("application"),
        "unknown": open_set_result(),
        "trees-or-mtc": paired_result(),
    }
    return write_results(tmp_path_factory.mktemp("results") / "results", named)
