from __future__ import annotations

import sys

import drivers
from adbench_harness.engines import template


def test_the_main_module_is_hidden_from_workers_and_comes_back() -> None:
    main = sys.modules["__main__"]
    with template.no_main():
        assert not hasattr(sys.modules["__main__"], "__file__")
    assert sys.modules["__main__"] is main


def test_a_copy_of_the_template_has_the_heavy_modules_already() -> None:
    context = template.context()
    ready = context.SimpleQueue()
    with template.no_main():
        process = context.Process(target=drivers.report, args=(ready,))
        process.start()
    assert ready.get() == [True, True, True]
    process.join()
