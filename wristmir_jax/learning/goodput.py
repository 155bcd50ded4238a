"""Where the time of a run goes."""

import contextlib
import time
from collections.abc import Callable, Iterator

START, STEPS, INPUT = "start", "steps", "input"
CHECKPOINTS, VALIDATION = "checkpoints", "validation"
_KINDS = (STEPS, INPUT, CHECKPOINTS, VALIDATION, START)


class Goodput:
    """Adds up the seconds that this process spends in each part of a run.

    Goodput is the share spent in steps. Start is what comes before the first step has been taken:
    reading the data set, restoring and compiling.
    """

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._seconds: dict[str, float] = dict.fromkeys(_KINDS, 0.0)

    @contextlib.contextmanager
    def spent_in(self, kind: str, hidden: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Counts the time within as `kind`.

        Args:
            kind: such as `INPUT`.
            hidden: asked at the end: a step was running on the devices all the while. Then they
                did not wait, and the time counts as spent in steps.
        """
        begin = time.monotonic()
        try:
            yield
        finally:
            self._seconds[STEPS if hidden() else kind] += time.monotonic() - begin

    def started(self) -> None:
        """The first step has been taken: all until now was the start."""
        for kind in _KINDS:
            self._seconds[kind] = 0.0
        self._seconds[START] = time.monotonic() - self._begin

    def summary(self) -> str:
        total = time.monotonic() - self._begin
        parts = ", ".join(f"{kind} {self._seconds[kind]:.1f} s" for kind in _KINDS)
        rest = total - sum(self._seconds.values())
        return (
            f"goodput {100 * self._seconds[STEPS] / max(total, 1e-9):.1f} % of {total:.1f} s: "
            f"{parts}, other {rest:.1f} s"
        )
