"""The command `actjax`, also `python -m actjax`: `actjax.main`, or without arguments a page about it."""

import sys

from actjax.config.recipe_files import recipe_names
from actjax.main import start
from actjax.usage import overview


def main() -> None:
    """Prints the overview if there are no arguments, else runs `actjax.main`."""
    if len(sys.argv) == 1:
        print(overview(recipe_names()), end="")
        return
    start()


if __name__ == "__main__":
    main()
