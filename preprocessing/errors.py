"""The two errors that a user can correct: wrong usage (exit code 2) and input that cannot be used (exit code 1).

Their message is one sentence that names the file or flag, what was found, what was expected, and the remedy. Every
command prints it alone, without a traceback (`options.run_command`); any other exception is a defect of the program.
Without an import, as every module raises these.
"""


class UserError(Exception):
    """An error that the user can correct; a command ends with its `exit_code`."""

    exit_code = 1


class InputError(UserError):
    """A file or a corpus cannot be used as it is."""


class UsageError(UserError):
    """A flag, key or name does not exist, has a wrong value, or does not go with another."""

    exit_code = 2


def install_extra(extra: str) -> str:
    """What installs an optional dependency, for the end of a message.

    >>> install_extra("app")
    'pip install ".[app]" in the checkout'
    """
    return f'pip install ".[{extra}]" in the checkout'


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun, in the plural where it is not 1, for messages and reports.

    >>> counted(1, "speaker"), counted(2620, "utterance"), counted(2, "batch", "batches")
    ('1 speaker', '2,620 utterances', '2 batches')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {plural or f'{noun}s'}"


def described(error: BaseException) -> str:
    """Any exception in words: its type and message, or the type alone where it has no message.

    >>> described(ValueError("too few")), described(MemoryError())
    ('ValueError: too few', 'MemoryError')
    """
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, for a sentence; its type where it has no message.

    >>> first_line(RuntimeError("\\nno such key\\n  at line 3")), first_line(EOFError())
    ('no such key', 'EOFError')
    """
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def one_line(text: str, limit: int = 80) -> str:
    """Text of a user's for a table or a picture: on one line, at most `limit` characters.

    >>> one_line("a name\\nof two lines", limit=10)
    'a name of…'
    """
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {0x7F: 0x2421}
_SHOWN = _PICTURES | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)


def printable(text: str) -> str:
    """Text from a file or another program for a terminal: control characters, which it would obey, become pictures.

    >>> printable("red: \x1b[31m")
    'red: ␛[31m'
    """
    return text.translate(_SHOWN)
