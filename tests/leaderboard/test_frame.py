from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adbench_harness.errors import UserError
from adbench_harness.leaderboard.columns import KEYS, METRICS
from adbench_harness.leaderboard.frame import aggregate, frame, measured, method, summarise
from adbench_harness.results.trial import Choice, EvaluationSettings, Weights

CSV_COLUMNS = (
    "dataset,category,preprocessor,augmenter,model,scorer,backbone,device,seeds,failed,"
    "image_auroc,image_auroc_std,image_ap,image_ap_std,image_f1,image_f1_std,"
    "pixel_auroc,pixel_auroc_std,pixel_ap,pixel_ap_std,pixel_f1,pixel_f1_std,"
    "aupro,aupro_std,aupro_005,aupro_005_std,accuracy,accuracy_std,"
    "macro_recall,macro_recall_std,macro_precision,macro_precision_std,macro_f1,macro_f1_std,"
    "params,flops,fit_seconds,fit_seconds_std,ms_per_image,ms_per_image_std,"
    "ms_per_image_batched,ms_per_image_batched_std,peak_mb,peak_mb_std"
)


def test_a_row_holds_the_trial(result):
    row = frame(
        [
            result(
                {"image_auroc": 0.5, "zeta": 1, "alpha": 2},
                preprocessors=("bgfilter", "blur"),
                augmenter="cutpaste",
                params={"backbone": "resnet18", "coreset_ratio": 0.1},
                backbone="resnet18",
                flags=("unverified",),
                seed=3,
            )
        ]
    ).iloc[0]
    assert row[list(KEYS)].tolist() == [
        "mini",
        "brick",
        "bgfilter+blur",
        "cutpaste",
        "patchcore(coreset_ratio=0.1)",
        "knn",
        "resnet18",
        "cpu",
    ]
    assert (row.seed, row.split_seed, row.status) == (3, 0, "ok")
    assert row["flags"] == ("unverified",)
    assert row.index[-len(METRICS) - 2 :].tolist() == [*METRICS, "alpha", "zeta"]
    assert row.image_auroc == 0.5
    assert math.isnan(row.pixel_auroc)


def test_what_is_absent_is_none(result):
    row = frame([result(0.5, weights=())]).iloc[0]
    assert (row.preprocessor, row.augmenter, row.backbone) == ("none", "none", "none")


@pytest.mark.parametrize(
    ("change", "axis", "labels"),
    [
        ({"model": Choice("patchcore", 2)}, "model", ["patchcore [v1]", "patchcore [v2]"]),
        ({"scorer": Choice("knn", 2)}, "scorer", ["knn [v1]", "knn [v2]"]),
        (
            {"protocol": "classification"},
            "dataset",
            ["mini [unsupervised]", "mini [classification]"],
        ),
        (
            {"evaluation": EvaluationSettings(border="crop")},
            "dataset",
            ["mini [border scored]", "mini [cropped border left out]"],
        ),
        (
            {"evaluation": EvaluationSettings(size=256)},
            "dataset",
            ["mini [maps scored at full size]", "mini [maps scored at 256 px]"],
        ),
        (
            {"fingerprint": "0123456789abcdef"},
            "dataset",
            ["mini [images ffffffff]", "mini [images 01234567]"],
        ),
        (
            {"metrics": ("image_auroc@2",)},
            "dataset",
            ["mini [image_auroc v1]", "mini [image_auroc v2]"],
        ),
        (
            {"weights": (Weights("embedded", 1, "/w", "abcdef0123456789"),)},
            "backbone",
            ["embedded [weights none]", "embedded [weights abcdef01]"],
        ),
    ],
)
def test_what_one_label_would_hide_is_told_apart(result, change, axis, labels):
    # Under another seed, so that nothing but the label keeps the two from being averaged.
    first, second = result(0.5), result(0.7, seed=1)
    table = frame([first, replace(second, trial=replace(second.trial, **change))])
    assert table[axis].tolist() == labels
    assert table.drop(columns=axis)[[key for key in KEYS if key != axis]].nunique().max() == 1


def test_what_a_fit_chose_is_in_the_label_and_is_a_parameter(result):
    params = {"embedding": "auto", "ratio": 0.1}
    one = replace(result(0.5, params=params), chosen={"embedding": "means", "dimension": 384})
    other = replace(result(0.7, params=params, backbone="wide"), chosen={"embedding": "pooled"})
    table = frame([one, other])
    assert table["model"].tolist() == [
        "patchcore(embedding=means,ratio=0.1,dimension=384)",
        "patchcore(embedding=pooled,ratio=0.1)",
    ]
    table = frame([one, other], ["embedding", "dimension"])
    assert table["model"].tolist() == ["patchcore(ratio=0.1)"] * 2
    assert table["embedding"].tolist() == ["means", "pooled"]
    assert table["dimension"].tolist() == ["384", "none"]


def test_a_failed_trial_stays_in_the_row_of_its_model(result):
    ran = replace(result(0.5), chosen={"dimension": 384})
    failed, elsewhere = result(category="grass"), result(category="grass", backbone="wide")
    table = frame([failed, ran, elsewhere])
    assert table["model"].tolist() == ["patchcore(dimension=384)"] * 2 + ["patchcore"]


def test_of_twins_the_last_to_finish_counts(result):
    old = result(0.5, files=("mine@0123",), finished="2025-01-02T00:00:00Z")
    new = result(0.7, files=("mine@4567",), finished="2025-01-03T00:00:00Z")
    table = frame([new, result(0.1, category="grass"), old])
    assert table["image_auroc"].tolist() == [0.7, 0.1]
    assert table.index.tolist() == [0, 1]
    assert table["hides"].tolist() == [1, 0]


def test_a_broken_model_leaves_the_table_once_it_ran(result):
    broken = result(None, scorer="none", finished="2025-01-02T00:00:00Z")
    repaired = result(0.7, finished="2025-01-03T00:00:00Z")
    assert frame([broken, repaired])["status"].tolist() == ["ok"]
    again = result(None, scorer="none", finished="2025-01-04T00:00:00Z")
    assert frame([repaired, again])["status"].tolist() == ["ok", "failed"]
    elsewhere = result(0.7, category="grass", finished="2025-01-03T00:00:00Z")
    assert frame([broken, elsewhere])["status"].tolist() == ["failed", "ok"]


def test_a_failure_without_a_device_joins_its_combination(result):
    table = frame([result(0.5, device="H100"), result(None, device=None, category="grass")])
    assert table["device"].tolist() == ["H100", "H100"]
    assert frame([result(None, device=None)])["device"].tolist() == ["unknown"]


def test_csv_columns_are_fixed_and_in_order(result):
    table = aggregate(frame([result({"image_auroc": 0.5, "zeta": 1.0, "alpha": 2.0})]))
    assert ",".join(table.columns) == f"{CSV_COLUMNS},alpha,alpha_std,zeta,zeta_std"
    assert ",".join(aggregate(frame([result(None)])).columns) == CSV_COLUMNS


def test_aggregate_by_hand(result):
    costs = {"params": 24_900_000.0, "flops": 11_400_000_000.0}
    table = aggregate(
        frame(
            [
                result({"image_auroc": 0.90, **costs}),
                result({"image_auroc": 0.94, **costs}, seed=1),
                result(None, seed=2),
                result(0.5, category="grass"),
                result(None, category="gravel"),
            ]
        )
    ).set_index("category")
    brick, grass, gravel = (table.loc[name] for name in ("brick", "grass", "gravel"))
    assert (brick.seeds, brick.failed) == (2, 1)
    assert brick.image_auroc == pytest.approx(0.92)
    assert brick.image_auroc_std == pytest.approx(0.04 / math.sqrt(2))
    assert (grass.seeds, grass.failed, grass.image_auroc) == (1, 0, 0.5)
    assert math.isnan(grass.image_auroc_std)
    assert (gravel.seeds, gravel.failed) == (0, 1)
    assert math.isnan(gravel.image_auroc)
    text = table.to_csv()
    assert ",24900000,11400000000," in text


trials = st.lists(
    st.tuples(
        st.sampled_from(["patchcore", "padim"]),
        st.sampled_from(["brick", "grass", "gravel"]),
        st.integers(0, 2),
        st.none() | st.floats(0, 1),
    ),
    min_size=1,
    unique_by=lambda trial: trial[:3],
)


@settings(max_examples=40, deadline=None)
@given(trials)
def test_aggregate_is_the_naive_one(result, drawn):
    table = aggregate(
        frame([result(value, model=m, category=c, seed=s) for m, c, s, value in drawn])
    )
    groups = defaultdict(list)
    for model, category, _, value in drawn:
        groups[model, category].append(value)
    assert len(table) == len(groups)
    for row in table.itertuples():
        values = groups[row.model, row.category]
        ran = [value for value in values if value is not None]
        assert (row.seeds, row.failed) == (len(ran), len(values) - len(ran))
        mean = statistics.mean(ran) if ran else math.nan
        spread = statistics.stdev(ran) if len(ran) > 1 else math.nan
        assert row.image_auroc == pytest.approx(mean, nan_ok=True)
        assert row.image_auroc_std == pytest.approx(spread, nan_ok=True, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(trials)
def test_summary_is_the_naive_one(result, drawn):
    results = [result(value, model=m, category=c, seed=s) for m, c, s, value in drawn]
    summary = summarise(frame(results), ["model"])
    categories = {category for _, category, _, _ in drawn}
    for model in {model for model, *_ in drawn}:
        cells = defaultdict(dict)
        for m, category, seed, value in drawn:
            if m == model and value is not None:
                cells[category][seed] = value
        means = [statistics.mean(seeds.values()) for seeds in cells.values()]
        mean = statistics.mean(means) if means else math.nan
        complete = [
            statistics.mean(seeds[seed] for seeds in cells.values())
            for seed in range(3)
            if cells and all(seed in seeds for seeds in cells.values())
        ]
        spread = statistics.stdev(complete) if len(complete) > 1 else math.nan
        assert summary.mean.image_auroc[model] == pytest.approx(mean, nan_ok=True)
        assert summary.spread.image_auroc[model] == pytest.approx(spread, nan_ok=True, abs=1e-9)
        assert summary.seen.image_auroc[model] == len(cells)
        assert summary.total[model] == len(categories)
        assert summary.whole.image_auroc[model] == (len(cells) == len(categories))


def test_a_metric_that_a_category_cannot_have_is_not_missed(result):
    both = {"image_auroc": 0.5, "pixel_auroc": 0.6}
    summary = summarise(
        frame(
            [
                *(result({"image_auroc": 0.5}, model=m, category="a") for m in ("x", "y")),
                *(result(both, model=m, category="b") for m in ("x", "y")),
                result(both, model="x", category="c"),
                result(None, model="y", category="c"),
            ]
        ),
        ["model"],
    )
    assert summary.seen.pixel_auroc.to_dict() == {"x": 2, "y": 1}
    assert summary.whole.pixel_auroc.to_dict() == {"x": True, "y": False}


def test_measured_suggests_what_there_is(result):
    table = frame([result({"image_auroc": 0.5, "aupro": 0.1}), result(None, seed=1)])
    assert measured(table) == ["image_auroc", "aupro"]
    with pytest.raises(UserError, match=r"'pixel_ap'.*image_auroc, aupro"):
        measured(table, ["pixel_ap"])


def test_method_names_what_varies(result):
    table = frame(
        [result(0.5), result(0.5, preprocessors=("bgfilter",)), result(0.5, device="H100")]
    )
    assert method(table).tolist() == [
        "patchcore · knn · cpu",
        "bgfilter · patchcore · knn · cpu",
        "patchcore · knn · H100",
    ]
    assert method(table, but="preprocessor").tolist()[1] == "patchcore · knn · cpu"
