"""The commands ``run`` and ``leaderboard`` as functions, for scripts and notebooks.

::

    from adbench_harness.api import leaderboard, run

    results = run(plugins=["patchcore"], datasets="mini/brick")
    results.groupby("scorer")["image_auroc"].mean()
    leaderboard(results, rows="scorer", metrics="aupro")

A mistake that the user can fix raises ``errors.UserError``, with the line that the command would
print.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from adbench_harness import leaderboard as boards
from adbench_harness import session
from adbench_harness.display import Display
from adbench_harness.downloads.fetcher import Fetcher
from adbench_harness.engines import choice
from adbench_harness.errors import UserError, nearest
from adbench_harness.leaderboard.frame import FIELDS, components
from adbench_harness.planning import grammar
from adbench_harness.planning import plugins as plugins_
from adbench_harness.planning import suite as suites
from adbench_harness.planning.locations import Locations
from adbench_harness.results import FOLDER
from adbench_harness.results.store import Store, TrialResult
from adbench_harness.wording import terminal_width

__all__ = ["Results", "leaderboard", "run"]


class Results(pd.DataFrame):
    """A data frame that is displayed as the leaderboard, and as HTML in a notebook.

    ``results`` are the stored results that it was made from, and ``store`` is their folder. A
    selection or a computation from it returns a plain data frame.
    """

    _metadata: ClassVar[list[str]] = ["results", "store", "_board"]
    results: Sequence[TrialResult]
    store: Path
    _board: Callable[..., str]

    @classmethod
    def _of(
        cls, rows: pd.DataFrame, results: Sequence[TrialResult], store: Path, /, **shown: Any
    ) -> Results:
        made = cls(rows)
        made.results, made.store = results, store
        made._board = partial(boards.render, results, store=store, **shown)
        return made

    def __repr__(self) -> str:
        return self._board(width=terminal_width())

    def _repr_html_(self) -> str:
        return self._board(format="html")


def run(
    suite: str | Path | None = None,
    *,
    data: str | Path | Mapping[str, str | Path] | None = None,
    weights: str | Path | None = None,
    out: str | Path = FOLDER,
    device: str = "auto",
    deterministic: bool = False,
    fetch: bool = False,
    accept_license: bool = False,
    engine: str = "local",
    workers: int | None = None,
    threads: int | None = None,
    trial_timeout: float | None = None,
    trial_memory: int | None = None,
    address: str | None = None,
    **keys: Any,
) -> Results:
    """Run what is not in ``out`` yet, as ``adbench run`` does, and return a row for each trial.

    ``keys`` are the keys of a suite file (``plugins``, ``datasets``, ``models``, ``set``,
    ``seeds``, ``evaluation`` ...), as text in the command line's grammar or as lists and dicts;
    they replace those of the file ``suite``. ``data`` is a folder of data sets, or maps the name of
    each to its folder. ``deterministic`` allows only algorithms that repeat their bits. ``fetch``
    downloads what is missing, and ``accept_license`` accepts its license. ``engine`` and what
    follows it are the command's options, with seconds and bytes as numbers. The index has the
    trials' ids, which are also the names of their files in ``out``. The columns are the axes, the
    parameters that differ from the defaults, seeds, status, and metrics as fractions. A failed
    trial has a row too. Raises UserError.
    """
    content = {**({} if suite is None else suites.read(Path(suite))), **keys}
    if unknown := sorted(keys.keys() - suites.Suite.model_fields.keys()):
        fields = suites.Suite.model_fields
        raise UserError(
            f"run() has no argument '{unknown[0]}'{nearest(unknown[0], fields)}; the keys of a "
            f"suite are {', '.join(fields)}"
        )
    if not content.get("plugins"):
        raise UserError(
            "no plugins are named; give plugins=[...] ('adbench list' shows them) or a suite"
        )
    chosen = choice.engine(
        engine,
        workers=workers,
        threads=threads,
        timeout=trial_timeout,
        memory=trial_memory,
        address=address,
    )
    folders, named = (None, data) if isinstance(data, Mapping) else (data, None)
    with Display() as display:
        fetcher = Fetcher(accepted=accept_license, listener=display) if fetch else None
        prepared = session.prepare(
            suites.validate(content, "run()"),
            Locations.given(folders, named, weights, fetcher),
            out=out,
            device=device,
            deterministic=deterministic,
        )
        results = session.perform(prepared, engine=chosen, progress=display)
    asked = prepared.suite.metrics or ()
    return Results._of(_trials(results), results, prepared.store.root, asked=asked)


def leaderboard(
    results: Results | str | Path = FOLDER,
    *,
    rows: str | Iterable[str] = (),
    columns: str | None = None,
    metrics: str | Iterable[str] = (),
    only: Mapping[str, Any] | None = None,
    reported: str | Iterable[str] = (),
    per_category: bool = False,
) -> Results:
    """The leaderboard of what ``run`` returned or of a folder, as ``adbench leaderboard`` makes it.

    The options are those of the command; names may be given as one text with commas or as a list.
    The rows are those of the command's CSV output, with metrics as fractions: one row for each
    combination and category, or the cells of the table that ``rows`` and ``columns`` define. Raises
    UserError.
    """
    if isinstance(results, Results):
        found, root = list(results.results), results.store
    else:
        store = Store.existing(results)
        found, root = list(store.read()), store.root
    papers = _names(reported)
    plugins_.check_names(papers)
    shown: dict[str, Any] = {
        "rows": _names(rows),
        "columns": columns,
        "metrics": _names(metrics),
        "only": {axis: str(value) for axis, value in (only or {}).items()},
        "reported": plugins_.load(papers).reported() if papers else [],
        "per_category": per_category,
    }
    text = boards.render(found, format="csv", store=root, **shown)
    # Only the Python engine reads every float back unchanged, in every version of pandas.
    cells = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""], engine="python")
    return Results._of(cells, found, root, **shown)


def _trials(results: Sequence[TrialResult]) -> pd.DataFrame:
    changed = {
        name
        for result in results
        for choice in components(result)
        for name in choice.changed
        if name not in FIELDS
    }
    table = boards.frame(results, sorted(changed))
    for name in changed:
        try:
            table[name] = pd.to_numeric(table[name])
        except ValueError:
            continue  # it is text, or not every trial has it
    table.index = pd.Index([results[index].trial.id for index in table.index], name="trial")
    return table.drop(columns=["marks", "covers", "reported"]).dropna(axis=1, how="all")


def _names(given: str | Iterable[str]) -> list[str]:
    return grammar.names(given) if isinstance(given, str) else list(given)
