import pytest

from actjax.config import Reader, bind, filled, parse_arg, pick


def center(height, width, *, size, scale=1.0):
    return height, width, size, scale


def test_parse_arg():
    arg = parse_arg("frames=16,tsn", frames=8, tsn=False, dataset="k400")
    assert (arg.frames, arg.tsn, arg.dataset) == (16, True, "k400")
    assert parse_arg(None, tsn=False).tsn is False
    assert parse_arg("tsn=false", tsn=True).tsn is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frmes=3", "did you mean 'frames'"),
        ("frames=many", "of type int"),
        ("frames", "frames=VALUE"),
        ("tsn=1", "true or false"),
    ],
)
def test_parse_arg_refuses(text, message):
    with pytest.raises(ValueError, match=message):
        parse_arg(text, frames=8, tsn=False)


def test_bind_and_pick():
    given = ("height", "width")
    assert bind(center, {"size": 2}, "view", given=given)(3, 4) == (3, 4, 2, 1.0)
    assert pick({"center": center}, {"name": "center", "size": 2}, "view", given=given)(3, 4) == (3, 4, 2, 1.0)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"name": "centre", "size": 2}, r"eval.view.name='centre' is unknown; did you mean 'center'"),
        ({"size": 2}, "eval.view.name is missing"),
        ({"name": "center", "siz": 2}, "eval.view.'siz' is unknown; did you mean 'size'"),
        ({"name": "center"}, "^eval.view.size is missing$"),
        ({"name": "center", "size": 2, "height": 3}, "eval.view.'height' is unknown"),
        ("center", "eval.view: expected a section"),
    ],
)
def test_pick_refuses(section, message):
    with pytest.raises(ValueError, match=message):
        pick({"center": center}, section, "eval.view", given=("height", "width"))


def test_filled_adds_the_defaults_of_what_reads_a_section():
    def crop(*, height, size: int, ratio: float = 0.5):
        return height, size, ratio

    def clip(*, view, length: int = 8, **options):
        return view, length, options

    view = Reader(({"crop": crop},), given=("height",))
    reader = Reader((clip,), parts={"view": view, "loss": Reader((lambda weight=1.0: weight,))})
    section = {"view": {"name": "crop", "size": 4}, "rate": 2}
    whole = {
        "view": {"name": "crop", "size": 4, "ratio": 0.5}, "rate": 2, "length": 8, "loss": {"weight": 1.0}
    }  # fmt: skip
    assert filled(section, reader) == filled(whole, reader) == whole
    assert filled(section | {"length": 4, "loss": None}, reader) == whole | {"length": 4}
    for unreadable in ({"name": "crop"}, {"name": "crap", "size": 4}, {}):
        assert filled(unreadable, view) == unreadable
    assert filled({"view": "crop"}, reader)["view"] == "crop"  # nothing that is no section is filled
    named = {"near": {"name": "crop", "size": 4}, "far": {"name": "crop", "size": 2, "ratio": 1.0}}
    assert filled(named, Reader(each=view)) == named | {"near": whole["view"]}
