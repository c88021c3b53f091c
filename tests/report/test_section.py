from __future__ import annotations

import html
import re
from dataclasses import replace

import numpy as np
import pytest

from adbench_harness import report
from adbench_harness.leaderboard import frame, render
from adbench_harness.results.store import Heading, Store


def test_the_board_is_the_leaderboards(site, results, read):
    trials = frame(Store(results).read())
    assert set(trials["category"]) == {"parts & <b>more"}
    rows = re.findall(r"<tr data-axes.*?</tr>", (site / "index.html").read_text(), re.DOTALL)
    assert len(rows) == 4
    first = rows[0]
    best = trials["image_auroc"].max()
    assert f"<strong>{100 * best:.1f}" in first
    assert f'data-order="{float(best)}"' in first
    # What is absent sorts last, whichever way is better.
    assert re.search(r'data-order="-1e\+300"[^>]*>–', rows[-1])
    assert re.search(r'data-order="1e\+300"[^>]*>–', rows[-1])


def test_the_board_says_which_rows_are_told_apart(site, results, read):
    told = render(Store(results).read(), format="html", store=results)
    note = next(p for p in re.findall("<p>(.*?)</p>", told) if "DeLong" in p)
    assert html.unescape(note) in read(site)[0].words()


def test_names_are_as_short_as_on_a_terminal(changed, catalogue, locations, tmp_path, read):
    def wide(result):
        model = result.trial.model
        model = replace(model, params={**model.params, "w": 3}, changed=(*model.changed, "w"))
        return replace(result, trial=replace(result.trial, model=model))

    root = tmp_path / "site"
    report.write(changed(wide), root, catalogue=catalogue, locations=locations)
    assert re.search(r"parameters: .*toy-mean\(w=3\)", read(root)[0].words())
    names = re.findall(r'<a href="rows/.*?">(.*?)</a>', (root / "index.html").read_text())
    assert "toy-mean(<wbr>gain=<wbr>2.0) · toy-map" in names
    assert not any("w=" in name for name in names)


def test_every_column_of_numbers_is_in_a_group(site, read):
    board = read(site)[0]
    shown = {a["value"] for a in board.all("input") if a.get("type") == "radio"}
    assert shown == {"main", "image", "pixel", "other", "cost", "all"}
    heads = [a for a in board.all("th") if a.get("data-type") == "num" and a.get("class") != "rank"]
    assert all(set(a["data-in"].split()) <= shown - {"all"} for a in heads)


def unlabelled(result):
    """The result of a run on images that nobody labelled: scores and costs, no accuracy."""
    costs = {n: v for n, v in result.metrics.items() if result.columns[n].unit not in ("%", "")}
    images = result.images and {
        **result.images,
        "label": np.full_like(result.images["label"], -1),
    }
    return replace(result, metrics=costs, intervals={}, images=images)


def test_without_labels_nothing_is_ranked_or_judged(
    page_of, changed, catalogue, locations, tmp_path, read, compared
):
    root = tmp_path / "site"
    report.write(changed(unlabelled), root, catalogue=catalogue, locations=locations)
    board = read(root)[0]
    assert "Not ranked: no accuracy was measured" in board.words()
    for heading in ("Accuracy against cost", "significant", "By category"):
        assert heading not in board.text
    ranks = re.findall(r'<td class="rank"[^>]*>(.*?)</td>', (root / "index.html").read_text())
    assert ranks == ["–"] * 4
    page = page_of(read(root), "toy-mean(gain=2.0)")
    html_of = page.path.read_text()
    verdicts = re.findall(r'<figure class="(\w+)">', html_of)
    assert verdicts == ["unjudged"] * 6
    assert not re.search("[✓✗]", page.text)
    assert "Not ranked: no accuracy was measured." in page.words()
    captions = re.findall(r"<figcaption><strong>(.*?)</strong>\s*<span>(.*?)</span>", html_of)
    assert {words for words, _ in captions} == {"unlabelled"}
    scores = [float(text.removeprefix("score ")) for _, text in captions]  # and no defect type
    assert scores == sorted(scores, reverse=True)
    (content,) = compared(root)
    assert {image["defect"] for image in content["images"]} == {"unlabelled"}


@pytest.mark.parametrize("higher", [False, True])
def test_the_direction_of_a_metric(changed, catalogue, locations, tmp_path, read, higher):
    """It decides the order, the marks, the sort keys, the ranks and the Pareto front."""
    numbers = {"toy-mean": 1.0, "toy-mean(gain=2.0)": 2.0}

    def measured(result):
        if result.status == "failed":
            return result
        number = numbers.get(result.trial.model.label, 3.0)
        heading = Heading("own", "", higher_is_better=higher)
        return replace(
            result,
            metrics={**result.metrics, "own": number},
            columns={**result.columns, "own": heading},
        )

    root = tmp_path / "s"
    store = changed(measured)
    report.write(store, root, catalogue=catalogue, locations=locations, metric="own", images=0)
    text = (root / "index.html").read_text()
    head = r"""aria-title="([^"]*), (\w+) is better" data-order-sequence='\["(\w+)","(\w+)"]'"""
    heads = {name: told for name, *told in re.findall(head, html.unescape(text))}
    assert heads["own"] == (["higher", "desc", "asc"] if higher else ["lower", "asc", "desc"])
    rows = re.findall(r"<tr data-axes.*?</tr>", text, re.DOTALL)
    cells = [re.findall(r'<td data-order="([^"]*)" data-in="[^"]*">(.*)</td>', r) for r in rows]
    own = [row[list(heads).index("own")] for row in cells]
    assert [float(key) for key, _ in own] == ([3, 2, 1, -1e300] if higher else [1, 2, 3, 1e300])
    assert [shown.startswith("<strong>") for _, shown in own] == [True, False, False, False]
    told, plot = read(root)[0].data
    assert [row["mean"] for row in told["rows"]] == ([3, 2, 1] if higher else [1, 2, 3])
    assert [row["rank"] for row in told["rows"]] == [1, 2, 3]
    axes = {axis["name"]: axis["higher"] for axis in plot["axes"]}
    assert (plot["y"], axes["own"], axes["ms_per_image"]) == ("own", higher, False)
