"""Collectives read from compiled programs: how often, how large, and which are not meant to be."""

import dataclasses

import pytest

from tests.learning.fake_devices import run_on_eight_devices
from wristmir_jax.learning.collectives import Collective, collectives, unexpected


@pytest.fixture(scope="module")
def compiled():
    return run_on_eight_devices("tests.learning.compiled_collectives")


def of(found):
    return [
        Collective(item["kind"], tuple(map(tuple, item["shapes"])), *item["rest"]) for item in found
    ]


def test_a_collective_in_loops_counts_with_their_turns(compiled):
    (gather,) = of(compiled["gather in a loop of 6 in a loop of 5"])
    assert (gather.kind, gather.times, gather.group_size) == ("all-gather", 30, 8)
    assert gather.shapes == ((64, 32),) and gather.num_bytes == 64 * 32 * 4
    assert gather.sent_bytes == pytest.approx(30 * 64 * 32 * 4 * 7 / 8)


def test_a_sum_over_devices_is_sent_there_and_back(compiled):
    (reduce,) = of(compiled["sum"])
    assert (reduce.kind, reduce.times, reduce.num_bytes) == ("all-reduce", 1, 128 * 4)
    assert reduce.sent_bytes == pytest.approx(128 * 4 * 2 * 7 / 8)


def test_what_comes_back_is_counted_and_not_what_was_sent():
    """As TPUs write it: asynchronous, with comments, tiles and a loop of unmarked length."""
    hlo = """HloModule step, num_partitions=2
%condition (p: (s32[], bf16[4])) -> pred[] {
  %constant.1 = s32[]{:T(128)} constant(12)
  ROOT %lt = pred[]{:T(512)} compare(%i, %constant.1), direction=LT
}

%body (p: (s32[], bf16[4])) -> (s32[], bf16[4]) {
  %g = (bf16[96,64]{1,0:T(8,128)}, /*index=1*/bf16[768,64]{1,0}) all-gather-start(%x), GROUPS
  %d = bf16[768,64]{1,0} all-gather-done(%g)
  %s = (f32[8], f32[8], u32[], u32[]) collective-permute-start(%y), PAIRS
}

ENTRY %main (a: f32[8]) -> f32[8] {
  %w = (s32[], bf16[4]) while(%t), condition=%condition, body=%body
  %r = (f32[768]{0}, f32[768,64]{1,0}) all-reduce(%a, %b), replica_groups=[4,16]<=[64]
}
""".replace("PAIRS", "source_target_pairs={{0,1},{1,0}}").replace(
        "GROUPS", "replica_groups=mesh['axis_0'=4,'axis_1'=8] {'axis_1'}, dimensions={0}"
    )
    found = {collective.kind: collective for collective in collectives(hlo)}
    assert found["all-gather"] == Collective("all-gather", ((768, 64),), 768 * 64 * 2, 8, 12)
    assert found["collective-permute"] == Collective("collective-permute", ((8,),), 32, 2, 12)
    reduce = found["all-reduce"]
    assert (reduce.num_bytes, reduce.group_size, reduce.times) == (4 * (768 + 768 * 64), 16, 1)


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("replica_groups=mesh['axis_0'=2,'axis_1'=4], device_ids=([4,2]T(1,0)) {'axis_1'}", 4),
        ("replica_groups=mesh['axis_0'=2,'axis_1'=2,'axis_2'=2] {'axis_0','axis_2'}", 4),
        ("replica_groups={{0,1},{2,3},{4,5},{6,7}}", 2),
        ("replica_groups=[2,4]<=[8]", 4),
        ("replica_groups={}", 8),
    ],
)
def test_groups_are_read_however_they_are_written(groups, size):
    hlo = f"""HloModule step, num_partitions=8
ENTRY %main (a: f32[8]) -> f32[64] {{
  %g = f32[64]{{0}} all-gather(%a), channel_id=1, {groups}, dimensions={{0}}
}}
"""
    (gather,) = collectives(hlo)
    assert gather.group_size == size


@pytest.mark.parametrize(
    ("pairs", "size"),
    [
        ("{0,1},{1,2},{2,3},{3,0}", 4),
        ("{0,1},{1,0},{2,3},{3,2}", 0),
        ("{0,2},{2,0}", 0),
    ],
)
def test_a_ring_over_all_devices_is_told_from_other_permutations(pairs, size):
    hlo = f"""HloModule step, num_partitions=4
ENTRY %main (a: f32[512,1024]) -> f32[512,1024] {{
  %p = f32[512,1024] collective-permute(%a), channel_id=1, source_target_pairs={{{pairs}}}
}}
"""
    (permute,) = found = collectives(hlo)
    assert permute.group_size == size
    assert unexpected(found, PARAMETERS) == ([] if size else [permute])


PARAMETERS = [(12, 768, 3072), (49408, 512), (12, 768)]


def gather(*shape, kind="all-gather"):
    num_bytes = 2
    for length in shape:
        num_bytes *= length
    return Collective(kind, (shape,), num_bytes, 8, 1)


@pytest.mark.parametrize(
    "meant",
    [
        gather(12, 768, 3072),
        gather(1, 768, 3072),
        gather(3072, 768),
        gather(768, 384),
        gather(49408, 512),
        gather(16384, 512, kind="collective-permute"),
        gather(64, 64),
    ],
)
def test_parameters_and_the_ring_of_the_loss_are_meant(meant):
    assert unexpected([meant], PARAMETERS) == []


@pytest.mark.parametrize(
    "not_meant",
    [
        gather(16384, 512),
        gather(16384, 16384, kind="all-reduce"),
        gather(1024, 197, 768),
        gather(16384, 224, 224, kind="all-to-all"),
        # Rows that change places are no ring over all devices.
        dataclasses.replace(gather(1024, 96, 512, kind="collective-permute"), group_size=0),
    ],
)
def test_embeddings_logits_activations_and_images_are_not(not_meant):
    assert unexpected([gather(768, 3072), not_meant], PARAMETERS) == [not_meant]
