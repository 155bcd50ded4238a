"""How the tests have XLA compile: in half of the time, for programs that run but a few steps."""

import os

# At level 0, which compiles faster yet, gradients of the tiny recipe are not numbers.
_QUICKLY = "--xla_backend_optimization_level=1"


def flags(num_devices: int = 1) -> str:
    """XLA_FLAGS of a process of the tests.

    Args:
        num_devices: fake CPU devices.
    """
    return f"{_QUICKLY} --xla_force_host_platform_device_count={num_devices}"


def set_flags() -> None:
    """For this process, which must not have started JAX yet, and those that it starts."""
    os.environ["XLA_FLAGS"] = flags()
