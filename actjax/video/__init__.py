"""One file -> one clip: frame indices, frames, boxes, pixels. NumPy; decoders and OpenCV are imported on first use."""

from actjax.faces import earlier

earlier(__name__, {"layout": "mmaction2"})
