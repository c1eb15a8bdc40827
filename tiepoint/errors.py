"""The one error that a user can cause and mend, and what other errors say in one line."""

MAX_REASON = 300  # characters


class InputError(ValueError):
    """An input that cannot be used. The message is one line that names the file or key and the remedy.

    The command line prints it without a traceback and exits with code 2.
    """


def reason(error: BaseException) -> str:
    """What an exception of another library says, in one line that is not long, or its class where it says nothing."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= MAX_REASON else f"{said[: MAX_REASON - 4]} ..."
