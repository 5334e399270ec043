"""Record -> clip: which frames of a video, which crops of them, and the pixels of both."""
