"""One file -> one clip: frame indices, frames, boxes, pixels. NumPy; decoders and OpenCV load when they are used."""

from actjax.faces import earlier

earlier(__name__, {"layout": "mmaction2"})
