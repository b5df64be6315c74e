"""What ``mtc classify`` reports at the end, on stderr."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from mtc.columns import CONFLICT
from mtc.tasks import Tasks, with_vpn

if TYPE_CHECKING:
    from mtc.inference import CaptureEnd

UNLIKE_SHARE = 0.25
"""Share of flows unlike the training data from which on it is reported. Thresholds reject 8 % of like
verdicts by task, so of three tasks up to 24 % of like flows have one below it."""


class Summary:
    """Counts rows and captures."""

    def __init__(self, tasks: Tasks, *, model: str) -> None:
        """Count nothing; ``model`` is the name of the model with these tasks."""
        from mtc.packets.checks import CheckCounts

        self.rows = 0
        self._model = model
        self._judged = tuple(with_vpn(tasks))
        self.left_out: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.conflicts: Counter[str] = Counter()
        self.labels: dict[str, Counter[str]] = {}
        self.checks = CheckCounts()
        self.notes: list[str] = []
        self.never_unknown: tuple[str, ...] = ()
        self._unlike_captures = self._captures = 0

    def count(self, row: dict[str, Any]) -> dict[str, Any]:
        """Count a row, and return it."""
        self.rows += 1
        if "verdict" in row:
            found = row["verdict"]
            self.labels.setdefault("type", Counter())[found["type"] or "unknown"] += 1
            self.labels.setdefault("by", Counter())[found["by"]] += 1
        else:
            for task in self._judged:
                label = "no label" if row[task] is None else row[task]["label"]
                self.labels.setdefault(task, Counter())[label] += 1
        self.conflicts.update(map("/".join, row[CONFLICT] or ()))
        return row

    def add_end(self, end: "CaptureEnd") -> None:
        """Count a capture that was read."""
        self.left_out.update(end.left_out)
        self.notes += [f"{end.capture}: {note}" for note in end.notes]
        self.checks += end.checks
        self.counts.update(packets=end.packets, samples=end.samples, judged=end.judged, computed=end.computed)
        self.counts.update(flows=end.flows_computed, unlike=end.flows_unlike)
        self._captures += 1
        self._unlike_captures += end.flows_unlike > UNLIKE_SHARE * end.flows_computed

    def text(self, what: str) -> str:
        """What was classified, where each row is a ``what``."""
        counts = self.counts
        lines = [f"{self.rows:,} {what}s classified"]
        if counts["packets"]:
            left_out = ", ".join(f"{reason} {n:,}" for reason, n in self.left_out.most_common())
            lines[0] += f" from {counts['packets']:,} packets"
            lines[0] += f" (skipped: {left_out})" if left_out else ""
            again = counts["judged"] - counts["computed"]
            lines.append(
                f"{counts['judged']:,} of {counts['samples']:,} samples used by the model"
                + (f", {again:,} of them equal to one before" if again else "")
            )
            dropped = "duplicate" in self.left_out
            lines += self.checks.notes(counts["packets"], counts["samples"], dropped=dropped)
        lines += [
            f"{task}: " + ", ".join(f"{label} {n:,}" for label, n in by_label.most_common())
            for task, by_label in self.labels.items()
        ]
        if self.conflicts:
            pairs = ", ".join(f"{pair} {n:,}" for pair, n in self.conflicts.most_common())
            lines.append(f"conflicting labels of the model: {pairs}")
        if counts["flows"] and counts["unlike"] > UNLIKE_SHARE * counts["flows"]:
            share = f"{counts['unlike'] / counts['flows']:.0%}".replace("%", " %")
            where = (
                f", in {self._unlike_captures:,} of {self._captures:,} captures" if self._captures > 1 else ""
            )
            flows = "flow is" if counts["flows"] == 1 else "flows are"
            lines.append(
                f"{share} of {counts['flows']:,} {flows} unlike what `{self._model}` was trained on{where}"
            )
        if self.never_unknown:
            tasks = ", ".join(self.never_unknown)
            lines.append(f"`{self._model}` stores no threshold for {tasks}: no label is rejected")
        return "\n".join(lines + self.notes)
