"""What the publishers of public video sets ship -> the lists that actjax reads: `python -m actjax.data.lists NAME`.

One file reads one publisher's format, and `formats` has the table of all. A reader gives the videos that the published
files name; `looking` finds them on the disk; `recognition` and `untrimmed` write the lists.
"""
