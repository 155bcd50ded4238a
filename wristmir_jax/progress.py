"""Progress on stderr: rate and time left."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

# On a terminal the bar moves; in a log file a line now and then is enough.
_TERMINAL_SECONDS, _LOG_SECONDS = 0.2, 30.0


def with_progress(
    items: Iterable[Item],
    description: str,
    total: int | None,
    show: bool = True,
    count: Callable[[Item], int] = lambda item: 1,
    unit: str = " radiographs",
) -> Iterator[Item]:
    """The items; the bar starts with the first one, so that its rate is that of the work itself.

    Args:
        items: of the work, as they are done.
        description: stands before the bar.
        total: how much there is to do; None = not known.
        show: whether to show anything.
        count: how much of `total` an item stands for.
        unit: of what is counted, with a space before it.
    """
    bar = None
    try:
        for item in items:
            if bar is None:
                bar = tqdm(
                    total=total,
                    desc=description,
                    unit=unit,
                    mininterval=_TERMINAL_SECONDS if sys.stderr.isatty() else _LOG_SECONDS,
                    disable=not show,
                )
            yield item
            bar.update(count(item))
    finally:
        if bar is not None:
            bar.close()
