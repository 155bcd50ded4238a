"""How every command starts: absl flags, one-line errors, exit status 2 for bad input."""

import itertools
import os
import re
import select
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from absl import app, flags, logging
from ml_collections.config_flags.config_flags import ConfigFileFlagParser

from wristmir_jax.errors import EXIT_BAD_INPUT, InterruptedRunError, UserError

# 128 + the number of the signal (SIGINT, SIGPIPE), as shells count.
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


def run(main: Callable[[], None]) -> None:
    """Parse the absl flags, call `main()`, and turn what the user got wrong into one line.

    Exit status: 0 done (also after `--help`), 2 for a `UserError` or a wrong flag, 130 when
    interrupted (143 by SIGTERM), 75 when another process of the run is lost, 141 when the reader of
    a pipe has left. Anything else is a defect of ours and keeps its traceback.
    """
    # Not absl's app.run: Grain's worker processes need flags that are parsed before main.
    app.define_help_flags()
    try:
        _parse(sys.argv)
        logging.use_absl_handler()
        main()
        sys.stdout.flush()
    except UserError as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    except InterruptedRunError as interruption:
        print(interruption, file=sys.stderr)
        sys.exit(interruption.exit_status)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        if not _reader_has_left():
            raise
        sys.exit(EXIT_BROKEN_PIPE)


def _reader_has_left() -> bool:
    """Whether standard output is a pipe to a program that has ended, such as `head`."""
    descriptor = sys.stdout.fileno()
    poll = select.poll()
    poll.register(descriptor, 0)
    left = any(event & select.POLLERR for _, event in poll.poll(0))
    if left:
        # Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    return left


def _parse(argv: list[str]) -> None:
    """Parse `argv` into `flags.FLAGS`.

    Raises:
        UserError: names the flag or the config key that is wrong.
    """
    try:
        positional = flags.FLAGS(argv)[1:]
    except SystemExit:
        # --help and its kin leave with status 1.
        sys.stdout.flush()
        sys.exit(0)
    except Exception as error:
        # ml_collections reports a wrong config or key by exceptions of many types.
        _check_configs(argv)
        if isinstance(error, flags.Error):
            raise UserError(_reworded(str(error))) from error
        raise
    # A config file that cannot be read is no error to ml_collections before it is used.
    _check_configs(argv)
    if positional:
        raise UserError(
            f"unexpected argument {positional[0]!r}: flags are written --name=value; see --help"
        )


def _reworded(message: str) -> str:
    missing = re.search(r"Flag --(\S+) must have a value other than None", message)
    return f"--{missing[1]} is missing: see --help" if missing else message


def _check_configs(argv: list[str]) -> None:
    for name in flags.FLAGS:
        parser = flags.FLAGS[name].parser
        if isinstance(parser, ConfigFileFlagParser):
            _check_config(name, parser, argv)


def _check_config(name: str, parser: ConfigFileFlagParser, argv: list[str]) -> None:
    given = [
        match[1] or following
        for argument, following in itertools.pairwise([*argv[1:], ""])
        if (match := re.fullmatch(rf"--?{name}(?:=(.*))?", argument))
    ]
    if not given:
        return
    path = Path(given[-1].split(":", 1)[0])
    if not path.is_file():
        raise UserError(f"--{name}={path}: no such file: give a recipe, such as configs/demo.py")
    try:
        config = parser.parse(given[-1])
    except UserError:
        raise
    except Exception as raised:
        error = raised
        if isinstance(error, (TypeError, ValueError)) and error.__context__ is not None:
            # ml_collections raises these anew, with the whole traceback for a message.
            error = error.__context__
        # The last line of code in the file itself; a syntax error has no such frame but a lineno.
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        line = frames[-1].lineno if frames else getattr(error, "lineno", None)
        reason = traceback.format_exception_only(error)[-1].strip()
        raise UserError(f"--{name}={path}: line {line}: {reason}") from raised
    for argument in argv[1:]:
        if match := re.match(rf"--?(?:no)?{name}\.([^=]+)", argument):
            _check_key(name, config, match[1])


def _check_key(name: str, config, key: str) -> None:
    node = config
    for i, part in enumerate(key.split(".")):
        keys = sorted(node.keys()) if hasattr(node, "keys") else []
        if part not in keys:
            parent = ".".join([name, *key.split(".")[:i]])
            choices = f"choose one of {', '.join(keys)}" if keys else f"{parent} is a plain value"
            raise UserError(f"--{name}.{key}: the config has no such key: {choices}")
        node = node[part]
