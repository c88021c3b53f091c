from __future__ import annotations

import hashlib

import torch

from adbench_harness.basic.backbones import BACKBONES
from adbench_harness.cli import main


def rows(text):
    return {line.split()[0]: line for line in text.splitlines()[2:] if not line.startswith(" ")}


def test_backbones_and_where_their_weights_are(adbench):
    done = adbench("weights")
    assert done.code == 0, done.err
    found = rows(done.out)
    assert set(found) == {backbone.name for backbone in BACKBONES}
    assert "none needed" in found["embedded"]
    assert "not here" in found["resnet18"]
    assert "f37072fd" in found["resnet18"]


def test_a_file_that_is_not_the_published_one_is_marked(tmp_path, capsys, monkeypatch):
    file = tmp_path / "resnet18-f37072fd.pth"
    torch.save({}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["weights", "--weights", str(tmp_path)]) == 0
    found = rows(capsys.readouterr().out)["resnet18"]
    assert f"{file} (not the published file)" in found
    assert digest[:16] in found


def test_fetching_downloads_and_checks(adbench, plugin_file, tmp_path):
    published = tmp_path / "published"
    published.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()

    def plugin(name, pinned):
        return plugin_file(
            name,
            f"""
from adbench_harness.basic.backbones import Embedded
from adbench_harness.types import WeightFile

class Pinned(Embedded):
    name = "pinned"
    weights = WeightFile({published.as_uri()!r}, "pinned.pth", {pinned!r}, "CC0")

@hookimpl
def adbench_backbones():
    return [Pinned]
""",
        )

    where = ("--weights", tmp_path / "here")
    done = adbench("weights", "fetch", "pinned", "--plugins", plugin("other", "0" * 64), *where)
    assert done.code == 2
    assert done.err.startswith("adbench: error: ")
    assert done.err.count("\n") == 1
    assert not (tmp_path / "here/pinned.pth").exists()

    sound = plugin("sound", digest[:8])
    done = adbench("weights", "fetch", "pinned", "--plugins", sound, *where)
    assert (done.code, done.err) == (0, f"pinned: {tmp_path / 'here/pinned.pth'}\n")
    assert (tmp_path / "here/pinned.pth").read_bytes() == b"weights"
    listed = adbench("weights", "--plugins", sound, *where, COLUMNS="300").out
    assert str(tmp_path / "here/pinned.pth") in listed
    assert "not the published file" not in listed


def test_mistakes_are_one_line(error, tmp_path):
    assert "fetch what? name a backbone" in error("weights", "fetch")
    assert "'embedded' needs no weights" in error("weights", "fetch", "embedded")
    assert "(did you mean 'resnet18'?)" in error("weights", "fetch", "resnet81")
    assert "do not exist" in error("weights", "--weights", tmp_path / "none")
    file = tmp_path / "file.pth"
    file.touch()
    assert "is a file; name a folder" in error("weights", "fetch", "resnet18", "--weights", file)
