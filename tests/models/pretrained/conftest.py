"""The original libraries are installed with Python 3.11 alone, see pyproject.toml."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("timm") else ["test_*.py"]
