"""Devices by name, and what is said where one is absent."""

from __future__ import annotations

import pytest
import torch

from tiepoint.errors import InputError
from tiepoint.models.device import choose_device


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_prefers_cuda_then_mps(cuda: bool, mps: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)  # these devices need not be in this machine
    assert choose_device("auto") == choose_device() == torch.device(expected)


def test_a_device_may_be_given_as_such() -> None:
    assert choose_device(torch.device("cpu")) == choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["nosuch", "cuda:99", "", "cpu:x", torch.device("cuda", 99)])
def test_an_absent_or_unknown_device_lists_those_that_there_are(
    name: str | torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=rf"^device {name} is not available here: choose auto or .*cpu$"):
        choose_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(InputError, match=r"choose auto or cuda or mps or cpu$"):
        choose_device(name)
