from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from adbench_harness.errors import UserError
from adbench_harness.leaderboard import FORMATS, render
from adbench_harness.leaderboard.table import Table
from adbench_harness.results.store import Store

HOSTILE = "<script>alert(1)</script>|a_b & 50% #1 `x` **y** \ue000\x1b[31m\nz"


@pytest.fixture
def results(result):
    costs = {"pixel_auroc": 0.9, "params": 24_900_000, "ms_per_image": 12.34}
    small = {**costs, "params": 1234}
    return [
        result({"image_auroc": 0.981, **costs}),
        result({"image_auroc": 0.95, **costs}, category="grass"),
        result({"image_auroc": 0.9, **small}, model="padim", flags=("crop",)),
        result({"image_auroc": 0.9, **small}, model="padim", flags=("crop",), category="grass"),
        result({"image_auroc": 0.99}, model="vae"),
        result(None, model="vae", category="grass"),
    ]


TERMINAL = """\
                           image    pixel
#  model      failed     AUROC ↑  AUROC ↑  ms/image ↓
─────────────────────────────────────────────────────
1  patchcore  0            *96.5    *90.0       *12.3
2  padim      0             90.0    *90.0       *12.3
–  vae        1       99.0 (1/2)        –           –

dataset mini · 2 categories · scorer knn · backbone embedded · cpu · 1 seed ·
scores in % · * best · 1 more column with --all
image AUROC: 2 categories are too few to say which of 2 rows differ (6 needed);
ranks follow the numbers, not a test
(1/2): the mean of 1 of 2 categories; rows that lack a category are not ranked
crop: padim · knn
failed: vae · knn [grass]: fit: no memory (traceback:
runs/trials/{id}.json)
"""
MARKDOWN = r"""
| #   | model     | failed   |   image AUROC ↑ |   pixel AUROC ↑ |   ms/image ↓ |
|:----|:----------|:---------|----------------:|----------------:|-------------:|
| 1   | patchcore | 0        |        **96.5** |        **90.0** |     **12.3** |
| 2   | padim     | 0        |            90.0 |        **90.0** |     **12.3** |
| –   | vae       | 1        |      99.0 (1/2) |               – |            – |

dataset mini · 2 categories · scorer knn · backbone embedded · cpu · 1 seed · scores in %

- image AUROC: 2 categories are too few to say which of 2 rows differ (6 needed); ranks follow the numbers, not a test
- (1/2): the mean of 1 of 2 categories; rows that lack a category are not ranked
- crop: padim · knn
- failed: vae · knn \[grass\]: fit: no memory (traceback: runs/trials/{id}.json)
"""  # noqa: E501  # as it reads
LATEX = r"""
% failed: vae · knn [grass]: fit: no memory (traceback: runs/trials/{id}.json)
\begin{table}
\centering
\caption{Dataset mini $\cdot$ 2 categories $\cdot$ scorer knn $\cdot$ backbone embedded $\cdot$ cpu $\cdot$ 1 seed $\cdot$ scores in \% $\cdot$ best in bold. Image AUROC: 2 categories are too few to say which of 2 rows differ (6 needed); ranks follow the numbers, not a test. (1/2): the mean of 1 of 2 categories; rows that lack a category are not ranked. Crop: padim $\cdot$ knn.}
\begin{tabular}{lllrrr}
\toprule
\# & model & failed & image AUROC $\uparrow$ & pixel AUROC $\uparrow$ & ms/image $\downarrow$ \\
\midrule
1 & patchcore & 0 & \textbf{96.5} & \textbf{90.0} & \textbf{12.3} \\
2 & padim & 0 & 90.0 & \textbf{90.0} & \textbf{12.3} \\
-- & vae & 1 & 99.0 (1/2) & -- & -- \\
\bottomrule
\end{tabular}
\end{table}
"""  # noqa: E501  # as it reads
HTML = [
    ["#", "model", "failed", "image AUROC ↑", "pixel AUROC ↑", "ms/image ↓"],
    ["1", "patchcore", "0", "b:96.5", "b:90.0", "b:12.3"],
    ["2", "padim", "0", "90.0", "b:90.0", "b:12.3"],
    ["–", "vae", "1", "99.0 (1/2)", "–", "–"],
]
CSV = """\
dataset,model,category,seeds,failed,image_auroc,params,ms_per_image
mini,padim,brick,1,0,0.9,1234,12.34
mini,patchcore,brick,1,0,0.981,24900000,12.34
mini,vae,brick,1,0,0.99,,
mini,padim,grass,1,0,0.9,1234,12.34
mini,patchcore,grass,1,0,0.95,24900000,12.34
mini,vae,grass,0,1,,,
"""


def golden(text, results):
    return text.replace("{id}", results[-1].trial.id)


def test_terminal(results):
    text = render(results, store=Path("runs"), width=80)
    assert text == golden(TERMINAL, results)


def test_markdown(results):
    text = render(results, format="markdown", store=Path("runs"))
    assert text == golden(MARKDOWN.lstrip(), results)


def test_latex(results):
    text = render(results, format="latex", store=Path("runs"))
    assert text == golden(LATEX.lstrip(), results)


class Page(HTMLParser):
    """The cells of the tables, bold ones as ``b:text``, and all tags seen."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.tags = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "b":
            self.rows[-1][-1] += "b:"

    def handle_data(self, data):
        if self.lasttag in ("td", "th", "b") and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def test_html(results):
    text = render(results, format="html", store=Path("runs"))
    assert text.isascii()
    assert Page(text).rows == HTML
    assert f"runs/trials/{results[-1].trial.id}.json" in text


def test_csv(results):
    rows = list(csv.DictReader(io.StringIO(render(results, format="csv"))))
    assert [{key: row[key] for key in CSV.split("\n")[0].split(",")} for row in rows] == list(
        csv.DictReader(io.StringIO(CSV))
    )


def test_csv_of_a_pivot_has_fractions_and_no_means(results):
    text = render(results, format="csv", rows=["category"], columns="model")
    assert text == "category,padim,patchcore,vae\nbrick,0.9,0.981,0.99\ngrass,0.9,0.95,\n"


def test_pivot_takes_the_other_axis_by_itself(results):
    by_category = render(results, rows=["category"], format="markdown")
    assert by_category == render(results, columns="method", format="markdown")
    header = [cell.strip() for cell in by_category.splitlines()[0].split("|")]
    assert header == ["", "category", "patchcore · knn", "padim · knn", "vae · knn", ""]
    assert "\nmethod " in render(results, rows=["method"])


def test_color_is_bold_and_nothing_else(results):
    text = render(results, color=True, width=80)
    assert re.search(r"\x1b\[1m +96.5\x1b\[0m", text)
    assert "*" not in text
    plain = re.sub(r"\x1b\[[01]m", "", text)
    assert plain.split()[: 4 * 6] == render(results, width=80).replace("*", "").split()[: 4 * 6]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_terminal_fits_its_width_and_loses_nothing(result, width):
    metrics = {"image_auroc": 0.5, "image_ap": 0.5, "pixel_auroc": 0.5, "pixel_ap": 0.5}
    metrics |= {"aupro": 0.5, "fit_seconds": 100.0, "peak_mb": 5000.0, "params": 1e6, "flops": 1e9}
    results = [
        result(metrics, model=model, params={"coreset_ratio": 0.1}, preprocessors=chain, seed=seed)
        for model in ("patchcore", "a_model_of_an_extraordinarily_long_name")
        for chain in ((), ("bgfilter",))
        for seed in (0, 1)
    ]
    text = render(results, width=width, all=True)
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.split())
    for header in ("AUROC ↑", "AUPRO ↑", "params ↓", "FLOPs ↓", "MB ↓"):
        assert header in words
    # Every block repeats the labels.
    assert text.count("patchcor") == 2 * text.count("────\n") + 1  # its parameter is below


def test_by_default_a_terminal_shows_one_block_of_the_main_metrics(result):
    names = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro")
    metrics = dict.fromkeys(names, 0.5) | {"fit_seconds": 9.0, "ms_per_image": 123.4}
    metrics |= {"peak_mb": 5000.0}
    results = [
        result(metrics, model=model, preprocessors=("bgfilter",), scorer=scorer, seed=seed)
        for model in ("patchcore", "padim", "simplenet")
        for scorer in ("nn-reweighted", "mahalanobis")
        for seed in (0, 1)
    ]
    text = render(results, width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("────\n") == 1
    for shown in ("image AUROC", "pixel AUROC", "AUPRO", "ms/image"):
        assert shown.split()[-1] in text
    assert "3 more columns with --all" in " ".join(text.split())
    narrow = render(results, width=56)
    assert max(map(len, narrow.splitlines())) <= 56
    assert narrow.count("────\n") == 1
    assert "5 more columns with --all" in " ".join(narrow.split())
    assert re.search(r"^1 +patchcore ·  ", narrow, re.MULTILINE), "labels fold between parts"


def test_what_a_run_was_asked_for_is_shown_if_it_was_measured(result):
    names = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro", "ms_per_image")
    results = [result(dict.fromkeys(names, 0.5), model=model) for model in ("a", "b")]
    asked = ["pixel_ap", "pixel_f1", "image_ap"]
    for width, left_out in ((120, 0), (44, 2)):
        text = render(results, asked=asked, width=width)
        assert text.count("────\n") == 1
        assert text.count("AP ↑") == 2
        assert (f"{left_out} more columns with --all" in " ".join(text.split())) == (left_out > 0)


def test_parameters_that_all_rows_share_are_below(result):
    shared = {"resize": 224, "layers": ["layer2", "layer3"]}
    results = [result(0.9, params={**shared, "coreset_ratio": ratio}) for ratio in (0.1, 0.01)]
    text = render(results, width=80)
    assert "patchcore(coreset_ratio=0.1)" in text
    assert "parameters: patchcore(resize=224,layers=[layer2,layer3])" in text
    assert "resize" not in text.partition("dataset")[0]
    assert "resize=224" in render(results, format="csv"), "data keeps whole labels"


def test_metrics_are_the_columns_and_the_first_ranks(results):
    text = render(results, metrics=["pixel_auroc", "params"], format="markdown")
    header = [cell.strip() for cell in text.splitlines()[0].split("|")[1:-1]]
    assert header == ["#", "model", "failed", "pixel AUROC ↑", "params ↓"]
    rows = list(csv.DictReader(io.StringIO(render(results, metrics=["params"], format="csv"))))
    assert "pixel_auroc" not in rows[0]
    assert rows[0]["params"] == "1234"


def test_display_names_are_in_labels_and_sentences(results):
    names = {"padim": "PaDiM", "patchcore · knn": "PatchCore (ours)"}
    text = render(results, rows=["method"], columns="category", labels=names, format="markdown")
    assert "| PatchCore (ours)" in text
    assert "| PaDiM · knn" in text
    assert "crop: PaDiM · knn" in text


def test_a_model_with_a_display_name_is_in_the_rows_though_it_is_the_only_one(result):
    rows = [result(0.9, scorer="knn"), result(0.8, scorer="nn"), result(0.7, params={"ratio": 0.1})]
    for some in (rows[:1], rows[:2], rows):
        text = render(some, format="latex", labels={"patchcore": "PatchCore (ours)"})
        body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
        assert body.count("PatchCore (ours)") == len(some)
        assert "PatchCore" not in text.partition(r"\begin{tabular}")[0], "not in the caption too"
    assert "patchcore" not in render(rows[:2], format="latex").partition(r"\midrule")[2]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("options", [{}, {"rows": ["method"]}, {"columns": "category"}])
def test_a_paper_compiles(results, result, tmp_path, options):
    rows = [*results, result(0.7, model="a_b", params={"x": "50% & <c> ~ ^ \\ {d} #"})]
    table = render(rows, format="latex", labels={"padim": "PaDiM (ours)"}, **options)
    assert "PaDiM (ours)" in table
    lines = (r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}")
    (tmp_path / "a.tex").write_text("\n".join([*lines, table, r"\end{document}"]))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "a.pdf").is_file()


def test_a_paper_marks_the_rows_that_tie(result):
    scores = {"a": 0.9, "b": 0.9001, "c": 0.5}
    rows = [
        result(value + 0.001 * number * (-1) ** (number * (model == "b")), model=model, category=c)
        for model, value in scores.items()
        for number, c in enumerate("abcdefgh")
    ]
    text = render(rows, format="latex")
    assert "are a tie at 95\\%" in text
    assert "$^{*}$ not significantly worse than the best" in text
    lines = [line for line in text.splitlines() if line.startswith(("1 ", "3 "))]
    marked = [line for line in lines if "$^{*}$" in line]
    assert [line.split(" & ")[1] for line in marked] in (["a", "b"], ["b", "a"])


def test_results_on_different_images_are_told_apart(result):
    rows = [
        result(0.9, model="a", fingerprint="1111111122222222"),
        result(0.9, model="b", fingerprint="3333333344444444"),
    ]
    text = render(rows, width=120)
    assert "mini [images 11111111]" in text
    assert "mini [images 33333333]" in text
    assert "*" not in text, "neither is the best of anything"
    assert "one data set was run on different images" in text
    assert "One data set was run on different images" in render(rows, format="latex")
    pivot = render(rows, rows=["method"], columns="category", format="markdown")
    assert "**" not in pivot
    assert "**" not in render(rows, rows=["dataset", "model"], format="markdown")
    both = [*rows, result(0.8, model="a", fingerprint="3333333344444444")]
    with pytest.raises(UserError, match="would average over dataset"):
        render(both, rows=["model"], columns="category")


def test_results_that_newer_ones_hide_are_counted(result):
    old = result(0.5, finished="2025-01-02", files=("mine@0123",))
    new = result(0.6, finished="2025-01-03", files=("mine@4567",))
    assert "1 older result is not shown: a newer one" in render([old, new], width=200)
    assert "not shown" not in render([new], width=200)


def test_a_note_of_the_results_is_below_once_with_its_categories(result):
    rows = [
        replace(one, provenance={**one.provenance, "notes": ["3 images are copies"]})
        for one in (result(0.9, category="brick"), result(0.9, category="grass"))
    ]
    assert "mini/brick, mini/grass: 3 images are copies" in render(rows, width=100)


def test_a_paper_has_what_its_reader_should_know_in_the_caption(result):
    row = result(0.9, flags=("unverified weights my_net",))
    row = replace(row, provenance={**row.provenance, "notes": ["3 masks of a_b are 50% grey"]})
    head, _, _ = render([row], format="latex").partition(r"\begin{tabular}")
    assert r"Mini/brick: 3 masks of a\_b are 50\% grey. Unverified weights my\_net.}" in head
    assert "%" not in head.replace(r"\%", "")


@pytest.mark.parametrize("name", ["model", "scorer", "category", "dataset"])
def test_names_are_never_markup(result, name):
    results = [result(0.5, **{name: HOSTILE}), result(None, **{name: HOSTILE}, seed=1)]
    results += [result(0.6, **{name: "plain"}), result(0.7, **{name: "other"})]
    shown = {
        text_format: render(results, format=text_format, per_category=True)
        for text_format in FORMATS
    }
    page = Page(shown["html"])
    assert page.tags == {"table", "thead", "tbody", "tr", "th", "td", "p", "b"} & page.tags
    assert any("<script>alert(1)</script>|a_b & 50%" in cell for row in page.rows for cell in row)
    table = [line for line in shown["markdown"].splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert "<script" not in shown["markdown"]
    assert r"a\_b \& 50\% \#1" in shown["latex"]
    assert not any("\x1b" in shown[text_format] for text_format in FORMATS if text_format != "csv")
    rows = list(csv.DictReader(io.StringIO(shown["csv"])))
    assert HOSTILE in {row[name] for row in rows}


def test_marks_cannot_be_forged():
    table = Table(["name", "value"], [["\ue000x\ue001", "1"]], labels=1)
    assert "textbf" not in table.latex()
    assert "^{*}" not in Table(["name", "value"], [["\ue002x", "1"]], labels=1).latex()


def test_each_failure_is_listed_once(result):
    results = [
        *(result(None, category=c, seed=s) for c in ("grass", "brick") for s in (0, 1)),
        result(None, model="padim"),
        result(0.5),
    ][:-1]
    notes = [line for line in render(results, width=500).splitlines() if "failed: " in line]
    assert len(notes) == 2
    assert notes[0].startswith("failed: padim · knn [brick]: fit: no memory (traceback: trials/")
    assert notes[1].startswith("failed: patchcore · knn [brick, grass]: fit: no memory (trace")


def test_a_flag_names_a_model_instead_of_all_its_rows(result):
    rows = [
        result(0.9, model=model, scorer=scorer, flags=("small",) * (model == "a" or scorer == "x"))
        for model in "abc"
        for scorer in ("x", "y")
        if (model, scorer) != ("c", "x")
    ]
    assert "small: a, b · x" in render(rows).splitlines()


def test_flags_of_all_rows_name_nobody(result):
    lines = render([result(0.5, flags=("size=256",)), result(None, seed=1)]).splitlines()
    assert "maps scored at 256 px" in lines


def test_results_from_a_store(results, tmp_path):
    store = Store(tmp_path)
    for result in results:
        store.write(result)
    assert render(store.read(), store=store.root) == render(results, store=store.root)
    traceback = re.search(r"traceback:\s(\S+)\)", render(store.read(), store=Path(), width=500))
    assert traceback is not None
    assert (tmp_path / traceback[1]).is_file()


def test_nothing_to_show():
    with pytest.raises(UserError, match="no results"):
        render([])
