"""The options that select one row of results, and its fitted pipeline."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from adbench_harness.cli import options
from adbench_harness.errors import UserError, nearest
from adbench_harness.results.trial import NOT_KEPT
from adbench_harness.wording import duration

if TYPE_CHECKING:
    from adbench_harness.results.store import Store, TrialResult
    from adbench_harness.running.predicting import Predictor


def arguments(parser: argparse.ArgumentParser) -> None:
    """The results, and which row of them."""
    parser.add_argument("results", help="folder of results, or a board")
    parser.add_argument(
        "--row",
        metavar="METHOD",
        help="row of the board, or its model; needed for several",
    )
    options.add_only(parser)


def chosen(store: Store, given: argparse.Namespace) -> TrialResult:
    """The result that ``--row`` and ``--only`` select; raises UserError unless it is one."""
    from adbench_harness.leaderboard.scores import columns

    results = list(store.read())
    rows = columns(results, options.pairs(given.only))
    if rows.empty:
        raise UserError(f"no result in '{store.root}' ran without an error; run the suite again")
    if given.row:
        names = [results[int(str(i))].trial.model.name for i in rows.index]
        chosen = rows[rows["row"].eq(given.row) | rows["title"].eq(given.row)]
        if chosen.empty:
            chosen = rows[[name == given.row for name in names]]
        if chosen.empty:
            known = list(dict.fromkeys([*rows["row"], *names]))
            raise UserError(
                f"--row '{given.row}': no row that ran has this method{nearest(given.row, known)}; "
                f"choose from {', '.join(dict.fromkeys(rows['row']))}"
            )
        rows = chosen
    if len(rows) > 1:
        raise UserError(_which(rows))
    return results[int(str(rows.index[0]))]


def fitted(
    store: Store,
    stored: TrialResult,
    given: argparse.Namespace,
    device: str,
    progress: Callable[[str, int, int], None],
) -> Predictor:
    """The pipeline that was kept, or fitted again."""
    from adbench_harness import session
    from adbench_harness.planning import grammar

    kept = store.fitted(stored)
    notes = stored.provenance.get("notes", ())
    if kept is None and (why := [note for note in notes if note.startswith(NOT_KEPT)]):
        raise UserError(f"{stored.trial.title}: {why[0]}")
    if kept is None:
        options.tell(
            f"no fitted model of {stored.trial.title} was kept, so it is fitted again; run with "
            "--keep-models to save this time"
        )
    elif "fit_seconds" in stored.metrics:
        options.tell(f"the kept model saves {duration(stored.metrics['fit_seconds'])} of fitting")
    return session.predictor(
        stored,
        kept,
        options.locations(given),
        plugins=grammar.names(given.plugins or ""),
        device=device,
        progress=progress,
    )


def _which(rows: Any) -> str:
    """What is needed to select one of several trials."""
    from adbench_harness.leaderboard.scores import REPEATS

    known = list(dict.fromkeys(rows["row"]))
    start = f"{len(rows)} trials are selected"
    if len(known) > 1:
        return f"{start}; name one row with --row: {', '.join(known)}"
    for column in ("dataset", "category", *REPEATS):
        if rows[column].nunique() > 1:
            values = ", ".join(map(str, sorted(rows[column].unique())))
            return f"{start}; name one with --only {column}=VALUE: {values}"
    return f"{start}; name one with --only"
