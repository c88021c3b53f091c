from __future__ import annotations

from collections import Counter

import pytest

from adbench_harness.basic.datasets import VisA
from adbench_harness.errors import UserError


def test_visa_reads_the_split_that_is_asked_for(miniature):
    root = miniature("visa")
    shot = VisA(split="2cls_highshot")
    samples = shot.samples(root, "candle", 0)
    assert Counter((s.split, s.label) for s in samples) == {
        ("train", 0): 1,
        ("train", 1): 1,
        ("test", 0): 1,
    }
    assert shot.departure("candle", samples) is None
    with pytest.raises(UserError, match=r"split_csv/3cls.csv' cannot be read"):
        VisA(split="3cls").samples(root, "candle", 0)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (b"", "no normal images in train"),
        (b"object,split,label,image\ncandle,train,normal,x\n", "lacks one of the columns"),
        (
            b"object,split,label,image,mask\ncandle,dev,normal,x,\n",
            "invalid row: candle,dev",
        ),
        (b"object,split,label,image,mask\ncandle,test,odd,x,\n", "invalid row"),
        (b"object,split,label,image,mask\ncandle,test,anomaly,x,\n", "invalid row"),
        (b"object,split,label,image,mask\ncandle,test,normal,no.JPG,\n", "no.JPG' is missing"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_table_of_visa_that_cannot_be_followed_is_refused(miniature, table, reason):
    root = miniature("visa")
    (root / "split_csv/1cls.csv").write_bytes(table)
    with pytest.raises(UserError) as caught:
        VisA().samples(root, "candle", 0)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
