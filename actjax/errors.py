"""What bad input raises. Each is a ValueError, and also what the reference raises for the same input, so that code
written for it still catches it."""


class ShapeError(ValueError, IndexError, AssertionError):
    """An array, a column or a length is missing or does not fit another one."""


class EmptyError(ValueError, ZeroDivisionError):
    """Nothing to divide by: no video, no ground truth or no proposal."""
