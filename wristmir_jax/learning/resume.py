"""Where a run goes on."""

import dataclasses
from collections.abc import Callable
from typing import Any

import grain
import jax

from wristmir_jax.learning.checkpoints import Checkpoints, DamagedCheckpointError, Origin
from wristmir_jax.learning.messages import tell
from wristmir_jax.learning.state import TrainState


@dataclasses.dataclass(frozen=True)
class Resumed:
    """A run after `step` steps.

    Attributes:
        step: 0 where it begins.
        state: None where it begins.
        iterator: over the batches that follow.
        origin: to save with the next checkpoints.
    """

    step: int
    state: TrainState | None
    iterator: grain.DatasetIterator
    origin: Origin


def resume(
    checkpoints: Checkpoints, plan: Any, make_iterator: Callable[[int], grain.DatasetIterator]
) -> Resumed:
    """Go on from the newest checkpoint that can be read, or begin.

    Damaged ones are set aside with a warning. The number of devices and of processes may have
    changed; with another number of processes the batches hold the same records in another order,
    which a warning says, since augmentation and rounding then differ.

    Args:
        checkpoints: of the run.
        plan: its state as ShapeDtypeStructs with shardings.
        make_iterator: batches of this process from behind a step on.
    """
    processes = jax.process_count()
    while (step := checkpoints.latest_step) is not None:
        try:
            saved = checkpoints.origin(step)
            if saved.process_count == processes:
                origin, iterator = saved, make_iterator(saved.iterator_first_step)
                state = checkpoints.restore(step, plan, iterator)
            else:
                origin, iterator = Origin(processes, step), make_iterator(step)
                state = checkpoints.restore(step, plan)
        except DamagedCheckpointError as error:
            tell(f"warning: {error}")
            checkpoints.set_aside(step)
            if checkpoints.latest_step is None:
                tell("warning: no checkpoint is left: the run begins anew")
            continue
        if saved.process_count != processes:
            tell(
                f"warning: step {step} was saved by {saved.process_count} processes and goes on "
                f"with {processes}: every batch holds the same records as before, but in another "
                "order, so augmentation and rounding differ"
            )
        tell(f"resumed after step {step}")
        return Resumed(step, state, iterator, origin)
    return Resumed(0, None, make_iterator(0), Origin(processes, 0))
