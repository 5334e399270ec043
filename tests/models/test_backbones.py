"""The contract of `actjax.models.backbones`, by backbones of another package: tests/helpers/outside_nets.py."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import jitted

from actjax.models import SSN, TSM, TSN, initialize
from actjax.models.backbones import BACKBONES
from actjax.training import frozen_rules, param_groups, tsm_rules
from actjax.training.optimizers import UNIFORM_RULES, layerwise_rules, with_stages

TINY = dict(num_classes=3, arch="outside_nets:TinyNet", dropout=0.0)
PLAIN = dict(num_classes=3, arch="outside_nets:PlainNet", dropout=0.0)
NON_LOCAL = ((0, 1), (1, 0))


def shapes_of(model):
    return jax.eval_shape(lambda: initialize(model, key=jax.random.key(0)))


def variables_of(model):
    """Drawn, so that no layer starts as the identity; variances are positive."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: np.abs(rng.normal(size=leaf.shape)).astype(leaf.dtype), shapes_of(model))


def frozen_of(model) -> set[str]:
    groups = param_groups(shapes_of(model)["params"], (*frozen_rules(model.freezing.patterns()), *UNIFORM_RULES))
    return set(groups.members.get("frozen", ()))


def video(seed=0, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (2, 4, 16, 16, channels), dtype=np.uint8)


@pytest.mark.parametrize("options", [TINY, PLAIN], ids=["tiny", "plain"])
def test_a_backbone_of_another_package_works_in_tsn(options):
    model = TSN(**options)
    logits = jitted(model)(variables_of(model), video())
    assert logits.shape == (2, 3) and np.isfinite(logits).all()


def test_tsm_shifts_in_a_backbone_of_another_package():
    """The order of frames matters in TSM and not in TSN."""
    for make, blind in ((TSN, True), (TSM, False)):
        model = make(**TINY)
        variables, apply = variables_of(model), jitted(model)
        change = np.abs(apply(variables, video()) / apply(variables, video()[:, ::-1]) - 1).max()
        assert (change < 1e-5) == blind


@pytest.mark.parametrize(
    "options",
    [dict(shift_place="block"), dict(temporal_pool=True), dict(non_local=NON_LOCAL), dict(dtype="bfloat16")],
    ids=lambda options: next(iter(options)),
)
def test_a_backbone_of_another_package_offers_what_it_calls(options):
    model = TSM(**TINY, **options)
    assert jax.eval_shape(model.apply, shapes_of(model), video()).shape == (2, 3)


def test_ssn_takes_any_backbone():
    shapes = shapes_of(SSN(num_classes=3, arch="outside_nets:PlainNet"))
    assert "stem" in shapes["params"]["backbone"] and shapes["params"]["activity_fc"]["kernel"].shape == (10, 4)
    with pytest.raises(ValueError, match="PlainNet has no attribute `temporal`"):
        shapes_of(SSN(num_classes=3, arch="outside_nets:PlainNet", num_segments=2))


def test_arch_options_are_the_network_s_own_fields():
    params = shapes_of(TSN(**TINY, arch_options=dict(channels=5)))["params"]
    assert params["backbone"]["widen"]["kernel"].shape == (5, 10)
    params = shapes_of(TSN(num_classes=3, arch="resnet", arch_options=dict(depth=10, width=4)))["params"]
    assert params["fc_cls"]["kernel"].shape == (32, 3)


PLAINLY = "outside_nets:PlainNet"


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (TSN, dict(arch="resnest"), "model.arch='resnest' is unknown; did you mean 'resnet'"),
        (TSN, dict(arch="outside_nets:TinyNot"), "model.arch='outside_nets:TinyNot'.*did you mean 'TinyNet'"),
        (TSN, dict(arch="outside_nets:not_a_module"), "is not the class of a Linen module"),
        (
            TSN,
            TINY | dict(arch_options=dict(chanels=5)),
            "arch_options.'chanels' is unknown; did you mean 'channels'",
        ),
        (TSN, TINY | dict(arch_options=dict(dtype=5)), "model.arch_options.'dtype' is unknown"),
        (TSN, TINY | dict(depth=18), "model.depth: TinyNet has no attribute `depth`; leave model.depth out"),
        (TSN, TINY | dict(width=8), "model.width: TinyNet has no attribute `width`"),
        (TSN, dict(arch="mobilenet_v2", small_input=True), "MobileNetV2 has no attribute `small_input`"),
        (TSN, dict(arch="mobilenet_v2", style="caffe"), "MobileNetV2 has no attribute `style`"),
        (TSN, dict(arch=PLAINLY, dtype="bfloat16"), "PlainNet has no attribute `dtype`; add `dtype: jnp.dtype"),
        (TSN, dict(arch=PLAINLY, norm_eval=True), "PlainNet has no attribute `freezing`; add `freezing: Freezing"),
        (TSN, dict(arch=PLAINLY, frozen_stages=0), "PlainNet has no attribute `freezing`"),
        (TSN, dict(arch="outside_nets:VectorNet"), r"VectorNet maps \(2, 32, 32, 3\) to \(2, 8\)"),
        (
            TSN,
            dict(arch="outside_nets:HalfNet"),
            r"HalfNet maps \(2, 32, 32, 3\) to \(1, 8, 8, 16\).*each frame, here 2\n",
        ),
        (TSM, dict(arch="outside_nets:HalfNet", num_segments=4), r"to \(2, 8, 8, 16\).*here 4\n"),
        (
            TSM,
            dict(arch="outside_nets:HalfNet", num_segments=4, temporal_pool=True),
            r"HalfNet maps \(4, 32, 32, 3\) to \(1, .*here 2 after temporal_pool",
        ),
        (TSN, TINY | dict(frozen_stages=3), "frozen_stages=3.*has 2 stages"),
        (TSN, dict(frozen_stages=5), "frozen_stages=5.*has 4 stages"),
        (TSN, dict(arch="outside_nets:MistakenNet"), "MistakenNet.stages: 'late' matches no parameter"),
        (
            TSN,
            dict(arch="outside_nets:OddNormNet", partial_bn=True),
            "OddNormNet has 'backbone/late_0/bias'",
        ),
        (TSM, dict(arch=PLAINLY), "temporal shift: PlainNet has no attribute `temporal`; add.*model.name='TSN'"),
        (
            TSM,
            dict(arch="outside_nets:DeafNet"),
            "never calls `temporal.in_residual`.*call it.*model.name='TSN'",
        ),
        (TSM, dict(arch="outside_nets:DeafNet", shift_place="block"), "never calls `temporal.before_block`"),
        (TSM, dict(arch="outside_nets:DeafNet", non_local=((1,),)), "non_local: DeafNet has no attribute `blocks`"),
        (TSM, dict(arch="mobilenet_v2", shift_place="block"), "MobileNetV2 never calls `temporal.before_block`"),
        (TSM, dict(arch="mobilenet_v2", temporal_pool=True), "MobileNetV2 never calls `temporal.before_stage`"),
        (TSM, TINY | dict(non_local=((0,), (1,))), r"needs one number for each block of \(2, 2\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_backbone_does_not_offer_is_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        shapes_of(make(**dict(num_classes=3) | options))


def test_frozen_stages_of_a_backbone_of_another_package():
    assert frozen_of(TSN(**TINY)) == set()
    frozen = frozen_of(TSN(**TINY, frozen_stages=1))
    assert {path.split("/")[1] for path in frozen} == {"patches_conv", "patches_bn", "early_0", "early_1"}
    assert len(frozen) == 9
    with_added = frozen_of(TSM(**TINY, frozen_stages=1, non_local=NON_LOCAL))
    assert {path.split("/")[1] for path in with_added - frozen} == {"layer1_1_non_local"}


def test_partial_bn_of_a_backbone_of_another_package():
    """As many scales and biases are frozen as batch norms keep their statistics; the stem's does not."""
    model = TSM(**TINY, partial_bn=True, non_local=NON_LOCAL)
    frozen = frozen_of(model)
    blocks = {f"backbone/{name}_{k}/BatchNorm_0" for name in ("early", "late") for k in (0, 1)}
    assert frozen == {f"{block}/{leaf}" for block in blocks for leaf in ("scale", "bias")}
    variables = variables_of(model)
    _, updated = jitted(model, train=True, mutable=["batch_stats"])(variables, video())
    kept = jax.tree.map(lambda a, b: bool((a == b).all()), variables["batch_stats"], updated["batch_stats"])
    for path, same in jax.tree_util.tree_leaves_with_path(kept):
        place = "/".join(key.key for key in path[:-1])
        assert same == (place in blocks), place


@pytest.mark.parametrize("options", [TINY, dict(num_classes=3, width=8), dict(num_classes=3, arch="mobilenet_v2")])
def test_layerwise_rates_follow_the_backbone_s_own_stages(options):
    """A config that does not give their number gets those of the network; for ours, what their number gives."""
    model = TSN(**options)
    optim = with_stages(dict(lr=0.1, rules=dict(name="layerwise", factor=0.5)), model)
    stages = optim["rules"]["stages"]
    groups = param_groups(shapes_of(model)["params"], layerwise_rules(factor=0.5, stages=stages))
    rates = {rule.group: rule.lr_mult for rule in groups.rules}
    number = len(stages) - 1
    assert rates[f"{stages[0][0]}_weight"] == 0.5 ** (number + 1) and rates[f"{stages[-1][0]}_other"] == 0.5
    assert groups.lr_mult["fc_cls"]["kernel"] == 1 and all(groups.members.values())
    if "outside" in model.arch:
        assert groups.lr_mult["backbone"]["early_1"]["BatchNorm_0"]["bias"] == 0.25
        assert groups.lr_mult["backbone"]["widen"]["kernel"] == 1
    else:
        numbered = param_groups(shapes_of(model)["params"], layerwise_rules(factor=0.5, stages=number))
        assert numbered.members == groups.members and numbered.lr_mult == groups.lr_mult


def test_layerwise_rules_in_a_config():
    asked = dict(rules=dict(name="layerwise", factor=0.5))
    with pytest.raises(ValueError, match="PlainNet has no attribute `stages`.*optim.rules.stages"):
        with_stages(asked, TSN(**PLAIN))
    given = dict(rules=dict(name="layerwise", factor=0.5, stages=4))
    assert with_stages(given, TSN(**PLAIN)) == given
    assert with_stages(dict(rules=dict(name="tsm")), TSN(**PLAIN)) == dict(rules=dict(name="tsm"))
    with pytest.raises(ValueError, match="write .*name, pattern"):
        layerwise_rules(factor=0.5, stages={"b": ".*", "a": ".*"})


def test_the_policy_of_tsm_knows_norms_that_linen_names():
    groups = param_groups(shapes_of(TSM(**TINY))["params"], tsm_rules())
    assert len(groups.members["bn"]) == 10 and groups.members["normal_bias"] == ("backbone/widen/bias",)


def test_no_block_at_all_may_have_a_non_local_one():
    model = TSM(num_classes=3, depth=10, width=8, non_local=((0,), (0,), (0,), (0,)))
    assert shapes_of(model)["params"].keys() == shapes_of(TSM(num_classes=3, depth=10, width=8))["params"].keys()


@pytest.mark.parametrize("arch", BACKBONES)
def test_backbones_of_the_table_say_what_they_are(arch):
    """Every parameter but those after the last stage is in one stage; `blocks` counts the modules of each."""
    model = TSN(num_classes=3, arch=arch)
    backbone = model.network(parent=None)
    modules = shapes_of(model)["params"]["backbone"]
    for number, (stage, pattern) in enumerate(backbone.stages.items()):
        inside = [name for name in modules if re.fullmatch(pattern, f"{name}/x")]
        assert len(inside) == (1 if stage == "stem" else backbone.blocks[number - 1])
        modules = {name: module for name, module in modules.items() if name not in inside}
    assert set(modules) <= {"conv2"} and len(backbone.stages) == len(backbone.blocks) + 1


def test_a_recogniser_with_another_default_passes_it_on():
    class Deep(TSN):
        depth: int = 10

    assert Deep(num_classes=3).network(parent=None).depth == 10
    assert TSN(num_classes=3, dtype=jnp.float32, arch=PLAINLY).network(parent=None)
