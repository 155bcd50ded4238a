"""The tiled loss is the dense one, on any number of devices, in memory linear in the batch."""

from tests.learning.fake_devices import run_on_eight_devices


def test_tiled_agrees_with_dense_on_1_to_8_devices():
    results = run_on_eight_devices("tests.learning.tiled_parity")
    assert {result["case"][3] for result in results} == {1, 2, 4, 8}
    for result in results:
        assert result["loss"] > 0.5, result
        assert min(result["gradient_norms"]) > 1e-3, result
        assert result["loss_difference"] <= 1e-5, result
        assert result["gradient_difference"] <= 1e-5, result


def test_memory_is_linear_in_the_batch_and_only_blocks_travel():
    result = run_on_eight_devices("tests.learning.tiled_memory")
    temporary = {int(pairs): size for pairs, size in result["temporary_bytes"].items()}
    assert temporary[32_768] <= 0.2e9
    assert temporary[262_144] <= 1.6e9
    assert temporary[65_536] <= 2.05 * temporary[32_768]
    assert temporary[262_144] <= 8.2 * temporary[32_768]
    assert result["collectives"] == ["all-reduce", "collective-permute"]
