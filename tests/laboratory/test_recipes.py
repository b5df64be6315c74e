"""Recipes, tunnels and plans are data that is checked when it is read."""

from pathlib import Path

import pytest

from mtc.errors import ConfigError, UsageError
from mtc.laboratory import load_plan, load_recipes, load_tunnels, plan_names
from mtc.laboratory.recipes import FAMILIES, fill

RESERVED = {
    "irssi-inspircd", "websocket-chat", "python-smtp", "python-imap", "fetchmail-imaps", "swaks-exim",
    "rclone-webdav", "aria2-https", "aria2-torrent", "openssh-sftp", "gstreamer-progressive",
    "mpv-progressive", "rtorrent", "aiortc-audio", "baresip-srtp", "wget-pages",
}  # fmt: skip
TINY = """
type = "Chat"
program = "tiny"
ports = { tcp = [1] }
client = "true @server@"
"""


def write(folder: Path, text: str) -> Path:
    (folder / "own.toml").write_text(text)
    return folder


def test_the_bundled_recipes_cover_every_family_with_several_programs() -> None:
    recipes = load_recipes().values()
    assert len(recipes) >= 60
    for family in FAMILIES:
        trained = {recipe.program for recipe in recipes if recipe.type == family and not recipe.reserved}
        assert len(trained) >= 4, family


def test_what_is_kept_for_testing_is_marked() -> None:
    assert {name for name, recipe in load_recipes().items() if recipe.reserved} == RESERVED
    reserved = {name for name, tunnel in load_tunnels().items() if tunnel.reserved}
    assert reserved == {"openvpn-tcp", "ssh-tunnel", "shadowsocks", "vmess"}


def test_every_bundled_plan_has_jobs_with_fresh_addresses() -> None:
    recipes, tunnels = load_recipes(), load_tunnels()
    for name in plan_names():
        jobs = list(load_plan(name).jobs(recipes, tunnels))
        assert jobs
        assert len({job.name for job in jobs}) == len(jobs)
        assert len({(job.network, job.inner, job.tunnel_port) for job in jobs}) == len(jobs)


def test_a_plan_draws_the_same_again() -> None:
    recipes, tunnels = load_recipes(), load_tunnels()
    first, second = (list(load_plan("plans/small.toml").jobs(recipes, tunnels)) for _ in range(2))
    assert first == second
    assert {job.tunnel for job in first} == {"plain", "wireguard", "openvpn-udp"}


def test_session_length_and_volume_say_nothing_about_the_type() -> None:
    recipes = load_recipes()
    lengths: dict[str, list[float]] = {}
    for job in load_plan("full").jobs(recipes, load_tunnels()):
        lengths.setdefault(recipes[job.recipe].type, []).append(job.session["seconds"])
    medians = [sorted(values)[len(values) // 2] for name, values in lengths.items() if name in FAMILIES]
    assert max(medians) < 1.6 * min(medians)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('type = "Chatter"', "Chatter"),
        ('ends = "never"', "ends"),
        ("colour = 1", "unknown setting colour"),
        ('client = "@servre@"', "unknown placeholder @servre@"),
        ('uses = "nothing"', "no server 'nothing'"),
        ('processes = [{ command = "x", ready = "soon" }]', "ready"),
        ('attack = "PortScan"', "either type or attack"),
        ("ports = { sctp = [1] }", "tcp, udp or icmp"),
        ("= 3", "own.toml"),
        ("program = 3", "program must be str"),
        ('limit_s = "soon"', "limit_s must be float"),
        ("ports = { tcp = 443 }", "ports"),
    ],
)
def test_a_wrong_recipe_is_refused(tmp_path: Path, change: str, message: str) -> None:
    key = change.partition(" ")[0]
    kept = [line for line in TINY.splitlines() if not line.startswith(f"{key} ")]
    with pytest.raises(ConfigError, match=message):
        load_recipes([write(tmp_path, "\n".join([change, *kept]))])


def test_a_recipe_of_the_user_is_found(tmp_path: Path) -> None:
    recipe = load_recipes([write(tmp_path, TINY)])["own"]
    assert recipe.ports == {"tcp": (1,)}
    assert fill(recipe.client, {"server": "192.0.2.1"}) == "true 192.0.2.1"


def test_a_recipe_without_a_client_is_refused(tmp_path: Path) -> None:
    text = "\n".join(line for line in TINY.splitlines() if not line.startswith("client"))
    with pytest.raises(ConfigError, match="setting client is missing"):
        load_recipes([write(tmp_path, text)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('seed = "a"', "seed must be int"),
        ('recipes = "x"', "recipes must be a list"),
        ('repetitions = "two"', "repetitions must be int"),
        ("lines = 3", "lines must be a list"),
        ('lines = [{ delay_ms = "x" }]', "delay_ms must be float"),
        ("session = { seconds = 3 }", "seconds must be a list"),
        ("sead = 1", "unknown setting sead"),
        ("session = { seconds = [3, 1] }", "larger"),
        ("lines = [{ mut = 1 }]", "mut"),
    ],
)
def test_a_wrong_plan_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_plan(tmp_path / "plan.toml")


def test_a_plan_of_unknown_recipes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text('recipes = ["no-such"]')
    with pytest.raises(UsageError, match="no recipe no-such"):
        list(load_plan(tmp_path / "plan.toml").jobs(load_recipes(), {}))
    with pytest.raises(UsageError, match="no plan nowhere"):
        load_plan("nowhere")
