from __future__ import annotations

import hashlib
import re
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

import miniatures
from adbench_harness.cli import main
from adbench_harness.planning import plugins
from adbench_harness.testing.datasets import CHECKS
from servers import Reply

CATALOGUE = plugins.load(["afps", "twostage"]).offers["dataset"]
BY_HAND = ("mvtec_ad_2", "mpdd")
LICENSE = "--accept-license"


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")


def rows(text):
    """First column -> the whole row, wrapped lines left out."""
    table = text.partition("\n\n")[0]
    return {line.split()[0]: line for line in table.splitlines()[2:] if not line.startswith(" ")}


@pytest.fixture
def published(server, monkeypatch):
    """Publishes a data set in miniature on the server; gives its archives by name."""

    def publish(name, files=None):
        component = CATALOGUE[name].component
        packed = {
            archive: miniatures.pack(archive, content)
            for archive, content in (files or miniatures.ARCHIVES[name]).items()
        }
        archives = tuple(
            replace(
                archive,
                url=archive.url and server.url.replace("weights.pth", archive.name),
                file=archive.name,
                sha256=archive.sha256 and hashlib.sha256(packed[archive.name]).hexdigest(),
                md5=archive.md5 and hashlib.md5(packed[archive.name]).hexdigest(),
            )
            for archive in component.archives
        )
        monkeypatch.setattr(component, "archives", archives)
        # In miniature nothing has the published counts.
        monkeypatch.setattr(component, "published", lambda self: {}, raising=False)
        monkeypatch.setattr(component, "departure", lambda *_: None, raising=False)
        server.bodies.update({f"/{archive}": content for archive, content in packed.items()})
        return packed

    return publish


def test_data_sets_and_where_they_are(adbench, toys):
    done = adbench("data", "--plugins", toys)
    assert done.code == 0, done.err
    found = rows(done.out)
    assert "2 categories in " in found["toy-data"]
    assert "5 categories in " in found["mini"]
    assert re.search(r" 15 +5354 +4.9 +not found: adbench data f", found["mvtec_ad"])
    assert re.search(r" 6 +1346 .*not found: request it at", found["mpdd"])
    assert "name its folder with --data folder=DIR" in " ".join(done.out.split())
    # The watch that keeps other commands light sees what this one needs.
    assert "torch" in done.heavy


def test_only_the_data_sets_asked_for_are_listed(capsys):
    assert main(["data", "list", "visa", "btad"]) == 0
    assert set(rows(capsys.readouterr().out)) == {"visa", "btad"}


def test_folders_by_name_by_parent_and_by_environment(tmp_path, capsys, monkeypatch):
    (tmp_path / "mvtec_ad" / "bottle").mkdir(parents=True)
    monkeypatch.setenv("COLUMNS", "300")

    def where(*arguments):
        assert main(["data", *arguments]) == 0
        return rows(capsys.readouterr().out)["mvtec_ad"]

    assert "not found" in where()
    assert "1 of 15 categories in" in where("--data", f"mvtec_ad={tmp_path / 'mvtec_ad'}")
    assert "1 of 15 categories in" in where("--data", str(tmp_path))
    monkeypatch.setenv("ADBENCH_DATA", str(tmp_path))
    assert "1 of 15 categories in" in where()
    (tmp_path / "other").mkdir()
    assert "no category of mvtec_ad" in where("--data", f"mvtec_ad={tmp_path / 'other'}")
    assert "is not a folder" in where("--data", f"mvtec_ad={tmp_path / 'nowhere'}")


def test_mistakes_are_one_line(error, tmp_path):
    assert "--data has 2 folders without a name" in error("data", "--data", "a", "--data", "b")
    assert "fetch needs the name of a data set" in error("data", "fetch")
    assert "unknown dataset 'mvtec' (did you mean" in error("data", "fetch", "mvtec")
    assert "'folder' has nothing to fetch" in error("data", "fetch", "folder")
    assert "'mini' is made by its plugin and need not be fetched" in error("data", "fetch", "mini")
    assert "data set 'visa' was not found" in error("data", "verify", "visa")
    (tmp_path / "mtd").mkdir()
    (tmp_path / "mtd/notes.txt").touch()
    said = error("data", "fetch", "mtd", "--data", tmp_path, LICENSE)
    assert "mtd' exists but does not contain mtd; move it away" in said


def test_the_page_of_data_sets_says_what_the_code_says():
    page = Path(__file__).parents[2] / "docs/datasets.md"
    table = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page.read_text(), flags=re.MULTILINE))
    for name, offer in CATALOGUE.items():
        dataset = offer.component()
        if not dataset.archives:
            continue
        images = dataset.published() if hasattr(dataset, "published") else {}
        get = "`adbench data fetch`" if all(a.url for a in dataset.archives) else "by hand"
        checksum = "yes" if all(a.sha256 or a.md5 for a in dataset.archives) else "no"
        facts = (
            str(len(images) or ""),
            str(sum(images.values()) or ""),
            dataset.license,
            get,
            checksum,
        )
        row = table.pop(name)
        assert row.startswith(" | ".join(facts)), (row, facts)
        assert f"]({dataset.page})" in row
    assert not table


@pytest.mark.parametrize("name", miniatures.ARCHIVES)
def test_every_data_set_is_fetched_read_and_verified(
    name, published, server, tmp_path, capsys, monkeypatch
):
    packed = published(name)
    here = tmp_path / "data"
    where = ["--data", str(here)]
    if name in BY_HAND:
        assert main(["data", "fetch", name, *where, LICENSE]) == 2
        said = capsys.readouterr().err
        component = CATALOGUE[name].component
        for part in (component.page, str(here / component.archives[0].name), "the same command"):
            assert part in said
        here.mkdir()
        for archive, content in packed.items():
            (here / archive).write_bytes(content)
    assert main(["data", "fetch", name, *where, LICENSE]) == 0
    said = capsys.readouterr().err
    assert f"{name}: {here / name}" in said
    unverified = name in ("mpdd", "mtd", "dagm")
    assert ("unverified" in said) == unverified
    assert len(server.requests) == (0 if name in BY_HAND else len(packed))
    left = {path.name for path in here.iterdir() if path.suffix != ".lock"}
    assert left == ({name, *packed} if name in BY_HAND else {name})

    # Fetched again, nothing is asked for; and no license needs to be accepted.
    assert main(["data", "fetch", name, *where]) == 0
    assert len(server.requests) == (0 if name in BY_HAND else len(packed))

    capsys.readouterr()
    assert main(["data", "verify", name, *where]) == 0, capsys.readouterr()
    said = capsys.readouterr().out
    files = sum(len(files) for files in miniatures.ARCHIVES[name].values())
    assert f"  checksums: {files} files are as they were unpacked" in said
    assert ("unverified" in said) == unverified
    assert said.count(", ok") + said.count(", see") == len(
        CATALOGUE[name].component().categories(here / name)
    )

    monkeypatch.setenv("ADBENCH_CACHE", str(tmp_path))  # where the checks look
    for check in ("lists_samples", "lists_the_same_twice"):
        CHECKS[check](CATALOGUE[name].component)

    pictures = (".jpg", ".png")
    files = sorted(path for path in (here / name).rglob("*") if path.suffix.lower() in pictures)
    victim = files[0]
    victim.write_bytes(b"x")
    assert main(["data", "verify", name, *where]) == 1
    assert f"wrong: '{victim}' changed since it was unpacked" in capsys.readouterr().out


def test_no_license_no_request(published, server, error, tmp_path):
    published("mvtec_ad")
    published("visa")
    said = error("data", "fetch", "mvtec_ad", "visa", "--data", tmp_path / "data")
    for part in ("mvtec_ad: license CC BY-NC-SA 4.0", "visa: license CC BY 4.0", LICENSE):
        assert part in said
    assert "https://www.mvtec.com/company/research/datasets/mvtec-ad" in said
    assert not server.requests
    assert not (tmp_path / "data").exists()


def test_the_license_is_shown_when_it_is_accepted(published, tmp_path, capsys):
    published("visa")
    assert main(["data", "fetch", "visa", "--data", str(tmp_path), LICENSE]) == 0
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("visa: license CC BY 4.0, see https://github.com/amazon-science")
    assert second == f"visa: {tmp_path / 'visa'}"


def test_a_connection_that_breaks_is_taken_up_again(published, server, tmp_path):
    [packed] = published("mvtec_ad").values()
    server.replies = [Reply(cut=100), Reply(status=503), Reply(cut=200), Reply()]
    assert main(["data", "fetch", "mvtec_ad", "--data", str(tmp_path), LICENSE]) == 0
    ranges = [asked.get("Range") for asked in server.requests]
    assert ranges == [None, "bytes=100-", "bytes=100-", "bytes=300-"]
    assert server.sent == len(packed)


def test_a_second_run_goes_on_where_the_first_gave_up(published, server, capsys, tmp_path):
    packed = published("dagm")
    server.replies = [Reply()] * 4 + [Reply(cut=50), Reply(status=404)]
    fetch = ["data", "fetch", "dagm", "--data", str(tmp_path), LICENSE]
    assert main(fetch) == 2
    said = capsys.readouterr().err
    assert "Class5.zip" in said
    assert "run the same command again to resume (50 bytes are kept)" in said
    assert "download it by hand from https://zenodo.org/records/8086136 and put it at" in said
    assert not (tmp_path / "dagm").exists()
    server.replies, server.sent = [Reply()], 0
    assert main(fetch) == 0
    late = [f"Class{n}.zip" for n in range(5, 11)]
    # Zenodo's archives have no checksum here, but the server's ETag tells that nothing changed.
    assert server.sent == sum(len(packed[name]) for name in late) - 50
    assert len(list((tmp_path / "dagm").glob("Class*/Train"))) == 10


def test_what_was_corrupted_is_not_unpacked(published, server, tmp_path, capsys):
    [(name, packed)] = published("mvtec_ad").items()
    server.bodies[f"/{name}"] = packed[:-1] + b"\0"
    assert main(["data", "fetch", "mvtec_ad", "--data", str(tmp_path), LICENSE]) == 2
    assert "the download was deleted; run again" in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


def test_a_file_fetched_by_hand_is_checked_too(published, tmp_path, error):
    published("mvtec_ad_2")
    archive = tmp_path / "mvtec_ad_2.tar.gz"
    archive.write_bytes(b"<html>sign in</html>")
    said = error("data", "fetch", "mvtec_ad_2", "--data", tmp_path)
    assert "its sha256 is" in said
    assert "download it again" in said
    assert archive.exists()
    assert not (tmp_path / "mvtec_ad_2").exists()


def test_a_page_instead_of_an_archive(published, server, tmp_path, capsys):
    """Where no checksum is published, a server that lies is found out by unpacking."""
    [name] = published("mtd")
    server.bodies[f"/{name}"] = b"<html>moved</html>" * 50
    assert main(["data", "fetch", "mtd", "--data", str(tmp_path), LICENSE]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / name}: cannot be unpacked" in said
    assert "delete it and fetch it again" in said
    assert not (tmp_path / "mtd").exists()


@pytest.mark.parametrize(
    "path", ["../escaped.png", "/tmp/escaped.png", "MT_Free/../../escaped.png"]
)
def test_an_archive_that_leads_outside(path, published, tmp_path, capsys):
    here = tmp_path / "data"
    published("mtd", {"Magnetic-tile-defect-datasets.zip": {path: b"x"}})
    assert main(["data", "fetch", "mtd", "--data", str(here), LICENSE]) == 2
    assert "may point outside the folder: do not trust it" in capsys.readouterr().err
    assert not list(tmp_path.rglob("escaped*"))
    assert not (here / "mtd").exists()


def test_an_archive_that_would_fill_the_disk(published, tmp_path, capsys):
    bomb = {"MT_Free/Imgs/0.jpg": bytes(50_000_000)}
    published("mtd", {"Magnetic-tile-defect-datasets.zip": bomb})
    assert main(["data", "fetch", "mtd", "--data", str(tmp_path), LICENSE]) == 2
    assert "more bytes than allowed: do not trust it" in capsys.readouterr().err
    assert not (tmp_path / "mtd").exists()


class TestVerify:
    @pytest.fixture
    def bottle(self, tmp_path):
        with tarfile.open(tmp_path / "x.tar", "w"):
            pass
        (tmp_path / "x.tar").write_bytes(miniatures.pack("x.tar", miniatures.MVTEC_AD))
        with tarfile.open(tmp_path / "x.tar") as tar:
            tar.extractall(tmp_path / "mvtec_ad", filter="data")
        return tmp_path

    @pytest.mark.parametrize(("name", "line"), [("/nut", "nut"), ("", "categories")])
    def test_where_nothing_is_found_a_line_says_what_is_refused(self, tmp_path, capsys, name, line):
        (tmp_path / "parts").mkdir()
        where = ("--data", f"folder={tmp_path / 'parts'}")
        assert main(["data", "verify", f"folder{name}", *where]) == 1
        assert f"\n  {line}: refused\n    wrong: '" in capsys.readouterr().out

    def test_other_counts_and_missing_categories_are_wrong(self, bottle, capsys):
        assert main(["data", "verify", "mvtec_ad", "--data", str(bottle)]) == 1
        said = capsys.readouterr().out
        assert said.startswith(
            f"mvtec_ad in {bottle / 'mvtec_ad'}\n  bottle: 2 train, 1 good and 1 defective "
            "test images of 1 type, 1 mask, values 0 to 254, not ok\n"
        )
        assert "wrong: 2 train, 1 good and 1 defective test images of 1 type; published" in said
        assert "not found: cable, capsule" in said
        assert (
            "checksums: none, since the data set was not unpacked by 'adbench data fetch'" in said
        )

    def test_one_category(self, bottle, capsys, error):
        assert main(["data", "verify", "mvtec_ad/bottle", "--data", str(bottle)]) == 1
        assert "not found" not in capsys.readouterr().out
        said = error("data", "verify", "mvtec_ad/bottl", "--data", bottle)
        assert "no category 'bottl' (did you mean 'bottle'?)" in said

    def test_many_mistakes_are_counted(self, bottle, capsys):
        for number in range(2, 40):
            (bottle / f"mvtec_ad/bottle/train/good/{number:03}.png").write_bytes(b"x")
        assert main(["data", "verify", "mvtec_ad/bottle", "--data", str(bottle)]) == 1
        said = capsys.readouterr().out
        assert said.count("wrong: ") == 21
        assert "wrong: and 19 more\n" in said

    def test_without_a_name_all_that_is_here(self, bottle, capsys):
        assert main(["data", "verify", "--data", str(bottle)]) == 1
        said = capsys.readouterr().out
        assert "mini in " in said
        assert "mvtec_ad in " in said
        assert "visa" not in said

    def test_what_is_sound_ends_with_0(self, adbench):
        done = adbench("data", "verify", "mini")
        assert (done.code, done.err) == (0, "")
        assert done.out.count(", ok\n") == 5


def test_empty_masks_that_are_known_are_called_so(published, tmp_path, capsys):
    published("btad")
    assert main(["data", "fetch", "btad", "--data", str(tmp_path), LICENSE]) == 0
    assert main(["data", "verify", "btad", "--data", str(tmp_path)]) == 0
    assert "2 masks (1 empty, as published)" in capsys.readouterr().out


def test_a_run_that_fetches_needs_the_license_too(published, server, tmp_path, capsys):
    published("mtd")
    run = ["run", "--plugins", "patchcore", "--datasets", "mtd", "--fetch", "--explain"]
    where = [
        "--data",
        str(tmp_path / "data"),
        "--backbone",
        "embedded",
        "--out",
        str(tmp_path / "o"),
    ]
    assert main([*run, *where]) == 2
    assert "mtd: license none stated" in capsys.readouterr().err
    assert not server.requests
    assert main([*run, *where, LICENSE]) == 0
    assert "mtd/magnetic_tile" in capsys.readouterr().out


def test_the_new_data_sets_enter_no_run_that_does_not_name_them():
    for name in miniatures.ARCHIVES:
        assert getattr(CATALOGUE[name].component, "default", True) is False or name == "dtd"


def test_fetching_in_a_process_of_its_own(adbench, plugin_file, tmp_path):
    archive = tmp_path / "zipped.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("bottle/train/good/0.png", b"")

    def plugin(name, digest):
        return plugin_file(
            name,
            f"""
from adbench_harness.basic.datasets import MVTecAD
from adbench_harness.types import Archive

class Zipped(MVTecAD):
    name, license, page = "zipped", "CC0", "https://example.org"
    archives = (Archive({archive.as_uri()!r}, sha256={digest!r}),)

@hookimpl
def adbench_datasets():
    return [Zipped]
""",
        )

    here = tmp_path / "data"
    damaged = plugin("damaged", "0" * 64)
    fetch = ("data", "fetch", "zipped", "--data", here, LICENSE, "--plugins")
    done = adbench(*fetch, damaged)
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith("adbench: error: ")
    assert "Traceback" not in done.err
    assert not (here / "zipped").exists()

    sound = plugin("sound", hashlib.sha256(archive.read_bytes()).hexdigest())
    done = adbench(*fetch, sound)
    assert done.code == 0, done.err
    assert done.err == (
        f"zipped: license CC0, see https://example.org\nzipped: {here / 'zipped'}\n"
    )
    assert (here / "zipped/bottle/train/good/0.png").is_file()
    assert (here / "zipped/SHA256SUMS").is_file()
    assert not (here / "zipped.zip").exists()
