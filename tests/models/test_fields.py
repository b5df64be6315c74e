import numpy as np
import pytest
import torch

from mtc.config import ModelConfig
from mtc.errors import ConfigError
from mtc.models import build_network, pack, predict_logits
from mtc.models.fields.inputs import FieldBatch, pack_fields
from mtc.models.fields.network import Fields, encode_numbers
from mtc.models.fields.numbers import BEYOND, BINS, NUMBERS, OCTAVES, packet_numbers

TASKS = {"application": ("a", "b", "c"), "traffic": ("x", "y")}
CONFIG = ModelConfig(
    name="fields", leading_bytes=50, members=3, dense_widths=(12, 8), dense_dropout=0.0, encoding_width=4
)


def packet(protocol: int = 17, payload: bytes = b"") -> bytes:
    """IPv4 of 20 bytes, then 20 of transport: ports 40000 and 443, the packet identifier 0x0102."""
    ip = bytes([0x45, 0, 0, 40 + len(payload), 1, 2, 0, 0, 64, protocol, 0, 0]) + bytes(8)
    return ip + (40000).to_bytes(2, "big") + (443).to_bytes(2, "big") + bytes(16) + payload


def ragged(*samples: bytes) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.concatenate([[0], np.cumsum([len(sample) for sample in samples])]).astype(np.int64)
    return np.frombuffer(b"".join(samples), np.uint8), offsets


def random_packets(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    payloads = [rng.integers(1, 256, rng.integers(0, 90), np.uint8).tobytes() for _ in range(n)]
    return ragged(*(packet((6, 17)[i % 2], payload) for i, payload in enumerate(payloads)))


def test_numbers_of_a_packet() -> None:
    values = packet_numbers(*ragged(packet(17, b"\x01\x02Az\xff"), packet(6)))
    udp, tcp = (dict(zip(NUMBERS, row, strict=True)) for row in values)
    assert (udp["ip_id"], udp["ip_ttl"], udp["udp_src_port"], udp["tcp_src_port"]) == (0x102, 64, 40000, -1)
    assert (tcp["tcp_dst_port"], tcp["udp_dst_port"]) == (443, -1)
    assert (udp["lower_port"], udp["higher_port"], udp["sample_length"]) == (443, 40000, 45)
    assert [udp[f"payload_word_{i}"] for i in range(4)] == [0x102, 0x417A, 0xFF00, -1]
    assert udp["payload_mean"] == pytest.approx((1 + 2 + 65 + 122 + 255) / 5)
    assert (udp["payload_text"], udp["payload_high"], udp["payload_zero"]) == (0.4, 0.2, 0)
    assert tcp["payload_mean"] == tcp["payload_text"] == 0


def test_places_and_scaled_numbers() -> None:
    batch = pack_fields(*ragged(packet(17, b"\x07")), leading=50)
    places = batch.places[0].numpy() - 257 * np.arange(50)
    assert places[0] == 0x45
    assert places[40] == 7
    assert (places[41:] == BEYOND).all()
    numbers = dict(
        zip(NUMBERS, zip(batch.numbers[0].tolist(), batch.present[0].tolist(), strict=True), strict=True)
    )
    assert numbers["udp_dst_port"] == (pytest.approx(443 / 65536), 1)
    assert numbers["tcp_dst_port"] == (0, 0)
    assert 0 <= batch.numbers.min() <= batch.numbers.max() < 1


def test_trailing_zeros_change_nothing() -> None:
    short, long = (
        pack_fields(*ragged(packet(17, b"\x07") + zeros), leading=50) for zeros in (b"", bytes(300))
    )
    assert torch.equal(short.places, long.places)
    assert torch.equal(short.numbers, long.numbers)


def test_encodings_are_those_of_their_definition() -> None:
    edges = torch.linspace(0, 1, BINS + 1).repeat(2, 1)
    edges[1] = 0.25  # a number with one value in the training part
    numbers, present = torch.tensor([[0.3, 0.3], [0.3, 0.2]]), torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    encoded = encode_numbers(FieldBatch(torch.empty(2, 0), numbers, present), edges)
    assert encoded.shape == (2, 2, BINS + 2 * OCTAVES)
    full = int(0.3 * BINS)
    assert encoded[0, 0, :full].eq(1).all()
    assert encoded[0, 0, full].item() == pytest.approx(0.3 * BINS - full, abs=1e-4)
    assert not encoded[0, 0, full + 1 : BINS].any()
    angles = 2 * np.pi * 0.3 * 2.0 ** np.arange(OCTAVES)
    np.testing.assert_allclose(encoded[0, 0, BINS : BINS + OCTAVES], np.sin(angles), atol=1e-3)
    np.testing.assert_allclose(encoded[0, 0, BINS + OCTAVES :], np.cos(angles), atol=1e-3)
    assert encoded[0, 1, :BINS].eq(1).all()
    assert not encoded[1, 1, :BINS].any()
    assert not encoded[1, 0].any()  # the packet has no such field


def test_prepare_takes_quantiles_of_the_packets_that_have_the_field() -> None:
    network = build_network(CONFIG, TASKS)
    assert isinstance(network, Fields)
    data, offsets = random_packets(64)
    network.prepare(data, offsets)
    edges = network.edges.view(len(NUMBERS), BINS + 1)[NUMBERS.index("sample_length")]
    lengths = np.diff(offsets) / 2048
    np.testing.assert_allclose(edges, np.quantile(lengths, np.linspace(0, 1, BINS + 1)), atol=1e-6)
    ports = network.edges.view(len(NUMBERS), -1)[NUMBERS.index("udp_dst_port")]
    assert ports.min() == ports.max() == np.float32(443 / 65536)  # not drawn to 0 by TCP's packets


def test_the_verdict_is_the_mean_of_the_members() -> None:
    torch.manual_seed(0)
    network = build_network(CONFIG, TASKS)
    data, offsets = random_packets(9)
    network.prepare(data, offsets)
    batch = pack(data, offsets, network)
    members = network.train()(batch)
    assert members["application"].shape == (9, 3, 3)
    network.eval()
    features = network.forward_features(batch)
    each = [
        torch.nn.functional.linear(x, weight, network.heads["traffic"].bias[:, i]).softmax(1)
        for i, (x, weight) in enumerate(
            zip(features, network.heads["traffic"].weight.chunk(3, 1), strict=True)
        )
    ]
    expected = torch.stack(each).mean(0)
    outputs = network(batch)
    torch.testing.assert_close(outputs["traffic"].exp(), expected)
    alone = predict_logits(network, data, offsets)
    np.testing.assert_allclose(alone["traffic"], outputs["traffic"].detach(), atol=1e-5)


def test_flow_features_are_numbers_alone() -> None:
    config = ModelConfig(name="fields", tokens=7, width=7, leading_bytes=0, dense_widths=(8,), members=2)
    network = build_network(config, {"attack": ("a", "b")})
    values = np.random.default_rng(0).random(20 * 49, np.float32)
    offsets = np.arange(21) * 49
    network.prepare(values, offsets)
    assert predict_logits(network.eval(), values, offsets)["attack"].shape == (20, 2)


def test_settings_are_checked() -> None:
    for wrong in ({"leading_bytes": 0, "name": "extra-trees"}, {"leading_bytes": 500}, {"members": 0}):
        with pytest.raises(ConfigError):
            ModelConfig(**{"name": "fields", **wrong})
