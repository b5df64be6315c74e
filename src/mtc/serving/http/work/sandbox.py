"""What the kernel keeps from the process of a job: network, other processes, files that are not its own.

Four walls, each by itself where the kernel has it: namespaces of user, network and IPC; a seccomp filter;
Landlock for files; and an empty environment. Nothing here needs privileges. Raised before the process starts
a thread, and before it reads a byte of an upload.
"""

import ctypes
import errno
import os
import platform
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from sysconfig import get_paths

_LIBC = ctypes.CDLL(None, use_errno=True)

_NEW_USER, _NEW_NET, _NEW_IPC = 0x10000000, 0x40000000, 0x08000000  # linux/sched.h
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _SET_DUMPABLE = 38, 22, 4  # linux/prctl.h
_FILTER = 2  # linux/seccomp.h
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446  # the same on every processor

# Rights of linux/landlock.h, by their bit; and how many of them each version of the interface has.
_EXECUTE, _WRITE, _READ, _LIST, _REMOVE_DIR, _REMOVE, _MAKE_DIR, _MAKE_FILE, _TRUNCATE = (
    1 << bit for bit in (0, 1, 2, 3, 4, 5, 7, 8, 14)
)
_RIGHTS_OF_VERSION = (0, 13, 14, 15, 15, 16)
_LOOK = _EXECUTE | _READ | _LIST
_CHANGE = _LOOK | _WRITE | _REMOVE_DIR | _REMOVE | _MAKE_DIR | _MAKE_FILE | _TRUNCATE
_OF_A_FILE = _EXECUTE | _WRITE | _READ | _TRUNCATE

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""AUDIT_ARCH number of linux/audit.h, and the column of ``_CALLS``."""
_CALLS = {
    **{"socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200)},
    **{"listen": (50, 201), "accept": (43, 202), "accept4": (288, 242), "sendto": (44, 206)},
    **{"sendmsg": (46, 211), "recvfrom": (45, 207), "recvmsg": (47, 212), "fork": (57, -1)},
    **{"vfork": (58, -1), "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117)},
    **{"process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438)},
    **{"kill": (62, 129), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "pidfd_open": (434, 434)},
    **{"pidfd_send_signal": (424, 424), "shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186)},
    **{"semget": (64, 190), "mq_open": (240, 180), "memfd_create": (319, 279), "unshare": (272, 97)},
    **{"setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41)},
    **{"chroot": (161, 51), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282)},
    **{"io_uring_setup": (425, 425), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219)},
    **{"open_by_handle_at": (304, 265), "init_module": (175, 105), "finit_module": (313, 273)},
    **{"kexec_load": (246, 104)},
}
"""System calls that no job needs: numbers on x86-64 and on arm64, -1 where there is none."""
_CLONE, _CLONE3, _MMAP, _PRLIMIT, _TGKILL = (56, 220), (435, 435), (9, 222), (302, 261), (234, 131)
_THREAD = 0x00010000  # CLONE_THREAD
_SHARED_ANONYMOUS = 0x01 | 0x20  # MAP_SHARED, MAP_ANONYMOUS: memory that no limit of a process counts

_LOAD, _EQUAL, _AND, _RETURN = 0x20, 0x15, 0x54, 0x06  # linux/bpf_common.h
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data


def confine(folder: Path, readable: Iterable[Path]) -> None:
    """Raise the walls around this process, which has one thread.

    Args:
        folder: The only folder that it may write to.
        readable: What it may read beside the installation and the system's libraries.
    """
    os.environ.clear()
    hide_from_others()
    for wall in (_own_namespaces, lambda: _only_files(folder, readable), _only_harmless_calls):
        with suppress(OSError):  # the server has said at its start what the kernel lacks
            wall()


def hide_from_others() -> None:
    """Let no process of the same user read this one's memory and environment."""
    _LIBC.prctl(_SET_DUMPABLE, 0, 0, 0, 0)


def missing_walls() -> list[str]:
    """What this kernel does not offer to jobs, as phrases; tried in a process of its own."""
    code = "from mtc.serving.http.work import sandbox; sandbox.try_walls()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


def try_walls() -> None:
    """Print the walls that cannot be raised, one a line."""
    walls: dict[str, Callable[[], None]] = {
        "namespaces for user and network": _own_namespaces,
        "Landlock (files)": lambda: _only_files(Path("/nonexistent"), ()),
        "seccomp (system calls)": _only_harmless_calls,
    }
    failed = []
    for name, wall in walls.items():
        try:
            wall()
        except OSError:
            failed.append(name)
    sys.stdout.writelines(f"{name}\n" for name in failed)


def _own_namespaces() -> None:
    _check(_LIBC.unshare(_NEW_USER | _NEW_NET | _NEW_IPC))


def _only_files(folder: Path, readable: Iterable[Path]) -> None:
    """Landlock: the installation and libraries to read, one folder to write."""
    version = _check(_LIBC.syscall(_LANDLOCK_CREATE, None, 0, 1))
    handled = (1 << _RIGHTS_OF_VERSION[min(version, len(_RIGHTS_OF_VERSION) - 1)]) - 1
    attributes = ctypes.create_string_buffer(struct.pack("=Q", handled))
    ruleset = _check(_LIBC.syscall(_LANDLOCK_CREATE, attributes, 8, 0))
    try:
        for path in {*map(Path, _SYSTEM), *_installation(), *readable}:
            _add_rule(ruleset, path, _LOOK & handled)
        _add_rule(ruleset, Path("/dev/null"), (_READ | _WRITE) & handled)
        _add_rule(ruleset, folder, _CHANGE & handled)
        _check(_LIBC.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
        _check(_LIBC.syscall(_LANDLOCK_RESTRICT, ruleset, 0))
    finally:
        os.close(ruleset)


_SYSTEM = (
    *("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/localtime", "/opt"),
    *("/dev/urandom", "/dev/random", "/dev/zero", "/proc/self", "/proc/cpuinfo", "/proc/meminfo"),
    "/sys/devices/system",
)


def _installation() -> set[Path]:
    """Where Python and packages lie, and where numba keeps compiled code."""
    import mtc

    places = {Path(path) for path in (*get_paths().values(), *sys.path, sys.prefix, sys.base_prefix) if path}
    return {*places, Path(mtc.__file__).parent, *_numba_cache()}


def _numba_cache() -> set[Path]:
    from numba.core import config

    folder: str = config.CACHE_DIR  # type: ignore[attr-defined]
    return {Path(folder)} if folder else set()


def _add_rule(ruleset: int, path: Path, rights: int) -> None:
    """Allow ``rights`` below a path; nothing where there is none."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= _OF_A_FILE
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, place))
        _check(_LIBC.syscall(_LANDLOCK_ADD, ruleset, 1, rule, 0))
    finally:
        os.close(place)


def _only_harmless_calls() -> None:
    """A seccomp filter: no sockets, no other programs and processes, no memory that is not counted."""
    if platform.machine() not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, "no filter for this processor")
    arch, column = _ARCHITECTURES[platform.machine()]
    filters = b"".join(_program(arch, column))
    program = ctypes.create_string_buffer(filters)
    header = struct.pack("@HP", len(filters) // 8, ctypes.addressof(program))
    _check(_LIBC.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _check(_LIBC.prctl(_SET_SECCOMP, _FILTER, ctypes.create_string_buffer(header), 0, 0))


def _program(arch: int, column: int) -> Iterable[bytes]:
    """Instructions of classic BPF over ``struct seccomp_data``."""
    yield _step(_LOAD, _ARCH)
    yield _step(_EQUAL, arch, 1, 0)
    yield _step(_RETURN, _FAIL | errno.EPERM)  # the calls of another architecture have other numbers
    yield _step(_LOAD, _NUMBER)
    for number in sorted(numbers[column] for numbers in _CALLS.values()):
        if number >= 0:
            yield _step(_EQUAL, number, 0, 1)
            yield _step(_RETURN, _FAIL | errno.EPERM)
    yield _step(_EQUAL, _CLONE3[column], 0, 1)  # its flags lie in memory; the C library then uses clone
    yield _step(_RETURN, _FAIL | errno.ENOSYS)
    # Each of these looks at one argument, and reads the number of the call again.
    yield from _unless(_CLONE[column], 0, _THREAD, _THREAD, errno.EPERM)
    yield from _unless(_PRLIMIT[column], 0, 0xFFFFFFFF, 0, errno.EPERM)
    yield from _unless(_TGKILL[column], 0, 0xFFFFFFFF, os.getpid(), errno.EPERM)
    yield _step(_EQUAL, _MMAP[column], 0, 4)
    yield _step(_LOAD, _ARGUMENTS + 8 * 3)
    yield _step(_AND, _SHARED_ANONYMOUS)
    yield _step(_EQUAL, _SHARED_ANONYMOUS, 0, 1)
    yield _step(_RETURN, _FAIL | errno.ENOMEM)
    yield _step(_RETURN, _ALLOW)


def _unless(number: int, argument: int, mask: int, wanted: int, error: int) -> Iterable[bytes]:
    """Fail a call unless an argument, masked, has one value."""
    yield _step(_EQUAL, number, 0, 5)
    yield _step(_LOAD, _ARGUMENTS + 8 * argument)
    yield _step(_AND, mask)
    yield _step(_EQUAL, wanted, 1, 0)
    yield _step(_RETURN, _FAIL | error)
    yield _step(_LOAD, _NUMBER)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _check(result: int) -> int:
    """The result of a system call.

    Raises:
        OSError: It failed.
    """
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
