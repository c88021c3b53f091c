"""AFPS: defect types from the patches around the most anomalous one.

Ono and Meng, "Anomaly-Focused Patch Selection" on KolektorSDD2. The paper leaves much open; the
README states each assumption.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from adbench_afps.selection import draw_distinct, gaussian_weights
from adbench_afps.subsets import Subset, SubsetOutputs
from adbench_afps.vit import WIDTH, PatchViT, sincos
from adbench_harness.errors import UserError
from adbench_harness.nn.maps import upsample
from adbench_harness.nn.training import drawn_from
from adbench_harness.types import (
    GOOD,
    Batch,
    Checkpoint,
    DefectLogits,
    Model,
    Outputs,
    PatchEmbeddings,
    ProtocolName,
    Scorer,
    Tools,
    TrainSet,
)

SAVE_EVERY = 10  # epochs


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {"epochs": 60},
    # The paper gives no schedule; this one is long enough to converge.
    "paper": {},
    "smoke": {"epochs": 2},
}


class Candidates(NamedTuple):
    """All patches of some images: tokens [B, cells, 64], and log-weights [B, cells] for drawing."""

    tokens: Tensor
    weights: Tensor


class AFPS(Model):
    """A detector finds the worst patch, a ViT classifies the defect from patches drawn around it.

    The detector is any model with patch embeddings whose ports the scorer accepts. It learns from
    the normal training images, the classifier (Adam, 1e-3, cosine schedule) from the defective
    ones. Embeddings wider than 64 are reduced to a fixed random subset of 64 dimensions; narrower
    ones are padded with zeros. Patches are drawn again in every epoch, and in ``predict`` from the
    image's seed.
    """

    name: ClassVar[str] = "afps"
    summary: ClassVar[str] = "Defect types: a small ViT on patches drawn around the worst one."
    paper: ClassVar[str | None] = "Ono and Meng, Anomaly-Focused Patch Selection (KolektorSDD2)"
    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    check_parameters: ClassVar[Mapping[str, Any]] = {
        **PRESETS["smoke"],
        "detector": "padim(dimensions=32,resize=64,crop=none)",
    }
    emits: frozenset[type] = frozenset({DefectLogits})
    protocols: frozenset[ProtocolName] = frozenset({"classification"})

    def __init__(
        self,
        *,
        detector: Annotated[
            Model, "the model whose embeddings are classified"
        ] = "padim(dimensions=64)",  # type: ignore[assignment]
        scorer: Annotated[Scorer, "the scorer whose map selects the worst patch"] = "mahalanobis",  # type: ignore[assignment]
        patches: Annotated[
            int, Field(ge=1, description="patches drawn from an image, N; all if there are fewer")
        ] = 100,
        sd: Annotated[
            float,
            Field(gt=0, le=1, description="spread around the worst patch, fraction of a grid side"),
        ] = 0.20,
        selection: Annotated[
            Literal["afps", "random"], "around the worst patch, or anywhere (the baseline)"
        ] = "afps",
        positions: Annotated[
            Literal["none", "sincos"], "whether tokens contain their position in the grid"
        ] = "none",
        epochs: Annotated[int, Field(ge=1, description="passes over the defective images")] = 200,
        batch: Annotated[int, Field(ge=1, description="images per step of the classifier")] = 16,
    ) -> None:
        missing = ({PatchEmbeddings} | scorer.accepts) - detector.emits
        if missing:
            names = ", ".join(sorted(port.__name__ for port in missing))
            raise ValueError(
                f"detector '{detector.name}' does not emit {names}, which afps with scorer "
                f"'{scorer.name}' needs; choose a scorer that fits the detector"
            )
        if "unsupervised" not in detector.protocols:
            raise ValueError(f"detector '{detector.name}' cannot learn from only normal images")
        self.detector = detector
        self.scorer = scorer
        self.input = detector.input
        self.feature_requests = detector.feature_requests
        self.augmentation = detector.augmentation
        self.patches = patches
        self.sd = sd
        self.selection = selection
        self.positions = positions
        self.epochs = epochs
        self.batch = batch

    def fit(self, train: TrainSet, tools: Tools) -> AFPS:
        """Fit the detector on the normal images, then the classifier on the defective ones."""
        normal, defective = Subset(train, normal=True), Subset(train, normal=False)
        if not len(normal) or not len(defective):
            raise UserError(
                f"afps: {len(normal)} normal and {len(defective)} defective training images; it "
                "needs both"
            )
        states: dict[str, Any] = tools.checkpoint.load() or {}
        self.detector.fit(
            normal, replace(tools, checkpoint=_Section(tools.checkpoint, states, "detector"))
        )
        with torch.no_grad():
            self.scorer.fit(SubsetOutputs(self.detector, normal), tools.generator)
            first = self.detector.predict(next(defective.batches(1)))[PatchEmbeddings]
            depth = first.levels[0].values.shape[3]
            chosen = torch.randperm(depth, generator=tools.generator)[:WIDTH].sort().values
            self.channels = chosen.to(tools.device)
            seen = [self._candidates(batch) for batch in defective.batches()]
        candidates = Candidates(*(torch.cat(part) for part in zip(*seen, strict=True)))
        self.classes = tuple(name for name in train.classes if name != GOOD)
        own = torch.tensor([self.classes.index(n) if n != GOOD else -1 for n in train.classes])
        labels = own.to(tools.device)[
            torch.cat([b.classes for b in defective.batches() if b.classes is not None])
        ]
        self.network = _network(len(self.classes), tools)
        checkpoint = _Section(tools.checkpoint, states, "classifier")
        self._train(candidates, labels, replace(tools, checkpoint=checkpoint))
        return self

    def predict(self, batch: Batch) -> Outputs:
        """Logits [B, C] of the defect types; an image's patches are drawn from its own seed."""
        height, width = batch.images.shape[-2:]
        candidates = self._candidates(batch)
        noise = torch.stack(
            [
                _exponential(1, candidates, torch.Generator().manual_seed(int(seed)))[0]
                for seed in batch.seeds
            ]
        )
        logits = self.network(self._drawn(candidates, noise))
        return Outputs((height, width), DefectLogits(logits, self.classes))

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> None:
        """The classifier, before its weights are loaded."""
        self.network = PatchViT(len(state["classes"])).to(tools.device)

    # ------------------------------------------------------------ patches

    def _candidates(self, batch: Batch) -> Candidates:
        """The finest level's patches as tokens, with the log-weight of each."""
        outputs = self.detector.predict(batch)
        level = outputs[PatchEmbeddings].levels[0]
        height, width = level.values.shape[1:3]
        tokens = level.values[..., self.channels].flatten(1, 2)
        tokens = functional.pad(tokens, (0, WIDTH - len(self.channels)))
        if self.positions == "sincos":
            tokens = tokens + sincos(height, width).to(tokens.device)
        if self.selection == "random":
            weights = torch.zeros(tokens.shape[:2], dtype=torch.float64, device=tokens.device)
        else:
            worst = self._scores(outputs).flatten(1).argmax(1)
            weights = gaussian_weights(worst, (height, width), self.sd)
        if level.valid is not None:
            weights = weights.masked_fill(~level.valid.flatten(), -torch.inf)
        return Candidates(tokens, weights)

    def _scores(self, outputs: Outputs) -> Tensor:
        """The map's highest value in each cell of the finest level, [B, h, w]."""
        maps = self.scorer.score(outputs).map
        if maps is None:
            raise UserError(
                f"afps: scorer '{self.scorer.name}' gives no map in which to find the worst patch; "
                "choose one that does"
            )
        level = outputs[PatchEmbeddings].levels[0]
        top, left, bottom, right = level.box or (0, 0, *outputs.input_size)
        seen = upsample(maps, outputs.input_size)[:, top:bottom, left:right]
        height, width = level.values.shape[1:3]
        cells = functional.adaptive_max_pool2d(seen, (height, width))
        return cells if level.valid is None else cells.masked_fill(~level.valid, -torch.inf)

    def _drawn(self, candidates: Candidates, noise: Tensor) -> Tensor:
        """The tokens [B, N, 64] of distinct patches that ``noise`` [B, cells] draws."""
        tokens, weights = candidates
        places = draw_distinct(weights, noise, self.patches)
        return tokens.gather(1, places[:, :, None].expand(-1, -1, WIDTH))

    # ------------------------------------------------------------ training

    def _train(self, candidates: Candidates, labels: Tensor, tools: Tools) -> None:
        """Adam with a cosine schedule; resumes from a checkpoint with identical results."""
        optimiser = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.epochs)
        parts: dict[str, Any] = {
            "network": self.network,
            "optimiser": optimiser,
            "schedule": schedule,
        }
        done = 0
        if state := tools.checkpoint.load():
            done = state["epoch"]
            tools.generator.set_state(state["generator"])
            for name, part in parts.items():
                part.load_state_dict(state[name])
        self.network.train()
        for epoch in range(done + 1, self.epochs + 1):
            order = torch.randperm(len(labels), generator=tools.generator).to(labels.device)
            noise = _exponential(len(labels), candidates, tools.generator)
            total = 0.0
            for places in torch.split(order, self.batch):
                some = Candidates(*(part[places] for part in candidates))
                logits = self.network(self._drawn(some, noise[places]))
                loss = functional.cross_entropy(logits, labels[places])
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                total += float(loss.detach()) * len(places)
            schedule.step()
            tools.log("classifier loss", total / len(labels))
            tools.progress(epoch, self.epochs)
            if epoch % SAVE_EVERY == 0:
                state = {name: part.state_dict() for name, part in parts.items()}
                tools.checkpoint.save(
                    {**state, "epoch": epoch, "generator": tools.generator.get_state()}
                )
        self.network.eval()


class _Section:
    """The state under one name in a checkpoint that several trainings share."""

    def __init__(self, whole: Checkpoint, states: dict[str, Any], name: str) -> None:
        self.whole = whole
        self.states = states
        self.name = name

    def load(self) -> dict[str, Any] | None:
        return self.states.get(self.name)

    def save(self, state: Mapping[str, Any]) -> None:
        self.states[self.name] = dict(state)
        self.whole.save(self.states)


def _network(classes: int, tools: Tools) -> nn.Module:
    """The classifier with initial weights that depend only on the trial's generator."""
    with drawn_from(tools.generator):
        return PatchViT(classes).to(tools.device)


def _exponential(count: int, like: Candidates, generator: torch.Generator) -> Tensor:
    """Exponential noise [count, cells], drawn on the CPU so that every device gets the same."""
    noise = torch.empty(count, like.weights.shape[1], dtype=torch.float64)
    return noise.exponential_(generator=generator).to(like.weights.device)
