"""One file -> one clip: frame indices, frames, boxes, pixels. NumPy; decoders and OpenCV load when they are used."""
