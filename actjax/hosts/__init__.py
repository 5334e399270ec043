"""Several processes that make one run: where this one stands among them, and the link that holds them together.

Nothing here imports JAX: what is wrong with the start of a run is said before it is loaded.
"""

from actjax.hosts.link import LOST, Link, LinkError
from actjax.hosts.place import Place, find_place, timeout

__all__ = ["LOST", "Link", "LinkError", "Place", "find_place", "timeout"]
