"""What every test may use."""

import os
from pathlib import Path

import hypothesis
import pytest

# Machines that run the tests are shared: how long an example takes says nothing there.
hypothesis.settings.register_profile("wristmir", deadline=None, max_examples=100)
hypothesis.settings.load_profile("wristmir")

_SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """Commands that the tests start compile the same programs again and again: once is enough."""
    # The parent is the same for all workers of pytest-xdist.
    folder = tmp_path_factory.getbasetemp().parent / "compilation_cache"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the public data sets beside the repository; the test is skipped without it."""
    if not _SHARED_DATA.is_dir():
        pytest.skip(f"no public data sets at {_SHARED_DATA}")
    return _SHARED_DATA
