"""What may come out of a compressed file of someone who is not trusted."""

import gzip
import zipfile
from pathlib import Path

import dpkt
import pytest

from mtc.capture import ByteBudget, expand_inputs, open_capture

ROOM = 1 << 20


@pytest.fixture
def long_capture(tmp_path: Path) -> Path:
    """4 MB of zeros as packets, which compress to next to nothing."""
    path = tmp_path / "long.pcap"
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for second in range(1000):
            writer.writepkt(bytes(4096), ts=second)
    return path


def read_all(path: Path, budget: ByteBudget) -> tuple[int, str | None]:
    packets, damage = 0, None
    for source in expand_inputs([path], budget=budget):
        with open_capture(source) as reader:
            packets += sum(len(batch) for batch in reader)
            damage = damage if reader.damage is None else str(reader.damage)
    return packets, damage


def test_a_file_that_unpacks_to_too_much_is_read_up_to_the_budget(long_capture: Path, tmp_path: Path) -> None:
    packed = tmp_path / "long.pcap.gz"
    packed.write_bytes(gzip.compress(long_capture.read_bytes()))
    assert packed.stat().st_size < ROOM // 20
    budget = ByteBudget(ROOM)
    packets, damage = read_all(packed, budget)
    assert packets <= ROOM // 4112
    assert damage is not None
    assert "more bytes than are allowed" in damage
    assert budget.exceeded


def test_every_layer_and_every_member_counts(long_capture: Path, tmp_path: Path) -> None:
    packed = tmp_path / "many.zip"
    content = gzip.compress(gzip.compress(long_capture.read_bytes()[: 24 + 4112 * 100]))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(4):
            archive.writestr(f"{number}.pcap.gz", content)
    assert read_all(packed, roomy := ByteBudget(4 * ROOM)) == (400, None)
    assert roomy.left < 4 * (ROOM - 4112 * 100)
    budget = ByteBudget(ROOM)  # a member fits, four do not
    packets, _ = read_all(packed, budget)
    assert 100 <= packets < 400
    assert budget.exceeded


def test_a_budget_that_suffices_changes_nothing(long_capture: Path, tmp_path: Path) -> None:
    packed = tmp_path / "long.pcap.gz"
    packed.write_bytes(gzip.compress(long_capture.read_bytes()))
    budget = ByteBudget(16 * ROOM)
    assert read_all(packed, budget) == (1000, None)
    assert not budget.exceeded
