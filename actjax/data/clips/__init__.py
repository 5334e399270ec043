"""Record -> clip: chooses frames of a video and crops of the frames, and renders their pixels."""
