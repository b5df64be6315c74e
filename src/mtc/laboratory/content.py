"""What the programs of a recording send: keys, files, messages and mails, drawn from its seed."""

import random
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

HOST = "server.example.org"
"""Name of the server in its certificate (RFC 2606)."""

_NOUNS = """
time year people way day man thing woman life child world school state family student
group country problem hand part place case week company system program question work
government number night point home water room mother area money story fact month lot right
study book eye job word business issue side kind head house service friend father power
hour game line end member law car city name team
"""
_WORDS = _NOUNS.split()
_MEAN_WORDS = 9
_SPOKEN_PAUSES = 400


def write_content(work: Path, server: str, session: Mapping[str, float], seed: int) -> None:
    """Write what every recipe may use into the working folder.

    ``files/data.bin`` and ``files/up.bin`` (the drawn volume), ``files/PAGE.html`` and its parts,
    ``messages.txt`` (one message per line), ``mails/N.eml``, ``tls.crt`` and ``tls.key``, ``key`` and
    ``host`` (SSH), ``bin/pause`` (sleeps like a person between two messages) and ``bin/say`` (prints the
    messages with these pauses).
    """
    generator = random.Random(seed)
    for folder in ("home", "files", "mails", "bin"):
        (work / folder).mkdir(parents=True)
    for name in ("data.bin", "up.bin"):
        (work / "files" / name).write_bytes(generator.randbytes(int(session["bytes"])))
    messages = [_sentence(generator) for _ in range(int(session["messages"]))]
    (work / "messages.txt").write_text("".join(f"{message}\n" for message in messages), encoding="utf-8")
    _write_mails(work, generator, messages, int(session["bytes"]))
    _write_pages(work, generator, int(session["bytes"]))
    _write_pauses(work, generator, session["pause"])
    _write_keys(work, server)


def _sentence(generator: random.Random) -> str:
    count = 1 + min(60, int(generator.expovariate(1 / _MEAN_WORDS)))
    return " ".join(generator.choice(_WORDS) for _ in range(count)).capitalize() + "."


def _write_mails(work: Path, generator: random.Random, messages: list[str], volume: int) -> None:
    """Mails of one message each; every third one carries an attachment, all together a part of the volume."""
    for number, message in enumerate(messages, 1):
        head = f"From: alice@example.org\nTo: bob@example.org\nSubject: {message[:40]}\n"
        head += f"Message-ID: <{generator.getrandbits(64):x}@example.org>\n"
        lines = [message] * generator.randrange(1, 8)
        if number % 3 == 0:
            lines += [
                generator.randbytes(36).hex() for _ in range(min(4000, volume // 72 // len(messages) + 1))
            ]
        (work / "mails" / f"{number}.eml").write_text(head + "\n" + "\n".join(lines) + "\n", encoding="utf-8")


def _write_pages(work: Path, generator: random.Random, volume: int) -> None:
    """Three linked pages of text with pictures, scripts and style sheets of log-normal sizes."""
    for page in range(3):
        parts = []
        for part in range(generator.randrange(3, 18)):
            ending = generator.choice(("png", "css", "js", "jpg"))
            name = f"part{page}-{part}.{ending}"
            size = min(int(generator.lognormvariate(9, 1.2)), max(volume // 3, 2000))
            (work / "files" / name).write_bytes(generator.randbytes(size))
            parts.append(_element(name, ending))
        text = "".join(f"<p>{_sentence(generator)}</p>\n" for _ in range(generator.randrange(5, 80)))
        link = f'<a href="page{(page + 1) % 3}.html">next</a>'
        body = f"<body>{text}{''.join(parts)}{link}</body>"
        html = f"<!doctype html><html><head><title>Page {page}</title></head>{body}</html>"
        (work / "files" / f"page{page}.html").write_text(html, encoding="utf-8")


def _element(name: str, ending: str) -> str:
    if ending == "css":
        return f'<link rel="stylesheet" href="{name}">'
    return f'<script src="{name}"></script>' if ending == "js" else f'<img src="{name}" alt="">'


def _write_pauses(work: Path, generator: random.Random, mean: float) -> None:
    """Pauses between messages: log-normal, as people's are, with the drawn mean."""
    pauses = [min(20.0, generator.lognormvariate(0, 0.8) * mean / 1.377) for _ in range(_SPOKEN_PAUSES)]
    (work / "pauses.txt").write_text("".join(f"{pause:.3f}\n" for pause in pauses), encoding="ascii")
    _script(work / "bin/pause", f"exec sleep $(shuf -n 1 {work}/pauses.txt)")
    _script(
        work / "bin/say", f'while read -r line; do printf "%s\\n" "$line"; pause; done < {work}/messages.txt'
    )


def _script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def _write_keys(work: Path, server: str) -> None:
    for name in ("key", "host"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{work}/{name}")
    _run(
        *(
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
        ),
        *("-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST},IP:{server}"),
        *("-keyout", f"{work}/tls.key", "-out", f"{work}/tls.crt"),
    )
    (work / "tls.key").chmod(0o644)  # servers read it after they gave up root
    both = (work / "tls.key").read_bytes() + (work / "tls.crt").read_bytes()
    (work / "tls.pem").write_bytes(both)


def _run(*command: str) -> None:
    subprocess.run(
        command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
