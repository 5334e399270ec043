"""Found in torch's place by the processes that tests start: torch is optional, and tensorboardX imports what it finds.

Without torch they start in half the time.
"""

raise ImportError("torch is hidden from this process")
