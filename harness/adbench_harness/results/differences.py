"""In which respects two trials differ whose components have the same names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from adbench_harness.results.trial import Choice, Trial, show


def components(trial: Trial) -> Iterator[Choice]:
    """The trial's components in the order of their work."""
    yield from (trial.dataset, *trial.preprocessors)
    yield from (trial.augmenter,) if trial.augmenter else ()
    yield from (trial.model, trial.scorer)


def changed_values(old: Trial, new: Trial) -> Iterator[str]:
    """Values of parameters, backbones, and settings of the evaluation; additions do not count."""
    for before, now in _pairs(old, new):
        for key, value in before.params.items():
            other = now.params.get(key)
            if value != other and not _same_component(value, other):
                yield f"{key} of {before.name}: {show(value)} → {show(other)}"
    if old.backbone != new.backbone:
        yield f"backbone: {old.backbone} → {new.backbone}"
    for name, value in asdict(old.evaluation).items():
        now_value = getattr(new.evaluation, name)
        if value != now_value:
            yield f"evaluation {name}: {show(value)} → {show(now_value)}"


def changed_versions(old: Trial, new: Trial) -> Iterator[str]:
    """Versions of components, of backbones, and of metrics that both have."""
    for before, now in _pairs(old, new):
        if before.version != now.version:
            yield f"version of {before.name}: {before.version} → {now.version}"
    for used, other in zip(old.weights, new.weights, strict=False):
        if used.backbone == other.backbone and used.version != other.version:
            yield f"version of {used.backbone}: {used.version} → {other.version}"
    measured = dict(name.split("@") for name in new.metrics)
    for name, version in (metric.split("@") for metric in old.metrics):
        if version != measured.get(name, version):
            yield f"version of {name}: {version} → {measured[name]}"


def changed_materials(old: Trial, new: Trial) -> Iterator[str]:
    """The images, and the files of weights."""
    if old.fingerprint != new.fingerprint:
        images = f"{old.dataset.name}/{old.category}"
        yield f"images of {images}: {_print(old.fingerprint)} → {_print(new.fingerprint)}"
    prints = dict(new.auxiliary)
    for name, found in old.auxiliary:
        if found != prints.get(name):
            yield f"images of {name}: {_print(found)} → {_print(prints.get(name))}"
    for used, other in zip(old.weights, new.weights, strict=False):
        if used.backbone == other.backbone and used.sha256 != other.sha256:
            yield f"weights of {used.backbone}: {_print(used.sha256)} → {_print(other.sha256)}"


def _pairs(old: Trial, new: Trial) -> Iterator[tuple[Choice, Choice]]:
    """The components of the same name, also those that are parameters of others."""
    for before, now in zip(components(old), components(new), strict=False):
        if before.name == now.name:
            yield from _nested(before, now)


def _nested(old: Choice, new: Choice) -> Iterator[tuple[Choice, Choice]]:
    yield old, new
    for key, value in old.params.items():
        if _same_component(value, new.params.get(key)):
            yield from _nested(Choice.of(value), Choice.of(new.params[key]))


def _same_component(value: object, other: object) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(other, Mapping)
        and "changed" in value
        and value.get("name") == other.get("name")
    )


def _print(text: str | None) -> str:
    return (text or "none")[:8]
