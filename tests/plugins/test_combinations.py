"""Every model runs with every component that suits it, from one command."""

from __future__ import annotations

from pathlib import Path

import pytest

from adbench_harness.cli import main
from adbench_harness.planning import plugins
from adbench_harness.results.store import Store
from adbench_harness.testing.common import make
from adbench_harness.types import PatchEmbeddings, Port, Reconstruction
from installed import in_tree

EMBEDDINGS = {
    "cfa": "preset=smoke:resize=64:crop=none",
    "padim": "dimensions=16:resize=64:crop=none",
    "patchae": "preset=smoke:resize=64:crop=none",
    "patchcore": "resize=64:crop=none",
    "patchcore-ensemble": "members=[efficientnet_lite0/layer1,efficientnet_lite0/layer2/layer3]"
    ":resize=64:crop=none",
    "patchsvdd": "preset=smoke:passes=1",
}
RECONSTRUCTIONS = {
    "intra": "preset=smoke:epochs=2",
    "l2-ae": "preset=smoke:epochs=1:samples=1",
    "riad": "preset=smoke:epochs=1",
    "ssim-ae": "preset=smoke:epochs=1:samples=1",
    "vae-grad": "preset=smoke:epochs=1:samples=1",
}


# The models of afps are classifiers, and tiled runs another plugin's model and scorer.
PLUGINS = [name for name in in_tree() if name not in ("afps", "tiled")]


@pytest.mark.parametrize(
    ("port", "small", "count"),
    [(PatchEmbeddings, EMBEDDINGS, 21), (Reconstruction, RECONSTRUCTIONS, 20)],
)
def test_every_model_with_every_scorer(
    port: type[Port], small: dict[str, str], count: int, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    catalogue = plugins.load(PLUGINS)
    models, scorers = (
        {
            offer.name: make(offer.component)
            for offer in catalogue.offers[kind].values()
            if port in getattr(make(offer.component), ports)
        }
        for kind, ports in (("model", "emits"), ("scorer", "accepts"))
    )
    assert set(models) == set(small)
    words = [
        *("run", "--plugins", ",".join(PLUGINS), "--datasets", "mini/grass"),
        *("--preprocessors", "none", "--augmenters", "none", "--backbone", "efficientnet_lite0"),
        *("--models", ",".join(f"{name}:{params}" for name, params in small.items())),
        # Where a bank has all training patches, nn-ensemble needs held-out images for its scale.
        *("--validation", "0.2", "--scorers", ",".join(scorers)),
        *("--metrics", "image_auroc,pixel_auroc"),
        *("--engine", "inline", "--device", "cpu", "--out", str(tmp_path)),
    ]
    assert main(words) == 0, capsys.readouterr().err
    found = {(r.trial.model.name, r.trial.scorer.name): r.status for r in Store(tmp_path).read()}
    assert found == {
        (model, scorer): "ok"
        for model, made in models.items()
        for scorer, takes in scorers.items()
        if takes.accepts <= made.emits
    }
    assert len(found) >= count


def test_every_model_of_pseudo_anomalies_with_augmenters_of_other_papers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalogue = plugins.load(["draem", "cutpaste", "patchgrid"])
    models = [
        offer.name
        for offer in catalogue.offers["model"].values()
        if make(offer.component).augmentation == "required"
    ]
    augmenters = ["perlin", "superpixel", "patchgrid", "cutpaste"]
    words = [
        *("run", "--plugins", "draem,cutpaste,patchgrid", "--datasets", "mini/grass"),
        *("--preprocessors", "none", "--augmenters", ",".join(augmenters)),
        *("--models", ",".join(f"{name}:preset=smoke" for name in models)),
        *("--scorers", "map,image-mahalanobis", "--metrics", "image_auroc"),
        *("--engine", "inline", "--device", "cpu", "--out", str(tmp_path)),
    ]
    assert main(words) == 0, capsys.readouterr().err
    results = Store(tmp_path).read()
    found = {(r.trial.augmenter.name, r.trial.model.name): r.status for r in results}
    assert set(models) == {"draem", "cutpaste", "twostage", "twostage-stage1"}
    assert found == {(augmenter, model): "ok" for augmenter in augmenters for model in models}
