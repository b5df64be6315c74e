"""One answer per flow: by name, by protocol, by the model where it has reason, or unknown."""

from collections.abc import Mapping
from typing import Any

from mtc.columns import CONFLICT, UNKNOWN
from mtc.tasks import Tasks

SERVER_NAME, PROTOCOL, MODEL = "server_name", "protocol", "model"
TUNNEL = "VPN"
"""Type of a tunnel; a model's type of traffic inside one begins with it."""

APPLICATION_TASK = "application"
TYPE_TASKS = ("traffic", "type")


class FlowVerdict:
    """Decides what a flow is, by the first of these that says something:

    1. the service of its server's name,
    2. the service of its application protocol: SMTP is Email, whichever program speaks it. A tunnel is
       ``VPN X`` where the model says so of its content, else ``VPN``,
    3. the model, where none of its labels is below its threshold and they do not conflict. It cannot
       call a flow VPN whose protocol is visible and no tunnel,
    4. nothing: unknown.
    """

    def __init__(self, tasks: Tasks) -> None:
        """Prepare for a model with these tasks."""
        self._application = APPLICATION_TASK if APPLICATION_TASK in tasks else None
        self._type = next((task for task in TYPE_TASKS if task in tasks), None)

    def __call__(self, row: Mapping[str, Any], *, unlike: bool) -> dict[str, Any]:
        """The verdict of a row of ``mtc classify``.

        Args:
            row: The flow record and the model's labels.
            unlike: Whether the flow is unlike the model's training data.

        Returns:
            ``{"application", "type", "by", "confidence"}``; the confidence is that of the model's label.
        """
        service = row["service"]
        model_type = self._label(row, self._type, unlike)
        if service is not None:
            inside = model_type is not None and model_type[0].startswith(f"{TUNNEL} ")
            if service["by"] == PROTOCOL and service["type"] == TUNNEL and inside and model_type is not None:
                return _verdict(service["application"], model_type[0], MODEL, model_type[1])
            by = SERVER_NAME if service["by"] == SERVER_NAME else PROTOCOL
            return _verdict(service["application"], service["type"], by)
        if model_type is not None and model_type[0].startswith(TUNNEL) and row["app_proto"] is not None:
            return UNKNOWN_VERDICT.copy()
        application = self._label(row, self._application, unlike)
        if model_type is None and application is None:
            return UNKNOWN_VERDICT.copy()
        sure = [found[1] for found in (application, model_type) if found is not None]
        one, other = (None if found is None else found[0] for found in (application, model_type))
        return _verdict(one, other, MODEL, min(sure))

    def _label(self, row: Mapping[str, Any], task: str | None, unlike: bool) -> tuple[str, float] | None:
        """Label and confidence of a task where the model has reason to give one."""
        found = None if task is None or unlike or row[CONFLICT] else row[task]
        if found is None or found["label"] == UNKNOWN:
            return None
        return found["label"], found["confidence"]


def _verdict(application: Any, kind: Any, by: str, confidence: float | None = None) -> dict[str, Any]:
    return {"application": application, "type": kind, "by": by, "confidence": confidence}


UNKNOWN_VERDICT = _verdict(None, None, UNKNOWN)
