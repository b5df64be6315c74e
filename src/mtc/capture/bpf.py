"""Packet filters as of tcpdump: compiled by libpcap, run over whole batches by a kernel of our own.

The classic BPF machine is tiny; running it here costs no call, and no copy, for each packet. Programs
come from libpcap alone, and are checked all the same before they run.

Source: McCanne and Jacobson, "The BSD Packet Filter", 1993; the numbers of the instructions are those
of <pcap/bpf.h>.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mtc.capture.batch import PacketBatch
from mtc.errors import UsageError
from mtc.extras import need

SNAPLEN = 262_144
SCRATCH = 16
"""Words of the machine's memory."""

_LD, _LDX, _ST, _STX, _ALU, _JMP, _RET, _MISC = range(8)
_IMM, _ABS, _IND, _MEM, _LEN, _MSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
_ADD, _SUB, _MUL, _DIV, _OR, _AND, _LSH, _RSH, _NEG, _MOD, _XOR = range(0x00, 0xB0, 0x10)
_JA, _JEQ, _JGT, _JGE, _JSET = range(0x00, 0x50, 0x10)
_WORD, _HALF, _BYTE = 0x00, 0x08, 0x10
_X, _TAX, _TXA, _RET_A = 0x08, 0x00, 0x80, 0x10
_MASK = 0xFFFF_FFFF

_NUMBERS = {100: 11, 101: 12}
"""LINKTYPE numbers that libpcap calls otherwise where it compiles: LLC over ATM, and raw IP."""

Program = NDArray[np.int64]
"""int64 (instructions, 4): code, jump if true, jump if false, operand."""


class FilterError(UsageError):
    """A filter that cannot be compiled for a link type."""


def compile_filter(text: str, link_type: int) -> Program:
    """Compile a filter for packets of a link type.

    Args:
        text: As for tcpdump, such as ``tcp port 443 and not net 10.0.0.0/8``.
        link_type: LINKTYPE number.

    Raises:
        FilterError: The filter is wrong, or means nothing on such a link.
        UsageError: The library that compiles it is not installed.
    """
    pcapy = need("pcapy")
    try:
        compiled: Any = pcapy.compile(_NUMBERS.get(link_type, link_type), SNAPLEN, text, 1, 0xFFFFFFFF)
    except (pcapy.PcapError, pcapy.BPFError, ValueError) as error:
        raise FilterError(f"filter {text!r}: {error}") from None
    program = np.array(compiled.get_bpf(), np.int64).reshape(-1, 4)
    if not _sound(program):
        raise FilterError(f"filter {text!r}: libpcap made a program that cannot be run here")
    return program


def passes(program: Program, batch: PacketBatch) -> NDArray[np.bool_]:
    """Which packets of a batch pass a program, bool (N,); what lies behind a caplen never does."""
    out = np.empty(len(batch), np.bool_)
    _run(program, batch.data, batch.offsets, batch.caplens, batch.wirelens, out)
    return out


def _sound(program: Program) -> bool:
    """Whether a program ends, stays inside itself and its memory, and has only instructions known here."""
    n = len(program)
    for at, (code, if_true, if_false, operand) in enumerate(program.tolist()):
        kind, mode, op = code & 7, code & 0xE0, code & 0xF0
        # On a live Linux interface, offsets from here on would mean other things than bytes.
        loads = kind in (_LD, _LDX) and mode in (_ABS, _IND, _MSH)
        if loads and (operand >= 0xFFFF_F000 or code & 0x18 == 0x18):
            return False
        if (kind in (_ST, _STX) or (kind in (_LD, _LDX) and mode == _MEM)) and operand >= SCRATCH:
            return False
        if kind == _JMP:
            steps = (operand,) if op == _JA else (if_true, if_false)
            if op > _JSET or max(steps) + at + 1 >= n:
                return False
        if kind == _ALU and (op > _XOR or (op in (_DIV, _MOD) and not code & _X and not operand)):
            return False
    return n > 0 and (int(program[-1, 0]) & 7) == _RET


@njit(cache=True, nogil=True)
def _load(data: Any, start: int, caplen: int, at: int, size: int) -> int:
    """A big-endian number at ``at`` of a packet, or -1 where it is not inside."""
    width = 4 if size == _WORD else 2 if size == _HALF else 1
    if at < 0 or at + width > caplen:
        return -1
    value = 0
    for i in range(width):
        value = (value << 8) | int(data[start + at + i])
    return value


@njit(cache=True, nogil=True)
def _calculate(op: int, a: int, b: int) -> int:
    """Arithmetic on 32-bit numbers; -1 where it is impossible."""
    result = -1
    if op == _ADD:
        result = a + b
    elif op == _SUB:
        result = a - b
    elif op == _MUL:
        result = a * b  # what passes 64 bits is cut off, and the mask cuts off the rest
    elif op == _DIV:
        return a // b if b else -1
    elif op == _MOD:
        return a % b if b else -1
    elif op == _OR:
        result = a | b
    elif op == _AND:
        result = a & b
    elif op == _XOR:
        result = a ^ b
    elif op == _LSH:
        result = a << b if b < 32 else 0
    elif op == _RSH:
        result = a >> b if b < 32 else 0
    elif op == _NEG:
        result = -a
    return result & _MASK


@njit(cache=True, nogil=True)
def _jumps(op: int, a: int, b: int) -> bool:
    if op == _JEQ:
        return a == b
    if op == _JGT:
        return a > b
    if op == _JGE:
        return a >= b
    return (a & b) != 0


@njit(cache=True, nogil=True)
def _passes(program: Any, memory: Any, data: Any, start: int, caplen: int, wirelen: int) -> bool:
    """Run a program on one packet. Jumps go forward only, so it ends."""
    a, x, at = 0, 0, 0
    memory[:] = 0
    while at < len(program):
        code, if_true, if_false, k = program[at, 0], program[at, 1], program[at, 2], program[at, 3]
        kind, mode, size, op = code & 7, code & 0xE0, code & 0x18, code & 0xF0
        at += 1
        if kind in (_LD, _LDX):
            if mode == _ABS:
                value = _load(data, start, caplen, k, size)
            elif mode == _IND:
                value = _load(data, start, caplen, x + k, size)
            elif mode == _MSH:
                value = _load(data, start, caplen, k, _BYTE)
                value = 4 * (value & 15) if value >= 0 else -1
            elif mode == _MEM:
                value = memory[k]
            else:
                value = wirelen & _MASK if mode == _LEN else k
            if value < 0:
                return False
            if kind == _LD:
                a = value
            else:
                x = value
        elif kind == _ST:
            memory[k] = a
        elif kind == _STX:
            memory[k] = x
        elif kind == _ALU:
            a = _calculate(op, a, x if code & _X else k)
            if a < 0:
                return False
        elif kind == _JMP:
            if op == _JA:
                at += k
            else:
                at += if_true if _jumps(op, a, x if code & _X else k) else if_false
        elif kind == _RET:
            return (a if code & 0x18 == _RET_A else k) != 0
        elif code & 0xF8 == _TXA:
            a = x
        else:
            x = a
    return False


@njit(cache=True, nogil=True)
def _run(program: Any, data: Any, offsets: Any, caplens: Any, wirelens: Any, out: Any) -> None:
    memory = np.zeros(SCRATCH, np.int64)
    for i in range(len(out)):
        out[i] = _passes(program, memory, data, offsets[i], caplens[i], wirelens[i])
