"""What a neighbour imports."""

from actjax.video import views


def corner_of(view, side, *, top, left):
    return views.center_crop(view, crop_size=side)
