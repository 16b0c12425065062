"""What a user can mend is a UserError: one message that says what, where, and what would work."""


class UserError(Exception):
    """The command line prints the message without a traceback and exits with status 2."""


def did_you_mean(word: str, choices: list[str]) -> str:
    """'; did you mean X?' when something close exists, otherwise the list of what exists."""
    import difflib

    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else f"; there is: {', '.join(choices)}"
