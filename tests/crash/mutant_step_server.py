"""The process that starts steps, with the bug of MUTANT planted in it: what a planted process starts instead of `assets_core.execution.step_server`."""

from __future__ import annotations

from importlib import import_module

from assets_core.execution.step_server import main

if __name__ == "__main__":
    import_module("tests.crash.mutants")
    main()
