"""One of two processes; the second compiles longer. Prints when it had compiled and called."""

import sys
import time

import jax

from wristmir_jax.learning.programs import Programs

COMPILES_SECONDS = 3.0


class SlowToCompile:
    """Stands for what `jax.jit` gives."""

    def lower(self, *_):
        return self

    def compile(self):
        time.sleep(COMPILES_SECONDS * jax.process_index())
        print(time.time())
        return lambda *_: print(time.time())


def main(address, process):
    jax.distributed.initialize(address, num_processes=2, process_id=int(process))
    Programs(SlowToCompile())(None, {})
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
