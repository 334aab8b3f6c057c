"""What `python -m finetune.lm` can be told: one doc a field."""

from dataclasses import dataclass
from pathlib import Path

from preprocessing.errors import UsageError

LONGEST = 6  # words


@dataclass(frozen=True)
class LanguageModelConfig:
    """From a text to an ARPA file."""

    text: str
    """A text file, a line an utterance, perhaps gzipped; or a corpus, whose texts are taken."""

    output: Path
    """The ARPA file."""

    order: int = 3
    """Words of the longest n-grams."""

    least: int = 1
    """n-grams of three words and more that occur less often are left out: 2 halves the file and costs little."""

    profile: str = "librispeech"
    """Text profile that the lines are normalised by: that of the recogniser's labels, so that its words are found."""

    evaluate: str | None = None
    """A text or corpus to measure the model's perplexity on; never the one that it is made of."""

    def check(self) -> None:
        """Raises UsageError on values that cannot be."""
        if not 1 <= self.order <= LONGEST:
            raise UsageError(f"--order is {self.order}; expected 1 to {LONGEST}: mend it")
        if self.least < 1:
            raise UsageError(f"--least is {self.least}; expected 1 or more: mend it")
        if self.output.is_dir():
            raise UsageError(f"--output {self.output} is a folder; expected a file, such as words.arpa: name one")
