"""`--mode=quarantine`: shows which files a run could not decode, and forgets them."""

import pathlib

from actjax.data.loading.quarantine import entries, forget
from actjax.showing import Table, show


def show_quarantine(workdir: pathlib.Path, *, clear: str | None = None) -> None:
    """Prints a table of the files that a run could not decode; needs no config, data set, checkpoint or device.

    Args:
      workdir: folder of a run, or another folder with a `quarantine.jsonl`.
      clear: entries to remove first, so that the next run tries these files again: "all", "timeouts", or a file as
        the table shows it. None: none.

    Raises:
      ValueError: the file `clear` is not listed.
    """
    lists = sorted(workdir.glob("quarantine*.jsonl"))  # in an object store one per host
    if clear is not None:
        number = sum(forget(path, clear) for path in lists)
        if not number and clear not in ("all", "timeouts"):
            raise ValueError(f"--clear={clear}: {workdir} lists no such file; write all, timeouts, or a path it lists")
        show(f"{number} removed from the quarantine, to be tried again" if number else "nothing to remove")
    rows = [row for path in lists for row in entries(path)]
    if not rows:
        show(f"{workdir}: no file is in quarantine")
        return
    table = Table("file", "reason", "timeout", "in the next run")
    for row in rows:
        timeout = bool(row["timeout"])
        table.add_row(row["path"], row["reason"], "yes" if timeout else "no", "skipped" if timeout else "tried again")
    show(table)
