"""The one error that a user can cause and mend."""


class InputError(ValueError):
    """An input that cannot be used. The message is one line that names the file or key and the remedy.

    The command line prints it without a traceback and exits with code 2.
    """
