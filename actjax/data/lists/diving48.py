"""Diving48, second version of its labels: `Diving48_V2_train.json`, `Diving48_V2_test.json` and `Diving48_vocab.json`.

An entry has `vid_name` and `label`, the place in the vocabulary; a class there is four words, such as
["Back", "15som", "05Twis", "FREE"]. Videos are `VID_NAME.mp4`.
"""

import pathlib

from actjax.data.lists.published import Published, Wanted, check_rows, entries, find_file, labels
from actjax.errors import shown
from actjax.text_files import read_json


def read_diving48(annotations: pathlib.Path) -> Published:
    """Diving48, in the order of its vocabulary; its test list is "val". A class is its words, with blanks.

    Raises:
      FileNotFoundError: a file is missing. ValueError: an entry without these fields, a label that is not in the
        vocabulary, a class or a video that is there twice.
    """
    stems = {"vocab": "Diving48_vocab", "train": "Diving48_V2_train", "val": "Diving48_V2_test"}
    files = {part: find_file(annotations, rf"{stem}\.json", like=f"{stem}.json") for part, stem in stems.items()}
    vocabulary = files.pop("vocab")
    names = _names(vocabulary)
    splits = {}
    for part, file in files.items():
        rows = splits[part] = []
        for where, entry in entries(file, {"vid_name": (str,), "label": (int,)}):
            video, label = entry["vid_name"], entry["label"]
            if not 0 <= label < len(names):
                raise ValueError(f"{where}: label {label}; {vocabulary} has {len(names)} classes")
            if not video.strip() or "/" in video or "\n" in video:
                raise ValueError(f"{where}: vid_name {shown(video)}; expected the name of a video")
            rows.append(Wanted(where, f"{video}.mp4", (video,), label))
    check_rows(splits, files)
    return Published(names, splits, [vocabulary, *files.values()])


def _names(path: pathlib.Path) -> list[str]:
    vocabulary = read_json(path, what="a vocabulary")
    is_word = lambda word: isinstance(word, str) and word.strip()
    of_words = lambda words: isinstance(words, list) and words and all(map(is_word, words))
    if not isinstance(vocabulary, list) or not all(map(of_words, vocabulary)):
        raise ValueError(f'{path}: {shown(vocabulary)}; expected [["Back", "15som", "05Twis", "FREE"], ...]')
    names = [" ".join(words) for words in vocabulary]
    labels(names, path)
    return names
