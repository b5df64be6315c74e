"""Plans: which recipes are recorded, how often, through which tunnels and over which lines.

A plan is a TOML file. From its seed follow all draws of every recording: session length, volume, pauses,
network settings, addresses and ports. Session length and volume are drawn from the same distributions for
every type, so that they say nothing about it.
"""

import hashlib
import math
import random
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

from mtc.config import build_settings
from mtc.errors import ConfigError, UsageError
from mtc.laboratory.recipes import Recipe, Tunnel

PLAIN = "plain"
"""The name of no tunnel."""


@dataclass(frozen=True)
class Line:
    """The line between client and server.

    Attributes:
        delay_ms: One-way delay.
        jitter_ms: Standard deviation of the delay; packets of a direction keep their order.
        loss_percent: Packets lost, independently, in each direction.
        rate_mbit_s: Rate of each direction; 0 is no limit.
        mtu: Bytes of an IP packet, at most.
        offload: Whether the kernel may hand over segments larger than the MTU (TSO, GRO). Such a line is
            a veth pair, delayed by netem where the kernel has it.
        congestion: TCP congestion control; empty keeps the kernel's.
    """

    delay_ms: float = 10.0
    jitter_ms: float = 0.0
    loss_percent: float = 0.0
    rate_mbit_s: float = 100.0
    mtu: int = 1500
    offload: bool = False
    congestion: str = ""


@dataclass(frozen=True)
class Session:
    """Ranges from which the session of a recording is drawn, log-uniformly.

    Attributes:
        seconds: Length of a session.
        bytes: Volume of a transfer.
        messages: Messages of a conversation.
        pause: Mean pause between two messages, seconds.
        kbit: Media rate, kbit/s.
    """

    seconds: tuple[float, float] = (4.0, 30.0)
    bytes: tuple[float, float] = (20_000, 3_000_000)
    messages: tuple[float, float] = (3, 20)
    pause: tuple[float, float] = (0.3, 2.0)
    kbit: tuple[float, float] = (100, 1500)

    def __post_init__(self) -> None:
        for item in fields(self):
            ends = getattr(self, item.name)
            if len(ends) != 2 or not 0 < ends[0] <= ends[1]:
                raise ConfigError(
                    f"session.{item.name} must be a positive number and a larger one, not {list(ends)}"
                )

    def draw(self, generator: random.Random) -> dict[str, float]:
        """One value of each range."""
        found = {}
        for item in fields(self):
            low, high = getattr(self, item.name)
            value = math.exp(generator.uniform(math.log(low), math.log(high)))
            found[item.name] = round(value, 2) if item.name in ("seconds", "pause") else int(value)
        return found


@dataclass(frozen=True)
class Plan:
    """What is to be recorded."""

    name: str
    seed: int = 1
    recipes: tuple[str, ...] = ("*",)
    without: tuple[str, ...] = ()
    tunnels: tuple[str, ...] = (PLAIN,)
    lines: tuple[Line, ...] = (Line(),)
    repetitions: int = 1
    session: Session = Session()

    def __post_init__(self) -> None:
        if self.repetitions < 1 or not self.lines or not self.tunnels:
            raise ConfigError("a plan needs a line, a tunnel (or plain) and a repetition")

    def jobs(self, recipes: Mapping[str, Recipe], tunnels: Mapping[str, Tunnel]) -> Iterator["Job"]:
        """Every recording of the plan, in an order that mixes types and tunnels.

        Raises:
            UsageError: The plan names a recipe or tunnel that does not exist.
        """
        chosen = [name for name in sorted(recipes) if self._wants(name, recipes[name])]
        for name in (*self.recipes, *self.without):
            if "*" not in name and name not in recipes:
                raise UsageError(f"plan {self.name}: no recipe {name}")
        for name in self.tunnels:
            if name != PLAIN and name not in tunnels:
                raise UsageError(
                    f"plan {self.name}: no tunnel {name}; known are {', '.join((PLAIN, *tunnels))}"
                )
        jobs = [
            self._job(recipe, tunnel, number, repetition)
            for repetition in range(self.repetitions)
            for number in range(len(self.lines))
            for tunnel in self.tunnels
            for recipe in chosen
        ]
        order = random.Random(self.seed)
        for start in range(0, len(jobs), len(chosen) or 1):
            part = jobs[start : start + len(chosen)]
            order.shuffle(part)
            yield from part

    def _wants(self, name: str, recipe: Recipe) -> bool:
        wanted = any(_matches(pattern, name, recipe) for pattern in self.recipes)
        return wanted and not any(_matches(pattern, name, recipe) for pattern in self.without)

    def _job(self, recipe: str, tunnel: str, line: int, repetition: int) -> "Job":
        name = f"{tunnel}_{recipe}_{line}{repetition}"
        seed = int.from_bytes(hashlib.sha256(f"{self.seed}/{name}".encode()).digest()[:6])
        generator = random.Random(seed)
        return Job(
            name=name,
            recipe=recipe,
            tunnel=tunnel,
            line=self.lines[line],
            seed=seed,
            session=self.session.draw(generator),
            start_delay_s=round(generator.choice((0.0, generator.uniform(0.5, 2.0))), 2),
            network=f"198.{generator.choice((18, 19))}.{generator.randrange(256)}",
            inner=f"10.{generator.randrange(1, 255)}.{generator.randrange(256)}",
            tunnel_port=generator.randrange(20_000, 60_000),
        )


@dataclass(frozen=True)
class Job:
    """One recording.

    Attributes:
        session: The drawn session (``Session``).
        start_delay_s: Seconds between the connection of the tunnel and the activity.
        network, inner: First three bytes of the addresses on the line and inside the tunnel.
    """

    name: str
    recipe: str
    tunnel: str
    line: Line
    seed: int
    session: Mapping[str, float] = field(default_factory=dict)
    start_delay_s: float = 0.0
    network: str = "198.18.0"
    inner: str = "10.1.0"
    tunnel_port: int = 0

    def to_json(self) -> dict[str, Any]:
        """The job as JSON objects."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Job":
        """A job from ``to_json``."""
        return cls(**{**content, "line": Line(**content["line"])})


def load_plan(plan: str | Path) -> Plan:
    """A plan by path, or a bundled one by name (``small`` or ``plans/small.toml``).

    Raises:
        UsageError: There is no such plan.
        ConfigError: A key is unknown or has a wrong value.
    """
    file = Path(plan)
    if not file.is_file():
        file = _bundled() / f"{Path(plan).stem}.toml"
        if not file.is_file():
            raise UsageError(f"no plan {plan}; bundled are {', '.join(plan_names())}")
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        found: Plan = build_settings(Plan, {**content, "name": file.stem})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError, ConfigError) as error:
        raise ConfigError(f"{file}: {error}") from error
    return found


def plan_names() -> list[str]:
    """The bundled plans."""
    return sorted(file.stem for file in _bundled().glob("*.toml"))


def _bundled() -> Path:
    return Path(str(resources.files("mtc.laboratory") / "plans"))


def _matches(pattern: str, name: str, recipe: Recipe) -> bool:
    """Whether a pattern of a plan (``*``, a name, ``type:Chat`` or ``attack:*``) means a recipe."""
    kind, colon, wanted = pattern.partition(":")
    if not colon:
        return pattern == name or (pattern == "*" and not recipe.attack)
    value = recipe.type if kind == "type" else recipe.attack
    return bool(value) and wanted in ("*", value)
