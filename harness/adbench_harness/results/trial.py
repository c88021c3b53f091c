"""What is to be run, as plain data: a component and its parameters, a trial, a bundle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

from adbench_harness.types import ProtocolName, Sample

NONE = "none"
NOT_KEPT = "the fitted model was not kept"
"""How the note of a trial begins whose model cannot be stored."""
FLOAT32 = "float32"
SHORTENED = "not the paper's size or schedule"
"""The flag of a row whose model does not run with its paper's size and schedule."""
_YOUNGER = frozenset({"files", "shots", "shot_seed", "validation", "unified"})
"""Fields that are newer than the first stored ids; an id covers them only if they are used."""
_SPECIAL = frozenset(",:+()[]'\"")
_json = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True)
class Choice:
    """A component by name, with its version and every parameter resolved.

    ``params`` are JSON values (a component as a parameter is a Choice as a dict); ``changed``
    names those that differ from the component's defaults, which is what a table shows.
    """

    name: str
    version: int
    params: Mapping[str, Any] = field(default_factory=dict)
    changed: tuple[str, ...] = ()

    def __hash__(self) -> int:
        return hash(self.canonical)

    @property
    def label(self) -> str:
        """``name(parameter=value)`` with the parameters that differ from the defaults."""
        if not self.changed:
            return self.name
        return f"{self.name}({','.join(f'{key}={show(self.params[key])}' for key in self.changed)})"

    def plain(self) -> dict[str, Any]:
        """The choice as JSON values."""
        return {**asdict(self), "changed": list(self.changed)}

    @cached_property
    def canonical(self) -> str:
        """Its canonical JSON: the same text for the same component with the same parameters."""
        return _json(asdict(self))

    @staticmethod
    def of(content: Mapping[str, Any]) -> Choice:
        """The inverse of ``plain``."""
        return Choice(**{**content, "changed": tuple(content["changed"])})


def show(value: Any) -> str:
    """A parameter's value in the grammar of the command line."""
    if isinstance(value, Mapping) and "changed" in value:  # otherwise it is just a mapping
        return Choice.of(value).label
    if isinstance(value, list | tuple):
        return f"[{','.join(map(show, value))}]"
    if isinstance(value, str):
        plain = value == value.strip() != "" and not _SPECIAL & set(value)
        return value if plain else f'"{value}"' if "'" in value else f"'{value}'"
    return NONE if value is None else str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Weights:
    """The weights in use of a backbone, and whether they have the published sha256.

    A backbone that needs no file has neither path nor sha256 and counts as verified. ``precision``
    is the one in which frozen features are computed: "float32" or "bfloat16".
    """

    backbone: str
    version: int
    path: str | None = None
    sha256: str | None = None
    verified: bool = True
    precision: str = FLOAT32

    @cached_property
    def canonical(self) -> str:
        """The canonical JSON of what changes numbers: the content of a file, not its path."""
        content = asdict(self)
        del content["path"]
        # The first stored ids are older than this field.
        if self.precision == FLOAT32:
            del content["precision"]
        return _json(content)

    @property
    def label(self) -> str:
        """The backbone's name, with the precision if it is not float32."""
        written = "" if self.precision == FLOAT32 else f"(precision={self.precision})"
        return self.backbone + written


@dataclass(frozen=True)
class EvaluationSettings:
    """The settings of the evaluation that change numbers.

    ``size`` is the longer side in px at which maps are compared with masks (None: the image's own).
    ``border`` "full" gives the border that the input crop removed the image's lowest score; "crop"
    leaves it out, as most papers do.
    """

    size: int | None = None
    border: str = "full"


@dataclass(frozen=True)
class Trial:
    """One combination with one seed; its ``id`` covers everything that may change its numbers.

    ``protocol`` names what the model may learn from ("unsupervised": normal images only).
    ``shots`` is the number of training images, drawn by ``shot_seed``, or None for all of them;
    ``validation`` the share of the training images that is held out for validation; ``unified``
    says that one model learns all categories.
    """

    dataset: Choice
    category: str
    fingerprint: str
    protocol: ProtocolName
    split_seed: int
    preprocessors: tuple[Choice, ...]
    augmenter: Choice | None
    model: Choice
    scorer: Choice
    weights: tuple[Weights, ...]
    seed: int
    evaluation: EvaluationSettings
    metrics: tuple[str, ...]
    auxiliary: tuple[tuple[str, str], ...] = ()
    files: tuple[str, ...] = ()
    shots: int | None = None
    shot_seed: int = 0
    validation: float = 0.0
    unified: bool = False

    @cached_property
    def id(self) -> str:
        """Sixteen hex digits of the sha256 of the trial's canonical JSON."""
        content = {one.name: getattr(self, one.name) for one in fields(self)}
        # These fields and the name "protocol" are newer than the first ids, which must not change.
        content["split"] = content.pop("protocol")
        for one in fields(self):
            if one.name in _YOUNGER and content[one.name] == one.default:
                del content[one.name]
        parts = (f"{_json(name)}:{_canonical(content[name])}" for name in sorted(content))
        canonical = f"{{{','.join(parts)}}}"
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def preprocessor(self) -> str:
        """The chain's label, ``none`` if it is empty."""
        return "+".join(choice.label for choice in self.preprocessors) or NONE

    @property
    def backbone(self) -> str:
        """The backbones' labels, ``none`` for a model without one."""
        return "+".join(weights.label for weights in self.weights) or NONE

    @property
    def setting(self) -> str:
        """How the model learned, for boards; empty if from all normal images of one category."""
        learned = "" if self.protocol == "unsupervised" else self.protocol
        shots = "" if self.shots is None else f"{self.shots}-shot"
        held = f"{100 * self.validation:g}% held out" if self.validation else ""
        return ", ".join(filter(None, ("unified" if self.unified else "", learned, shots, held)))

    @property
    def drawn(self) -> list[str]:
        """Which split and which draw of shots it learned from, unless they are the first."""
        seeds = {"split": self.split_seed, "draw": self.shot_seed}
        return [f"{name} {seed}" for name, seed in seeds.items() if seed]

    @property
    def title(self) -> str:
        """A title of the trial in one line."""
        parts = [f"{self.dataset.label}/{self.category}", self.preprocessor, self.model.label]
        if self.augmenter:
            parts.insert(2, self.augmenter.label)
        if self.setting:
            parts.insert(1, self.setting)
        return " · ".join([*parts, self.scorer.label, *self.drawn, f"seed {self.seed}"])

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Trial:
        """The inverse of ``asdict`` after a trip through JSON."""
        return Trial(
            **{
                **content,
                **{kind: Choice.of(content[kind]) for kind in ("dataset", "model", "scorer")},
                "augmenter": content["augmenter"] and Choice.of(content["augmenter"]),
                "preprocessors": tuple(map(Choice.of, content["preprocessors"])),
                "weights": tuple(Weights(**weights) for weights in content["weights"]),
                "metrics": tuple(content["metrics"]),
                "evaluation": EvaluationSettings(**content["evaluation"]),
                "files": tuple(content["files"]),
                "auxiliary": tuple(
                    (name, fingerprint) for name, fingerprint in content["auxiliary"]
                ),
            }
        )


def _canonical(value: Any) -> str:
    """The canonical JSON of a trial's field; that of components is made once for all trials."""
    if isinstance(value, Choice | Weights):
        return value.canonical
    if isinstance(value, tuple) and isinstance(next(iter(value), None), Choice | Weights):
        return f"[{','.join(item.canonical for item in value)}]"
    return _json(asdict(value) if isinstance(value, EvaluationSettings) else value)


@dataclass(frozen=True)
class Bundle:
    """Trials that share images and preprocessors: what an engine schedules.

    A bundle is plain data, so that any process can run it. ``samples`` are the images under
    ``root``, and ``categories`` has the category of each sample (several if one model learns them
    all). ``chains`` are the other chains of preprocessors that the run applies to these images.
    ``notes`` are what a reader should know of each category's files. ``unsplit`` has the
    fingerprint of each category in the split with the seed 0, if this is another. ``deterministic``
    allows only algorithms that give the same bits each time.
    """

    plugins: tuple[str, ...]
    root: str
    trials: tuple[Trial, ...]
    samples: tuple[Sample, ...] = field(repr=False)
    categories: tuple[str, ...] = field(repr=False)
    device: str = "auto"
    deterministic: bool = False
    keep_maps: bool = False
    keep_models: bool = False
    checkpoints: str | None = None
    auxiliary: tuple[tuple[str, str], ...] = ()
    chains: tuple[tuple[Choice, ...], ...] = ()
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unsplit: Mapping[str, str] = field(default_factory=dict)
    suspect: bool = False

    @property
    def title(self) -> str:
        """A title of the bundle in one line."""
        first = self.trials[0]
        category = "all categories" if first.unified else first.category
        return " · ".join([f"{first.dataset.label}/{category}", *first.drawn, first.preprocessor])
