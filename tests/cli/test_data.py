from __future__ import annotations

import hashlib
import zipfile

from adbench_harness.cli import main


def rows(text):
    """First column -> the whole row, wrapped lines left out."""
    return {line.split()[0]: line for line in text.splitlines()[2:] if not line.startswith(" ")}


def test_data_sets_and_where_they_are(adbench, toys):
    done = adbench("data", "--plugins", toys)
    assert done.code == 0, done.err
    found = rows(done.out)
    assert "2 categories in " in found["toy-data"]
    assert "5 categories in " in found["mini"]
    assert "not here" in found["mvtec_ad"]
    assert "CC BY-NC-SA 4.0" in found["mvtec_ad"]
    # The watch that keeps other commands light sees what this one needs.
    assert "torch" in done.heavy


def test_folders_by_name_by_parent_and_by_environment(tmp_path, capsys, monkeypatch):
    (tmp_path / "mvtec_ad" / "bottle").mkdir(parents=True)

    def where(*arguments):
        assert main(["data", *arguments]) == 0
        return rows(capsys.readouterr().out)["mvtec_ad"]

    assert "not here" in where()
    assert "1 categories in" in where("--data", f"mvtec_ad={tmp_path / 'mvtec_ad'}")
    assert "1 categories in" in where("--data", str(tmp_path))
    monkeypatch.setenv("ADBENCH_DATA", str(tmp_path))
    assert "1 categories in" in where()
    assert "no category of MVTec AD" in where("--data", f"mvtec_ad={tmp_path}")


def test_mistakes_are_one_line(error, tmp_path):
    assert "--data names 2 folders" in error("data", "--data", "a", "--data", "b")
    assert "fetch what? name a data set" in error("data", "fetch")
    assert "unknown dataset 'mvtec' (did you mean" in error("data", "fetch", "mvtec")
    assert "'folder' has nothing to fetch" in error("data", "fetch", "folder")
    (tmp_path / "mtd").mkdir()
    assert "exists; remove it" in error("data", "fetch", "mtd", "--data", tmp_path)


def test_fetching_downloads_checks_and_unpacks(adbench, plugin_file, tmp_path):
    archive = tmp_path / "zipped.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("one/train/good/0.png", b"")

    def plugin(name, digest):
        return plugin_file(
            name,
            f"""
from adbench_harness.basic.datasets import MVTecAD
from adbench_harness.types import Archive

class Zipped(MVTecAD):
    name, licence = "zipped", "CC0"
    archives = (Archive({archive.as_uri()!r}, sha256={digest!r}),)

@hookimpl
def adbench_datasets():
    return [Zipped]
""",
        )

    here = tmp_path / "data"
    damaged = plugin("damaged", "0" * 64)
    done = adbench("data", "fetch", "zipped", "--plugins", damaged, "--data", here)
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith("adbench: error: ")
    assert "Traceback" not in done.err
    assert not (here / "zipped").exists()

    sound = plugin("sound", hashlib.sha256(archive.read_bytes()).hexdigest())
    done = adbench("data", "fetch", "zipped", "--plugins", sound, "--data", here)
    assert done.code == 0, done.err
    assert done.err == f"zipped: licence CC0\nzipped: {here / 'zipped'}\n"
    assert (here / "zipped/one/train/good/0.png").is_file()
    assert not (here / "zipped.zip").exists()
