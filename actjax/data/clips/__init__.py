"""Record -> clip: chooses frames of a video, or of proposals, and crops of the frames, and renders their pixels."""
