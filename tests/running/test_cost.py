"""FLOPs beside torch's own counter, whose formulas they share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from adbench_harness.running import cost

IMAGE = torch.rand(2, 3, 16, 16)
CONVOLUTION = nn.Conv2d(3, 4, 3)
ATTENTION = nn.MultiheadAttention(8, 2, batch_first=True)
LINEAR = nn.Linear(16, 5)
WORK: dict[str, Callable[[], Any]] = {
    "convolution": lambda: CONVOLUTION(IMAGE),
    "linear": lambda: LINEAR(IMAGE),
    "attention": lambda: ATTENTION(*[torch.rand(1, 6, 8)] * 3),
    "einsum": lambda: torch.einsum("bchw,bdhw->bcd", IMAGE, IMAGE),
    "backward": lambda: CONVOLUTION(IMAGE).sum().backward(),
    "none": lambda: functional.interpolate(IMAGE, 8).relu().sort(),
}


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_flops_are_those_of_torchs_counter(work: Callable[[], Any], mode: Any) -> None:
    if work is WORK["backward"] and mode is not torch.enable_grad:
        pytest.skip("there is no gradient here")
    with mode():
        counted = cost.flops(work)
        with FlopCounterMode(display=False) as reference:
            work()
    assert counted == reference.get_total_flops()
    assert (counted > 0) == (work is not WORK["none"])


def test_counting_does_not_import_torchs_compiler() -> None:
    code = (
        "import sys, torch; from adbench_harness.running import cost;"
        "a = torch.rand(2, 2); assert cost.flops(lambda: a @ a) == 16;"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_cost_is_better_if_lower() -> None:
    assert not any(heading.higher_is_better for heading in cost.HEADINGS.values())
