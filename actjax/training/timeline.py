"""How far a run is, counted in records, so that another batch size continues where the last one stopped."""

import math
from typing import NamedTuple


class Timeline(NamedTuple):
    """The steps of a run along the passes over its records. A batch may span two epochs.

    >>> start = Timeline(num_records=100, batch_size=10)
    >>> start.epoch(step=15), start.last_step(epochs=3)
    (1.5, 30)
    >>> now = start._replace(batch_size=50).continued(start, step=15)
    >>> now.epoch(step=15), now.last_step(epochs=3)
    (1.5, 18)

    num_records: records in an epoch.
    offset: records seen before step 0, had the whole run had this batch size; 0 unless the batch size has changed.
    data, val: digests of the training and validation records; "" if they are not known.
    """

    num_records: int
    batch_size: int
    offset: int = 0
    data: str = ""
    val: str = ""

    def position(self, step: int) -> int:
        """The number of records seen in the first `step` steps."""
        return step * self.batch_size + self.offset

    def epoch(self, step: int) -> float:
        """The number of epochs in the first `step` steps."""
        return self.position(step) / self.num_records

    def last_step(self, epochs: float) -> int:
        """The step that completes `epochs` epochs."""
        return math.ceil((epochs * self.num_records - self.offset) / self.batch_size - 1e-9)

    def completes(self, step: int, epochs: float) -> bool:
        """Whether a multiple of `epochs` is completed at `step`."""
        rounds = lambda n: math.floor(self.epoch(n) / epochs + 1e-9)  # 2.4 / 0.8 is 2.9999999999999996
        return rounds(step) > rounds(step - 1)

    def continued(self, before: "Timeline", step: int) -> "Timeline":
        """This timeline, as the continuation of the run `before` from `step` on.

        Raises:
          ValueError: the run had other training records.
        """
        if self.num_records != before.num_records:
            raise ValueError(
                f"it was trained on {before.num_records} records, and the training set now has {self.num_records}"
            )
        if self.data and before.data and self.data != before.data:
            raise ValueError(
                "it was trained on other records; the training set now has other files or labels, or another order"
            )
        offset = before.offset
        if self.batch_size != before.batch_size:
            offset = before.position(step) - step * self.batch_size
        return self._replace(offset=offset)
