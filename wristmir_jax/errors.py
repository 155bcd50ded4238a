"""The exceptions that are meant for the person at the keyboard, and exit statuses."""

EXIT_BAD_INPUT = 2
# EX_TEMPFAIL of sysexits.h: nothing is wrong with what was asked; ask again.
EXIT_TRY_AGAIN = 75


class UserError(Exception):
    """Something the user gave is wrong.

    The message is one line that names the file, row, key or flag, says what is wrong and what to
    do. It never holds report text or a patient's name. Commands print it and exit with status 2.
    """


class InterruptedRunError(Exception):
    """A run was told to stop, has saved what it did, and can be taken up again.

    Args:
        message: one line.
        exit_status: of the command; 128 + the number of the signal, as shells count.
    """

    def __init__(self, message: str, exit_status: int):
        super().__init__(message)
        self.exit_status = exit_status
