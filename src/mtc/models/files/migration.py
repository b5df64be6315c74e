"""Model files of older versions, brought to the present one."""

from typing import Any

from mtc.errors import ModelError

FORMAT_VERSION = 2
"""Version of the model file that this package writes."""

OLDEST = 1
"""Oldest version that can still be read."""


def migrate(values: dict[str, Any]) -> dict[str, Any]:
    """Bring the content of ``model.json`` to the present version.

    Args:
        values: As read; ``format_version`` says which version it is.

    Raises:
        ModelError: It is of a version that cannot be read; the message says why.
    """
    version = values["format_version"]
    if not isinstance(version, int) or isinstance(version, bool):
        raise ModelError(f"the format version is {version!r}, which is no number")
    if version > FORMAT_VERSION:
        raise ModelError(
            f"model format {version} is newer than this version of mtc, which reads {OLDEST} to "
            f"{FORMAT_VERSION}; it was written by mtc {values.get('mtc_version', '?')}"
        )
    if version < OLDEST:
        raise ModelError(f"model format {version} is older than {OLDEST}, the oldest that is still read")
    if version == 1:
        values = _from_1(values)
    return values


def _from_1(values: dict[str, Any]) -> dict[str, Any]:
    # Version 1 had no pairs of labels (so nothing is known to conflict), plain temperatures, and flow
    # verdicts from the sum of ten packets' log-probabilities. Now it is their mean, whose temperature is
    # about that of a packet: it takes the place of the one for sums.
    temperatures = {
        task: {"base": both["packet"], "rise": 0.0} for task, both in values.get("calibration", {}).items()
    }
    return {
        "pairs": {},
        "flow_packets": 10,
        **values,
        "calibration": {task: {"packet": found, "flow": found} for task, found in temperatures.items()},
        "format_version": 2,
    }
