"""What this machine has of what the laboratory needs."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

TOOLS = {
    "ip": "iproute2",
    "iptables": "iptables",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "tcpdump": "tcpdump",
    "openssl": "openssl",
    "ssh-keygen": "openssh-client",
    "sysctl": "procps",
}
"""Program of the driver itself -> Debian package."""
_PLACES = ("/usr/sbin", "/sbin", "/usr/bin", "/usr/libexec", "/usr/lib/ipsec")
_modules: dict[str, bool] = {}


def missing_features() -> dict[str, str]:
    """What of the machine itself is missing -> what to do about it; nothing where recording can begin."""
    missing = {}
    for tool, package in TOOLS.items():
        if not _is_program(tool):
            missing[tool] = f"apt-get install {package}"
    if "unshare" not in missing and not _may_make_namespaces():
        missing["namespaces"] = "run as root, or with CAP_SYS_ADMIN and CAP_NET_ADMIN"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        missing["/dev/net/tun"] = "the kernel needs TUN devices (modprobe tun, or --device /dev/net/tun)"
    return missing


def has_netem() -> bool:
    """Whether the kernel can delay packets of a veth pair."""
    command = ["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
    return _is_program("tc") and subprocess.run(command, capture_output=True, check=False).returncode == 0


def missing_programs(needs: Iterable[str]) -> list[str]:
    """The executables and Python modules (``python3:MODULE``) that are not there."""
    return [need for need in needs if not _is_there(need)]


def _is_there(need: str) -> bool:
    interpreter, colon, module = need.partition(":")
    if not colon:
        return _is_program(need)
    if module not in _modules:
        done = subprocess.run(
            [f"/usr/bin/{interpreter}", "-c", f"import {module}"], capture_output=True, check=False
        )
        _modules[module] = done.returncode == 0
    return _modules[module]


def _is_program(name: str) -> bool:
    if "/" in name:
        return Path(name).exists()
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), *_PLACES))) is not None


def _may_make_namespaces() -> bool:
    done = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False
    )
    return done.returncode == 0
