"""Finds plugins by their entry points, loads the named ones, and records their components."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pluggy

from adbench_harness import hookspecs
from adbench_harness.errors import (
    ContractError,
    NotInstalled,
    UserError,
    interrupted,
    nearest,
    said,
)
from adbench_harness.planning import witness
from adbench_harness.planning.declarations import completed
from adbench_harness.types import COMPONENTS, NEEDS, UNITS

if TYPE_CHECKING:
    from adbench_harness.types import Metric, Reported

BASIC: Final = "basic"
KINDS: Final = (
    "dataset",
    "preprocessor",
    "augmenter",
    "model",
    "scorer",
    "metric",
    "backbone",
    "recipe",
)
RESERVED: Final = frozenset(
    {"dataset", "category", "preprocessor", "augmenter", "model", "scorer", "backbone", "device"}
    | {"seed", "split_seed", "seeds", "failed", "status", "flags", "method", "params", "flops"}
    | {"fit_seconds", "ms_per_image", "ms_per_image_batched", "peak_mb"}
)
_NAME = re.compile(r"[a-z0-9][a-z0-9_.%-]*")


@dataclass(frozen=True)
class Plugin:
    """A plugin that can be loaded: its name, and the distribution (or the file) that offers it."""

    name: str
    distribution: str
    version: str
    load: Any

    @property
    def origin(self) -> str:
        """The origin that messages name: the distribution with its version, or the file's path."""
        return self.distribution if self.is_file else f"{self.distribution} {self.version}"

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"plugin '{self.name}' of {self.origin}"

    @property
    def is_file(self) -> bool:
        """Whether it is a single file, whose version is the beginning of its sha256."""
        return self.distribution.endswith(".py")


@dataclass(frozen=True)
class Offer:
    """A component (a class, Metric or Recipe) and the name of the plugin that provides it."""

    kind: str
    component: Any
    plugin: str

    @property
    def name(self) -> str:
        return str(self.component.name)


@dataclass(frozen=True)
class Catalogue:
    """The loaded plugins and what they provide; ``named`` are those that the user named.

    ``broken`` are those that the user named and that are left out, each with a line that says why.
    """

    named: tuple[str, ...]
    plugins: Mapping[str, Plugin]
    offers: Mapping[str, Mapping[str, Offer]]
    manager: pluggy.PluginManager
    broken: Mapping[str, str] = field(default_factory=dict)

    def get(self, kind: str, name: str) -> Any:
        """The component ``name`` of ``kind``; raises UserError with the nearest valid name.

        Raises ContractError instead if a broken plugin may provide it.
        """
        offers = self.offers[kind]
        if name not in offers:
            unknown = f"unknown {kind} '{name}'{nearest(name, offers)}"
            if self.broken:
                raise ContractError(f"{unknown}: {'; '.join(self.broken.values())}")
            raise UserError(
                f"{unknown}; the loaded plugins "
                f"({', '.join(self.plugins)}) provide {', '.join(sorted(offers)) or 'none'}"
            )
        return offers[name].component

    @cached_property
    def files(self) -> tuple[str, ...]:
        """The plugins that are files, each with its version, which is of its content."""
        return tuple(
            f"{plugin.name}@{plugin.version}"
            for plugin in sorted(self.plugins.values(), key=lambda plugin: plugin.name)
            if plugin.is_file
        )

    def title(self, kind: str, name: str) -> str:
        """What messages call a component that there is, or that there is not."""
        offer = self.offers[kind].get(name)
        return f"{kind} '{name}'{f' of {self.plugins[offer.plugin].title}' if offer else ''}"

    def brought(self, kind: str, plugins: Iterable[str]) -> list[Any]:
        """The components of ``kind`` that ``plugins`` provide, in the order of their loading."""
        wanted = set(plugins)
        return [o.component for o in self.offers[kind].values() if o.plugin in wanted]

    def metrics(self, names: Sequence[str] | None) -> list[Metric]:
        """The metrics of these names; None selects those that run by default."""
        if names is not None:
            return [self.get("metric", name) for name in names]
        return [o.component for o in self.offers["metric"].values() if o.component.default]

    def reported(self) -> list[Reported]:
        """The numbers that the papers of the named plugins printed, in their order.

        Raises UserError if a plugin fails.
        """
        rows: list[Reported] = []
        for name in self.named:
            hook = getattr(self.manager.get_plugin(name), "adbench_reported", None)
            if hook:
                with _hook(self.plugins[name], "adbench_reported"):
                    rows += hook()
        return rows


def available() -> dict[str, list[EntryPoint]]:
    """Entry points by plugin name, from metadata alone."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=hookspecs.GROUP):
        found.setdefault(entry.name, []).append(entry)
    return dict(sorted(found.items()))


def load(names: Sequence[str]) -> Catalogue:
    """Load ``names`` (entry points or paths of ``.py`` files), what they require, and ``basic``.

    Raises UserError for an unknown or broken plugin, for two plugins or two components of one kind
    with the same name, for a misspelt hook, and for a component without name, version or summary.
    """
    found = available()
    plugins = {BASIC: _basic()}
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(plugins[BASIC].load(), BASIC)
    named: list[str] = []
    queue = [(name, "") for name in dict.fromkeys(names)]
    while queue:
        text, asker = queue.pop(0)
        try:
            plugin = _find(text, found)
        except UserError as error:
            if asker:
                raise UserError(f"plugin '{asker}' requires another: {error}") from None
            raise
        if not asker and plugin.name not in named:
            named.append(plugin.name)
        if plugin.name in plugins:
            if plugins[plugin.name].origin != plugin.origin:
                raise UserError(
                    f"plugin '{plugin.name}' is offered by {plugins[plugin.name].origin} and by "
                    f"{plugin.origin}; rename one or leave it out"
                )
            continue
        module = _import(plugin)
        plugins[plugin.name] = plugin
        try:
            manager.register(module, plugin.name)
            required = [str(name) for name in getattr(module, "requires", ())]
        except Exception as error:  # a module may have a __getattr__ of its own
            raise UserError(f"{plugin.title}: {said(error)}") from error
        _check_hooks(manager, plugin, module)
        queue += [(name, plugin.name) for name in required]
    return Catalogue(tuple(named), plugins, _offers(manager, plugins), manager)


def sound(names: Sequence[str]) -> Catalogue:
    """The catalogue of those ``names`` that can be loaded alone; the others are in ``broken``.

    Raises UserError if none can be loaded, or if they cannot be loaded together.
    """
    try:
        return load(names)
    except UserError:
        broken = {}
    for name in dict.fromkeys(names):
        try:
            load([name])
        except UserError as error:
            broken[name] = str(error)
    if len(broken) == len(set(names)):
        raise UserError("; ".join(broken.values()))
    return replace(load([name for name in names if name not in broken]), broken=broken)


def check_names(names: Sequence[str]) -> None:
    """Refuse unknown plugins from metadata alone, before anything heavy is imported."""
    found = available()
    for name in names:
        _find(name, found)


def _basic() -> Plugin:
    from adbench_harness import __version__

    return Plugin(
        BASIC,
        "adbench-harness",
        __version__,
        lambda: importlib.import_module("adbench_harness.basic"),
    )


def _find(text: str, found: Mapping[str, list[EntryPoint]]) -> Plugin:
    if text == BASIC:
        return _basic()
    if text.endswith(".py"):
        return _file(text)
    if text not in found:
        raise UserError(
            f"unknown plugin '{text}'{nearest(text, found)}; installed: "
            f"{', '.join(found) or 'none'} (a single file is named by its path, ./mine.py)"
        )
    entries = found[text]
    if len(entries) > 1:
        owners = " and ".join(sorted(_owner(entry) for entry in entries))
        raise UserError(f"plugin '{text}' is offered by {owners}; uninstall one of them")
    entry = entries[0]
    name, _, version = _owner(entry).partition(" ")
    return Plugin(text, name, version, entry.load)


def _owner(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"


def _file(text: str) -> Plugin:
    path = Path(text).resolve()
    if not path.is_file():
        raise UserError(f"plugin file '{path}' does not exist; give the path of a .py file")

    # An author does not raise a version while writing a file: its content is its version.
    version = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return Plugin(path.stem, str(path), version, lambda: _executed(path, version))


@cache
def _executed(path: Path, version: str) -> Any:
    """The module of a plugin file, executed once per process and content."""
    name = f"adbench_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Registered first: dataclasses and type hints look their module up by name.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _import(plugin: Plugin) -> Any:
    try:
        with witness.during(f"the import of {plugin.title}"):
            return plugin.load()
    except NotInstalled as error:
        raise NotInstalled(f"plugin '{plugin.name}': {error}") from None
    except BaseException as error:
        if interrupted(error):
            raise
        raise UserError(
            f"{plugin.title} cannot be imported: {said(error)}; fix it or leave it out of --plugins"
        ) from error


def _check_hooks(manager: pluggy.PluginManager, plugin: Plugin, module: Any) -> None:
    hooks = [name for name in vars(hookspecs) if name.startswith("adbench_")]
    implemented = {caller.name for caller in manager.get_hookcallers(module) or ()}
    for name, value in vars(module).items():
        if not name.startswith("adbench_") or not callable(value):
            continue
        if name not in hooks:
            raise UserError(f"{plugin.title} has the unknown hook '{name}'{nearest(name, hooks)}")
        if name not in implemented:
            raise UserError(
                f"{plugin.title} defines '{name}' without @hookimpl; "
                "mark it (from adbench_harness.hookspecs import hookimpl)"
            )
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise UserError(f"{plugin.title}: {error}") from error


@contextmanager
def _hook(plugin: Plugin, name: str) -> Iterator[None]:
    """Call a plugin's hook. Raises UserError if it fails."""
    try:
        with witness.during(f"{name} of {plugin.title}"):
            yield
    except BaseException as error:
        if interrupted(error):
            raise
        raise UserError(
            f"{plugin.title}: {name} failed: {said(error)}; fix it or leave it out of --plugins"
        ) from error


def _offers(
    manager: pluggy.PluginManager, plugins: Mapping[str, Plugin]
) -> dict[str, dict[str, Offer]]:
    offers: dict[str, dict[str, Offer]] = {}
    for kind in KINDS:
        offered: dict[str, Offer] = {}
        caller = getattr(manager.hook, f"adbench_{kind}s")
        for implementation in caller.get_hookimpls():
            plugin = implementation.plugin_name
            with _hook(plugins[plugin], f"adbench_{kind}s"):
                components = [
                    completed(kind, component)
                    if kind in COMPONENTS and isinstance(component, type)
                    else component
                    for component in implementation.function()
                ]
            for component in components:
                _check_component(kind, component, plugins[plugin])
                offer = Offer(kind, component, plugin)
                other = offered.setdefault(offer.name, offer)
                if other.component is not component:
                    raise UserError(
                        f"{kind} '{offer.name}' is provided by plugin '{other.plugin}' of "
                        f"{plugins[other.plugin].origin} and, in another form, by plugin "
                        f"'{plugin}' of {plugins[plugin].origin}; load one of them"
                    )
        offers[kind] = dict(
            sorted(offered.items(), key=lambda item: list(plugins).index(item[1].plugin))
        )
    return offers


def _check_component(kind: str, component: Any, plugin: Plugin) -> None:
    who = f"{plugin.title}: {kind}"
    label = getattr(component, "__name__", f"of type {type(component).__name__}")
    if kind in COMPONENTS and not isinstance(component, type):
        raise UserError(f"{who} {label} is not a class; return classes from adbench_{kind}s")
    name = getattr(component, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        has = "has no name" if name is None else f"cannot be named {name!r}"
        raise UserError(
            f"{who} {label} {has}; give it one such as name = 'mine' (lower-case letters, digits, "
            "'-', '_', '.', '%')"
        )
    if kind == "metric" and (name in RESERVED or name.endswith("_std")):
        raise UserError(f"{who} '{name}' has the name of a column of every table; rename it")
    version = getattr(component, "version", None)
    if kind != "recipe" and not isinstance(version, int):
        has = "has no version" if version is None else f"cannot have the version {version!r}"
        raise UserError(f"{who} '{name}' {has}; give it a whole number, version = 1")
    if kind == "metric":
        for field, allowed in (("unit", UNITS), ("needs", NEEDS)):
            if getattr(component, field) not in allowed:
                raise UserError(
                    f"{who} '{name}': {field} cannot be {getattr(component, field)!r}; choose from "
                    f"{', '.join(map(repr, allowed))}"
                )
    if not isinstance(getattr(component, "summary", None), str):
        raise UserError(f"{who} '{name}' has no summary; add one sentence as summary = '...'")
