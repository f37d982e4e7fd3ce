"""A person's mistakes, and what is said of errors: the one place for both."""


class UsageError(ValueError):
    """A person's mistake: one sentence that says what was asked, what there is, and what to type.

    A command prints it after `error: ` and ends with exit status 2. Whatever else is raised is a bug
    of this project or a fault of the machine, and is never shown as a mistake.
    """


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its class where it has none."""
    return _lines(error)[0]


def last_line(error: BaseException) -> str:
    """Return the last line of an error's text: the cause, where a library puts its own stack first."""
    return _lines(error)[-1]


def _lines(error: BaseException) -> list[str]:
    return (str(error).strip() or type(error).__name__).splitlines()
