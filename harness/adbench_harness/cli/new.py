"""``adbench new``: writes a distribution of a plugin, whose tests pass from the start."""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

from adbench_harness import __version__
from adbench_harness.cli import output
from adbench_harness.errors import UserError

SUMMARY = "Write a distribution with a working plugin: module, tests, README, CI."
TEMPLATES = Path(__file__).parents[1] / "templates"
_ON_PATCHCORE = "adbench run --plugins patchcore,template --datasets mini/brick"
# By kind, a command that uses the component, in less than a minute and without a download.
RUNS = {
    "model": "adbench run --plugins template",
    "scorer": f"{_ON_PATCHCORE} --scorers nn,template",
    "preprocessor": f"{_ON_PATCHCORE} --preprocessors none,template --scorers nn",
    "augmenter": "adbench run --plugins twostage,template --datasets mini/brick "
    "--models twostage-stage1:steps=50 --augmenters template",
    "dataset": "adbench run --plugins patchcore,template --datasets template",
    "metric": f"{_ON_PATCHCORE} --scorers nn",
    "backbone": f"{_ON_PATCHCORE} --backbone template --scorers nn",
}
_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", help="name of the plugin and its component, in lower case, such as mymethod"
    )
    parser.add_argument("--kind", choices=tuple(RUNS), default="model", help="default: model")


def handle(given: argparse.Namespace) -> int:
    """Write ``adbench-NAME/`` and print the next steps."""
    name, kind = given.name, given.kind
    _check(name)
    snake = name.replace("-", "_")
    words = _words(name, snake, kind)
    folder = Path(words["adbench-template"])
    if folder.exists():
        raise UserError(f"'{folder}' exists; remove it or choose another name")
    files = {}
    for root in (TEMPLATES / "common", TEMPLATES / kind):
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                filled = _filled(str(path.relative_to(root)), {**words, "template": snake})
                files[folder / filled] = path.read_text(encoding="utf-8")
    taken = {word for text in files.values() for word in re.findall(r"\w+", text)}
    for word in (words["Template"], words["TEMPLATE"]):
        if word in taken:
            raise UserError(f"'{name}': the code already has a {word}; choose another name")
    try:
        for path, text in files.items():
            output.write(path, _filled(text, words))
    except UserError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    print(f"{folder}: {words['A KIND'].lower()} that works as it stands. Next:\n")
    for command in (f'cd {folder} && pip install -e ".[test]"', "pytest", words["RUN"]):
        print(f"  {command}")
    return 0


def _check(name: str) -> None:
    from adbench_harness.planning.plugins import BASIC, RESERVED, available
    from adbench_harness.results.trial import NONE

    if not _NAME.fullmatch(name):
        raise UserError(
            f"'{name}' is not a plugin name; use lower-case letters, digits and single hyphens, a "
            "letter first, such as my-method"
        )
    if name in (*RESERVED, NONE, BASIC):
        raise UserError(f"'{name}' already has a meaning in adbench; choose another name")
    if name in available():
        raise UserError(f"a plugin '{name}' is already installed; choose another name")


def _words(name: str, snake: str, kind: str) -> dict[str, str]:
    """The replacements of words in the templates."""
    said = kind.replace("dataset", "data set")
    return {
        "adbench_template": f"adbench_{snake}",
        "adbench-template": f"adbench-{name.replace('_', '-')}",
        "Template": "".join(part.capitalize() for part in snake.split("_")),
        "TEMPLATE": snake.upper(),
        "template": name,
        "A KIND": f"A{'n' if kind[0] in 'aeiou' else ''} {said}",
        "KIND": said,
        "adbench-harness>=0": f"adbench-harness>={__version__}",
        "RUN": RUNS[kind].replace("template", name),
    }


def _filled(text: str, words: dict[str, str]) -> str:
    longest_first = sorted(words, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), lambda found: words[found[0]], text)
