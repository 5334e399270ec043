"""Runs one Python command after the other, each in a fork of an interpreter that has imported what they share.

python tests/helpers/forking.py

A line of standard input is a JSON object: `arguments`, what follows `python`; `cwd`; `log`, a file for what it prints.
A line of standard output is its exit status.
"""

import importlib
import json
import os
import runpy
import sys

SHARED = ("interop", "models", "tasks", "training")


def main() -> None:
    for name in SHARED:
        importlib.import_module(f"actjax.{name}")
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            return run(**job)  # and ends as any interpreter does
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def run(arguments: list[str], cwd: str, log: str) -> None:
    """What `python ARGUMENTS` does in `cwd`."""
    os.chdir(cwd)
    file = os.open(log, os.O_WRONLY | os.O_CREAT)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
