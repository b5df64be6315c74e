"""``mtc serve``: what it refuses before it serves; tests/serving/http has running servers."""

import os
from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--host", "0.0.0.0", "--token-file", os.devnull), "holds no token"),
        (("--upload-size", "x"), "no size: 'x'"),
        (("--tls-cert", os.devnull), "--tls-cert and --tls-key belong together"),
        (("--keep-minutes", "0"), "the limit keep_s must be above 0"),
        (("--keep-minutes", "nan"), "the limit keep_s must be above 0, and finite"),
        (("--job-minutes", "inf"), "the limit job_s must be above 0, and finite"),
        (("--model", "nameless"), "--model takes NAME=RUN"),
        (("--default-model", "nosuch"), "the default model: no model 'nosuch'"),
        (("--tls-cert", "nosuch", "--tls-key", "nosuch"), "not a certificate and its key (No such file"),
        (("--tls-cert", os.devnull, "--tls-key", os.devnull), "not a certificate and its key"),
    ],
)
def test_wrong_settings_are_told_in_a_line(
    mtc: Callable[..., Any], arguments: tuple[str, ...], message: str
) -> None:
    done = mtc("serve", "--port", "0", *arguments)
    assert done.status == 2
    assert done.err.startswith("mtc: ")
    assert done.err.count("\n") == 1
    assert message in done.err
