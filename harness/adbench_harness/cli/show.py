"""``adbench show NAME``: prints everything about a component."""

from __future__ import annotations

import argparse
from typing import Any

from adbench_harness.cli import options
from adbench_harness.errors import UserError, nearest
from adbench_harness.wording import terminal_width, wrapped

SUMMARY = "Show a component: parameters with types, defaults and meaning; paper; license."


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="[KIND:]NAME")
    options.add_plugins(parser)


def handle(given: argparse.Namespace) -> int:
    catalogue = options.loaded(given)
    kind, _, name = given.name.rpartition(":")
    found = [
        offer
        for k, offers in catalogue.offers.items()
        for offer in offers.values()
        if offer.name == name and kind in ("", k)
    ]
    if not found:
        names = [offer.name for offers in catalogue.offers.values() for offer in offers.values()]
        raise UserError(
            f"no component '{given.name}'{nearest(name, names)}; 'adbench list "
            "--components' shows them all"
        )
    print("\n\n".join(_text(offer, catalogue) for offer in found))
    return 0


def _text(offer: Any, catalogue: Any) -> str:
    width = terminal_width()
    lines = [wrapped(f"{offer.kind} {offer.name}: {offer.component.summary}", width, "  ")]
    told = [(key, str(value)) for key, value in facts(offer, catalogue).items() if value]
    told += [("preset", f"{name}: {said}") for name, said in presets(offer).items()]
    lines += [wrapped(f"  {key:<10} {value}", width, " " * 13) for key, value in told]
    rows = parameters(offer)
    if rows:
        lines += ["", options.table(rows)]
    return "\n".join(lines)


def presets(offer: Any) -> dict[str, str]:
    """Each preset's values; the first preset is the default."""
    values = {} if offer.kind in ("metric", "recipe") else offer.component.presets
    return {
        f"{name}{'' if number else ' (default)'}": ", ".join(
            f"{key}={value}" for key, value in values[name].items()
        )
        or "the defaults"
        for number, name in enumerate(values)
    }


def facts(offer: Any, catalogue: Any) -> dict[str, Any]:
    """A component's facts by name; a value is empty if the component does not have it."""
    component = offer.component
    return {
        "plugin": f"{offer.plugin} ({catalogue.plugins[offer.plugin].origin})",
        "version": getattr(component, "version", None),
        "paper": getattr(component, "paper", None),
        "license": getattr(component, "license", None) or _weights_license(component),
        "role": getattr(component, "role", None),
        "layers": ", ".join(getattr(component, "layers", ())),
        **_contract(offer, catalogue),
        **{key: _plain(value) for key, value in getattr(component, "suite", {}).items()},
    }


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _weights_license(component: Any) -> str | None:
    weights = getattr(component, "weights", None)
    return weights.license if weights else None


def _contract(offer: Any, catalogue: Any) -> dict[str, str]:
    """The ports that a model or scorer emits and accepts with its default parameters."""
    if offer.kind not in ("model", "scorer"):
        return {}
    from adbench_harness.planning.components import BrokenError, Components
    from adbench_harness.planning.grammar import Wanted

    components = Components(catalogue)
    try:
        component = components.get(offer.kind, components.resolve(offer.kind, Wanted(offer.name)))
    except BrokenError as error:
        raise UserError(f"{offer.kind} '{offer.name}' is broken: {error}") from None
    said = {
        key: ", ".join(sorted(port.__name__ for port in getattr(component, key, ())))
        for key in ("emits", "accepts")
    }
    if offer.kind == "model":
        spec = component.input
        crop = f", centre {spec.crop} px" if spec.crop else ""
        said["input"] = f"{spec.resize} px ({spec.aspect} aspect){crop}"
        said["protocols"] = ", ".join(sorted(component.protocols))
        said["augmenter"] = component.augmentation
    return said


def parameters(offer: Any) -> list[dict[str, Any]]:
    """One row per parameter: its name, type, default and meaning."""
    if offer.kind in ("metric", "recipe"):
        return []
    from adbench_harness.planning import parameters as signatures

    return [
        {
            "parameter": parameter.name,
            "type": parameter.type,
            "default": "none" if parameter.default is None else str(parameter.default),
            "meaning": parameter.meaning,
        }
        for parameter in signatures.parameters(offer.component).values()
    ]
