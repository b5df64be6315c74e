"""Recipes: what runs on both sides of a recording, as data.

A recipe is one TOML file: a client program, the server it talks to, and what a capture must hold for the
recording to count. ``uses`` names a file of ``servers/`` whose packages, files and processes come first,
so that several clients share one server. A tunnel is described the same way. Texts may hold placeholders
such as ``@work@`` (``PLACEHOLDERS``); any other ``@word@`` with a lower-case word is refused.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from mtc.config import build_settings
from mtc.errors import ConfigError

PLACEHOLDERS = {
    "work": "working folder of the recording, in memory",
    "client": "address of the client, as the programs see it",
    "server": "address of the server, as the programs see it",
    "host": "name of the server in its certificate and in /etc/hosts",
    "device": "interface that the programs of a side use",
    "bytes": "volume to transfer, drawn for the recording",
    "seconds": "length of the session, drawn for the recording",
    "messages": "number of messages, drawn for the recording",
    "pause": "mean pause of a person between two messages, seconds",
    "kbit": "media rate, kbit/s",
    "seed": "seed of the recording",
    "inner": "first three bytes of the addresses inside the tunnel",
    "outer_client": "address of the client on the line",
    "outer_server": "address of the server on the line",
    "tunnel_port": "port of the tunnel, drawn for the recording",
    "python": "Debian's Python interpreter",
}
FAMILIES = ("Chat", "Email", "File Transfer", "Streaming", "Torrent", "VoIP")
TYPES = (*FAMILIES, "Web", "Remote Access", "DNS", "IoT", "Software Update")
_PLACEHOLDER = re.compile(r"@([a-z][a-z_]*)@")
_READY = re.compile(r"(tcp|udp):\d+|tcp:@tunnel_port@|udp:@tunnel_port@|file:\S+|seconds:[\d.]+|device:\S+")


@dataclass(frozen=True)
class Process:
    """A program that runs for the whole recording.

    Attributes:
        command: Shell command, run in the working folder.
        ready: When it can be used: ``tcp:PORT`` or ``udp:PORT`` is bound, ``file:PATH`` exists,
            ``device:NAME`` is up, or ``seconds:N`` have passed.
        side: ``server`` or ``client``.
    """

    command: str
    ready: str = "seconds:0.2"
    side: str = "server"

    def __post_init__(self) -> None:
        if not _READY.fullmatch(self.ready):
            raise ConfigError(
                f"ready = {self.ready!r}: expected tcp:PORT, udp:PORT, file:PATH, device:NAME or seconds:N"
            )
        if self.side not in ("server", "client"):
            raise ConfigError(f"side = {self.side!r}: expected server or client")


@dataclass(frozen=True)
class Expectation:
    """What a capture must hold for its recording to count.

    Attributes:
        packets: Packets of the recipe's ports, at least.
        bytes: Payload bytes of them, at least.
        both_ways: Whether both sides must have sent payload.
    """

    packets: int = 10
    bytes: int = 500
    both_ways: bool = True


@dataclass(frozen=True)
class Recipe:
    """A pair of programs.

    Attributes:
        type: Traffic type, one of ``TYPES``; empty for an attack.
        attack: Class of attack, for the recipes of ``cicids2017``'s classes; empty otherwise.
        program: The programs in words.
        version: Shell command that prints the client's version.
        packages: Debian packages to install.
        needs: Executables, and Python modules as ``python3:MODULE``, that must be there.
        ports: Transport -> ports of the server whose flows are the recording.
        uses: File of ``servers/``.
        prepare: Shell command run before anything starts, in the working folder.
        files: Path below the working folder -> content.
        processes: Programs that run for the whole recording.
        client: Shell command whose traffic is recorded.
        ends: ``exit``: the client ends by itself, with status 0; ``limit``: it runs until the session's
            drawn length has passed and is then ended.
        limit_s: Seconds after which a client that should have ended has failed.
        expect: What the capture must hold.
        reserved: Kept for testing: no model is trained on it.
    """

    name: str
    program: str
    client: str
    type: str = ""
    attack: str = ""
    version: str = ""
    packages: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    ports: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    uses: str = ""
    prepare: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    processes: tuple[Process, ...] = ()
    ends: str = "exit"
    limit_s: float = 90.0
    expect: Expectation = Expectation()
    reserved: bool = False

    def __post_init__(self) -> None:
        if bool(self.type) == bool(self.attack):
            raise ConfigError(f"recipe {self.name}: either type or attack")
        if self.type and self.type not in TYPES:
            raise ConfigError(f"recipe {self.name}: type {self.type!r} is none of {', '.join(TYPES)}")
        if self.ends not in ("exit", "limit"):
            raise ConfigError(f"recipe {self.name}: ends = {self.ends!r}: expected exit or limit")
        if not self.ports or set(self.ports) - {"tcp", "udp", "icmp"}:
            raise ConfigError(f"recipe {self.name}: ports needs tcp, udp or icmp")
        _check_placeholders(self.name, self.texts())

    def texts(self) -> Iterable[str]:
        """Everything in which placeholders are replaced."""
        yield from (self.prepare, self.client, *self.files.values(), *self.files)
        yield from (process.command for process in self.processes)


@dataclass(frozen=True)
class Tunnel:
    """A tunnel between the two sides, through which any recipe can run.

    Attributes:
        transport: ``tcp`` or ``udp``: what its packets look like on the line.
        port: Its usual port; 0 draws one for every recording.
        carries: Transports that it carries.
        device: Interface that the programs use inside, empty for a proxy.
        prepare, files, processes: As of a recipe. The processes run on both sides.
    """

    name: str
    program: str
    transport: str
    version: str = ""
    packages: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    port: int = 0
    carries: tuple[str, ...] = ("tcp", "udp", "icmp")
    device: str = ""
    prepare: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    processes: tuple[Process, ...] = ()
    reserved: bool = False

    def __post_init__(self) -> None:
        if self.transport not in ("tcp", "udp"):
            raise ConfigError(f"tunnel {self.name}: transport {self.transport!r}: expected tcp or udp")
        commands = (process.command for process in self.processes)
        _check_placeholders(self.name, (self.prepare, *self.files.values(), *self.files, *commands))


Program = TypeVar("Program", Recipe, Tunnel)


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace the placeholders of a text."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)


def load_recipes(folders: Iterable[str | Path] = ()) -> dict[str, Recipe]:
    """The bundled recipes and those of further folders, by name.

    Raises:
        ConfigError: A file is no recipe; the message names file and key.
    """
    found: dict[str, Recipe] = {}
    for folder in (_bundled("recipes"), *map(Path, folders)):
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no folder of recipes")
        for file in sorted(folder.glob("*.toml")):
            content = _read(file)
            if "uses" in content:
                content = _with_server(file, content)
            found[file.stem] = _build(Recipe, file, content)
    return found


def load_tunnels() -> dict[str, Tunnel]:
    """The tunnels by name."""
    files = sorted(_bundled("tunnels").glob("*.toml"))
    return {file.stem: _build(Tunnel, file, _read(file)) for file in files}


def _bundled(folder: str) -> Path:
    return Path(str(resources.files("mtc.laboratory") / folder))


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{file}: {error}") from error


def _with_server(file: Path, content: dict[str, Any]) -> dict[str, Any]:
    """A recipe with the server that it uses: lists are joined, the recipe's own values win."""
    server_file = _bundled("servers") / f"{content['uses']}.toml"
    if not server_file.is_file():
        raise ConfigError(f"{file}: no server {content['uses']!r}")
    server = _read(server_file)
    joined = {**server, **content}
    for key in ("packages", "needs", "processes"):
        joined[key] = [*server.get(key, ()), *content.get(key, ())]
    joined["files"] = {**server.get("files", {}), **content.get("files", {})}
    joined["prepare"] = "\n".join(filter(None, (server.get("prepare"), content.get("prepare"))))
    return joined


def _build(kind: type[Program], file: Path, content: dict[str, Any]) -> Program:
    try:
        ports = content.get("ports")
        if isinstance(ports, dict):
            content = {**content, "ports": {transport: _ports(found) for transport, found in ports.items()}}
        built: Program = build_settings(kind, {**content, "name": file.stem})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{file}: ports: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error
    return built


def _ports(ports: list[int | str]) -> list[int]:
    """Ports, where ``"40000-40009"`` is a range."""
    found: list[int] = []
    for port in ports:
        first, _, last = str(port).partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _check_placeholders(name: str, texts: Iterable[str]) -> None:
    for text in texts:
        for match in _PLACEHOLDER.finditer(text):
            if match[1] not in PLACEHOLDERS:
                raise ConfigError(
                    f"{name}: unknown placeholder {match[0]}; known are {', '.join(PLACEHOLDERS)}"
                )
