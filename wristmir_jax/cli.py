"""How every command starts: absl flags, one-line errors, exit status 2 for bad input."""

import sys
from collections.abc import Callable

from absl import app, flags, logging

from wristmir_jax.errors import UserError

EXIT_BAD_INPUT = 2


def run(main: Callable[[], None]) -> None:
    """Parse the absl flags, call `main()` and turn a `UserError` into one line and exit status 2."""
    app.define_help_flags()
    try:
        remaining = flags.FLAGS(sys.argv)
        if len(remaining) > 1:
            raise UserError(
                f"unexpected argument {remaining[1]!r}: flags are written --name=value; see --help"
            )
    except (flags.Error, UserError) as error:
        _fail(str(error))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # ml_collections raises these while it applies --config.key=value overrides.
        _fail(f"--config: {error}")
    logging.use_absl_handler()
    try:
        main()
    except UserError as error:
        _fail(str(error))


def _fail(message: str) -> None:
    print("error: " + " ".join(message.strip("'\"").split()), file=sys.stderr)
    sys.exit(EXIT_BAD_INPUT)
