"""What a user can mend is a UserError: one message that says what, where, and what would work."""


class UserError(Exception):
    """The command line prints the message without a traceback and exits with status 2."""


class ReadOnlyError(UserError):
    """A folder may not be written to: what was found can still be shown."""


HANDFUL = 10
"""names that a message lists at most"""


def did_you_mean(word: str, choices: list[str]) -> str:
    """'; did you mean X?' when something close exists, otherwise what exists: all of a handful, else the nearest."""
    import difflib

    choices = list(dict.fromkeys(choices))
    if close := difflib.get_close_matches(word, choices, n=1, cutoff=0.6):
        return f"; did you mean {close[0]}?"
    if len(choices) <= HANDFUL:
        return f"; there is: {', '.join(choices)}"
    nearest = sorted(choices, key=lambda name: -difflib.SequenceMatcher(None, word, name).ratio())[:HANDFUL]
    return f"; the nearest of {len(choices)}: {', '.join(nearest)}"
