import tomllib
from pathlib import Path

import pytest

from mtc.config import DataConfig, LossConfig, ModelConfig, RunConfig, TrainConfig, load_recipe, recipe_names
from mtc.errors import ConfigError, InputError
from mtc.files import read_json


def test_the_shipped_recipe_is_the_papers_and_equals_the_defaults() -> None:
    # Sec. 3.3: n, d, H, m, dropouts; Sec. 4.1.3: Adam, decay, batch, epochs, patiences.
    config = load_recipe("iscx-mtc")
    assert (config.model.tokens, config.model.width, config.model.heads) == (30, 50, 6)
    assert config.model.repetitions == (1, 5, 6)
    assert (config.model.ffn_dropout, config.model.cnn_dropout) == (0.1, 0.07)
    assert config.loss.weights == {"application": 6.0, "traffic": 2.0, "auxiliary": 1.0}
    train = config.train
    assert (train.learning_rate, train.weight_decay, train.batch_size, train.epochs) == (1e-3, 1e-4, 128, 100)
    assert (train.plateau_factor, train.plateau_patience, train.stopping_patience) == (0.1, 10, 20)
    assert config.data.split == "flow"


def test_every_shipped_recipe_can_be_read() -> None:
    assert "iscx-mtc" in recipe_names()
    for name in recipe_names():
        assert isinstance(load_recipe(name), RunConfig)


def test_comes_back_from_json_as_it_was() -> None:
    config = load_recipe("iscx-mtc", ["seed=7", "model.repetitions=[1, 2, 3]", "loss.weights.traffic=4"])
    assert RunConfig.from_dict(config.to_dict()) == config


def test_settings_are_changed_by_dotted_keys() -> None:
    config = load_recipe(
        "iscx-mtc",
        [
            "train.max_minutes=45",
            "data.split=packet",
            "seed=3",
            "train.learning_rate=1e-2",
            "model.fusion=false",
        ],
    )
    assert config.train.max_minutes == 45.0
    assert isinstance(config.train.max_minutes, float)
    assert config.data.split == "packet"
    assert config.seed == 3
    assert config.train.learning_rate == 0.01
    assert config.model.fusion is False
    assert config.model.length == 1500


def test_a_recipe_may_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("seed = 9\n[train]\nepochs = 3\n")
    assert load_recipe(path).train.epochs == 3
    assert load_recipe(str(path), ["train.epochs=4"]).train.epochs == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", "unknown setting train.epoch"),
        ("sede=3", "unknown setting sede"),
        ("train.epochs=many", "train.epochs must be int"),
        ("train.epochs=true", "train.epochs must be int"),
        ("train.epochs=0", "at least 1"),
        ("train.batch_size=1", "at least 2"),
        ("train.max_minutes=-1", "must not be negative"),
        ("train.averaging=1", r"averaging must lie in \[0, 1\)"),
        ("train.averaging=-0.1", r"averaging must lie in \[0, 1\)"),
        ("train.precision=fp8", "one of auto, fp32, bf16"),
        ("train.plateau_factor=1", "plateau_factor"),
        ("model.repetitions=[1, 2]", "three numbers"),
        ("model.repetitions=5", "must be a list"),
        ("model.heads=51", "must not exceed"),
        ("model.cnn_dropout=1.0", r"lie in \[0, 1\)"),
        ("model.name=lstm", "one of mtc"),
        ("data.mask=none", "one of paper, strict"),
        ("loss.weights.traffic=-1", "must not be negative"),
        ("loss.weights=3", "must be a section"),
        ("train=3", "must be a section"),
        ("seed.x=3", "not a section"),
        ("train.epochs", "takes key=value"),
        ("=3", "takes key=value"),
    ],
)
def test_what_is_wrong_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe("iscx-mtc", [override])


@pytest.mark.parametrize("content", [b"seed = ", b"\xff\xfe", b"seed = 1\nseed = 2\n"])
def test_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not a readable TOML"):
        load_recipe(path)


def test_deep_nesting_is_refused_in_a_line(tmp_path: Path) -> None:
    (path := tmp_path / "deep.toml").write_text("a = " + "[" * 20_000 + "]" * 20_000)
    with pytest.raises(ConfigError, match="not a readable TOML recipe"):
        load_recipe(path)
    (deep := tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(InputError, match="not a readable JSON file"):
        read_json(deep)


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="iscx-mtc"):
        load_recipe("iscx-mct")


def test_settings_cannot_be_changed_afterwards() -> None:
    for section in (RunConfig(), DataConfig(), ModelConfig(), LossConfig(), TrainConfig()):
        with pytest.raises((AttributeError, TypeError)):
            section.anything = 1  # type: ignore[union-attr]


def test_recipes_are_plain_toml() -> None:
    path = Path(__file__).parents[1] / "src" / "mtc" / "recipes" / "iscx-mtc.toml"
    assert RunConfig.from_dict(tomllib.loads(path.read_text())) == load_recipe("iscx-mtc")
