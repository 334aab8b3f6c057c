"""The two ways a user's wish can fail, each said in one sentence: wrong usage (exit 2) and bad input (exit 1).

Every command prints the sentence alone, without a traceback; anything else that is raised is a defect of ours.
A sentence names the file or flag, what was found, what was expected, and what to do about it.
"""


class UserError(Exception):
    """Something its user can mend; `exit_code` is what a command ends with."""

    exit_code = 1


class InputError(UserError):
    """A file or a corpus that cannot be used as it is."""


class UsageError(UserError):
    """A flag, key or name that does not exist or does not go with another."""

    exit_code = 2
