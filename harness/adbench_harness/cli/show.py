"""``adbench show NAME``: everything about a component."""

from __future__ import annotations

import argparse
from typing import Any

from adbench_harness.cli import options
from adbench_harness.errors import UserError, nearest

SUMMARY = "Show a component: parameters with types, defaults and meaning; paper; licence."


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
    component = offer.component
    facts = {
        "plugin": f"{offer.plugin} ({catalogue.plugins[offer.plugin].origin})",
        "version": getattr(component, "version", None),
        "paper": getattr(component, "paper", None),
        "licence": getattr(component, "licence", None) or _weights_licence(component),
        "role": getattr(component, "role", None),
        "layers": ", ".join(getattr(component, "layers", ())),
    }
    lines = [f"{offer.kind} {offer.name}: {component.summary}"]
    lines += [f"  {key:<10} {value}" for key, value in facts.items() if value]
    lines += _contract(offer, catalogue)
    for number, (name, values) in enumerate(getattr(component, "presets", {}).items()):
        said = ", ".join(f"{key}={value}" for key, value in values.items()) or "the defaults below"
        default = "" if number else " (where none is named)"
        lines.append(f"  {'' if number else 'presets':<10} {name}{default}: {said}")
    parameters = _parameters(offer)
    if parameters:
        lines += ["", options.table(parameters)]
    return "\n".join(lines)


def _weights_licence(component: Any) -> str | None:
    weights = getattr(component, "weights", None)
    return weights.licence if weights else None


def _contract(offer: Any, catalogue: Any) -> list[str]:
    """What a model or scorer emits and accepts, as its defaults have it."""
    if offer.kind not in ("model", "scorer"):
        return []
    from adbench_harness import parameters
    from adbench_harness.grammar import Wanted

    choice = parameters.resolve(catalogue, offer.kind, Wanted(offer.name))
    component = parameters.build(catalogue, offer.kind, choice)
    ports = {"emits": getattr(component, "emits", ()), "accepts": getattr(component, "accepts", ())}
    lines = [
        f"  {key:<10} {', '.join(sorted(port.__name__ for port in value))}"
        for key, value in ports.items()
        if value
    ]
    if offer.kind == "model":
        spec = component.input
        crop = f", centre {spec.crop} px" if spec.crop else ""
        lines.append(f"  {'input':<10} {spec.resize} px ({spec.aspect} aspect){crop}")
        lines.append(f"  {'splits':<10} {', '.join(sorted(component.protocols))}")
        lines.append(f"  {'augmenter':<10} {component.augmentation}")
    return lines


def _parameters(offer: Any) -> list[dict[str, Any]]:
    if offer.kind in ("metric", "recipe"):
        return []
    from adbench_harness.parameters import parameters

    return [
        {
            "parameter": parameter.name,
            "type": parameter.type,
            "default": "none" if parameter.default is None else str(parameter.default),
            "meaning": parameter.meaning,
        }
        for parameter in parameters(offer.component).values()
    ]
