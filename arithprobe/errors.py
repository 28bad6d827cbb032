"""The one exception for mistakes of a user, and the one warning."""


class ArithprobeError(ValueError):
    """A user's mistake. Its text is one line: the thing, what was expected, what came, and where.

    The command line prints the text and exits with code 2; in a notebook it is an ordinary ``ValueError``.
    """


class SharedRowsWarning(UserWarning):
    """Validation rows repeat training rows, in a split mode that allows it."""
