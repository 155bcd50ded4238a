"""The one exception that is meant for the person at the keyboard."""


class UserError(Exception):
    """Something the user gave is wrong.

    The message is one line that names the file, row, key or flag, says what is wrong and what to
    do. It never holds report text or a patient's name. Commands print it and exit with status 2.
    """
