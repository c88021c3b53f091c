from __future__ import annotations

import torch

from adbench_harness.basic.backbones import BACKBONES


def test_doctor_says_what_is_here_and_what_to_do(adbench, tmp_path):
    done = adbench("doctor")
    assert done.code == 0, done.err
    assert done.err == ""
    for line in (torch.__version__, "faiss", "set ADBENCH_CACHE to move it", "needs no weights"):
        assert line in done.out
    for backbone in BACKBONES:
        assert backbone.name in done.out
    assert "adbench weights fetch NAME" in done.out
    assert "of at most 10240 MB in" in " ".join(done.out.split())
    assert "delete it at any time" in done.out
    assert "adbench data fetch NAME" in done.out
    assert "--data NAME=DIR" in done.out


def test_weights_and_data_given_are_found(adbench, tmp_path):
    (tmp_path / "data" / "mvtec_ad" / "bottle").mkdir(parents=True)
    torch.save({}, tmp_path / "resnet18-f37072fd.pth")
    done = adbench("doctor", "--data", "data", "--weights", ".", COLUMNS="250")
    assert "1 of 15 categories in data/mvtec_ad" in done.out
    assert "not the published file: rows with it are marked" in done.out
