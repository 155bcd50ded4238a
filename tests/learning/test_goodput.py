"""Where the time of a run is said to go."""

import re
import time

from wristmir_jax.learning.goodput import INPUT, Goodput


def input_seconds(goodput):
    return float(re.search(r"input ([\d.]+) s", goodput.summary())[1])


def test_waiting_while_a_step_runs_is_no_waiting_for_input():
    goodput = Goodput()
    goodput.started()
    with goodput.spent_in(INPUT, hidden=lambda: True):
        time.sleep(0.2)
    assert input_seconds(goodput) == 0
    with goodput.spent_in(INPUT, hidden=lambda: False):
        time.sleep(0.2)
    assert input_seconds(goodput) >= 0.2
