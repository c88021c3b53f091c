from __future__ import annotations

from adbench_example.dataset import Dots
from adbench_example.metric import DETECTED_AT_5
from adbench_example.model import PixelGaussian
from adbench_example.scorer import Area

from adbench_harness.testing import parametrize_with_checks


@parametrize_with_checks([Dots, PixelGaussian, Area, DETECTED_AT_5])
def test_conformance(component, check):
    check(component)
