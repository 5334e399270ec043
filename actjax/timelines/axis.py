"""The time axis of pictures."""

import itertools

STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800)  # seconds
MOST = 14  # ticks


def clock(seconds: float, *, digits: int = 0, hours: bool = False) -> str:
    """A time as m:ss, or h:mm:ss from an hour on.

    >>> clock(75), clock(3675), clock(1.5, digits=1), clock(75, hours=True)
    ('1:15', '1:01:15', '0:01.5', '0:01:15')

    Args:
      digits: of fractions of a second. hours: h:mm:ss also below an hour.
    """
    unit = 10**digits
    whole, fraction = divmod(round(seconds * unit), unit)
    minutes, rest = divmod(whole, 60)
    text = f"{rest:02}" + (f".{fraction:0{digits}}" if digits else "")
    return f"{minutes // 60}:{minutes % 60:02}:{text}" if hours or minutes >= 60 else f"{minutes}:{text}"


def tick_times(seconds: float) -> list[float]:
    """The times of the ticks of a video of this length, at a round distance.

    >>> tick_times(3.0)
    [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    """
    step = next((step for step in STEPS if seconds / step <= MOST), None)
    if step is None:  # days
        step = next(36000.0 * 10**k for k in itertools.count() if seconds / (36000.0 * 10**k) <= MOST)
    return [round(k * step, 6) for k in range(int(seconds / step + 1e-9) + 1)]


def show_times(axes, seconds: float) -> None:
    """Sets the ticks of an axis [0, seconds]."""
    ticks = tick_times(seconds)
    digits = int(len(ticks) > 1 and ticks[1] < 1) if seconds >= 0.2 else 3
    axes.set_xticks(ticks, [clock(time, digits=digits, hours=seconds >= 3600) for time in ticks])
