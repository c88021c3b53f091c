from __future__ import annotations

import argparse

import pytest

from adbench_harness.cli import options
from adbench_harness.errors import UserError
from toys import ToyData


def given(*arguments):
    parser = argparse.ArgumentParser()
    options.add_locations(parser)
    return parser.parse_args(arguments)


def test_data_may_be_a_folder_for_all_and_folders_of_single_data_sets():
    found = options.locations(given("--data", "all", "--data", "visa=v=1", "--weights", "w"))
    assert (found.data, dict(found.datasets), found.weights) == ("all", {"visa": "v=1"}, "w")
    with pytest.raises(UserError, match="--data has 2 folders without a name; write all but one"):
        options.locations(given("--data", "a", "--data", "b"))


def test_pairs_are_cut_at_the_first_equals_sign():
    assert options.pairs(["model=a(b=1)", "category="]) == {"model": "a(b=1)", "category": ""}
    with pytest.raises(UserError, match="--only 'model' is not COLUMN=VALUE"):
        options.pairs(["model"])


def test_whereabouts_of_a_data_set(tmp_path):
    named = f"toy-data={tmp_path}"
    here = options.data_locations(given("--data", named))
    assert "holds neither 'dark' nor 'light'" in options.whereabouts(ToyData(), here)
    root = ToyData().build(tmp_path)
    assert options.whereabouts(ToyData(), here) == f"2 categories in {root}"


def test_plugins_that_do_not_load_are_left_out_and_named(plugin_file, capsys):
    broken = plugin_file("broken", "raise RuntimeError('no')")
    sound = plugin_file("sound", "")
    found = options.sound([broken, sound])
    assert found.named == ("sound",)
    assert "adbench: left out: " in capsys.readouterr().err


def test_a_table_wraps_its_last_column_to_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    text = options.table([{"name": "a", "meaning": "word " * 30}])
    assert max(map(len, text.splitlines())) <= 50
    assert text.count("word") == 30
    assert options.table([]) == "nothing"


def test_a_column_is_selected_once():
    with pytest.raises(UserError, match=r"--only model is given twice .a and b.; give one value"):
        options.pairs(["model=a", "model=b"])


def test_labels_are_cut_at_the_equals_sign_outside_brackets():
    found = options.labels(["padim(a=1,b=2)=PaDiM = ours", "nn=NN (k=1)"])
    assert found == {"padim(a=1,b=2)": "PaDiM = ours", "nn": "NN (k=1)"}
    for wrong in ("padim", "=a", "padim="):
        with pytest.raises(UserError, match="is not NAME=TEXT"):
            options.labels([wrong])


def test_a_table_fits_the_terminal_and_is_folded_between_words(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    path = "/home/a-folder/of-results/and/another"
    text = options.table([{"name": "a", "n": "5", "where": f"not found: look in {path}"}])
    assert max(map(len, text.splitlines())) <= 40
    assert "a-folder/" in text
    assert "".join(text.split()).count("/home/a-folder/of-results/and/another") == 1


def test_each_text_is_said_once():
    pairs = [("a", "free"), ("b", "not free"), ("c", "free"), ("d", "")]
    assert options.grouped(pairs) == "free: a, c\nnot free: b"
