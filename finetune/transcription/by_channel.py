"""Calls with a speaker on each channel: every channel is a recording of its own, and their transcripts become one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from finetune.systems.transcript import Transcript, joined
from finetune.transcription.kept_pieces import KeptPieces
from finetune.transcription.recordings import Recording
from finetune.transcription.results import Results
from preprocessing.errors import printable

if TYPE_CHECKING:
    from rich.console import Console


class ByChannel:
    """`Results` of channels, which are written as those of their recordings.

    A recording whose channels are not all transcribed has no results.
    """

    def __init__(self, results: Results, speakers: Sequence[str], console: "Console") -> None:
        """speakers: names of those on the channels, from channel 0 on. console: where it says that they are in several
        languages.
        """
        self._results, self._speakers, self._console = results, tuple(speakers), console
        self._found: dict[int, dict[str, Transcript | None]] = {}

    def pending(self, recordings: Sequence[Recording]) -> list[Recording]:
        """Each channel of each recording that is not done yet. See `Results.pending`."""
        n_channels = len(self._speakers)
        return [
            replace(recording, channel=channel, n_channels=n_channels)
            for recording in self._results.pending(recordings)
            for channel in range(n_channels)
        ]

    def write(self, place: int, recording: Recording, transcript: Transcript | None, seconds: float) -> None:
        """See `Results.write`; the recording's are written after its last channel."""
        call, channel = divmod(place, len(self._speakers))
        found = self._found.setdefault(call, {})
        found[self._speakers[channel]] = transcript
        if len(found) == len(self._speakers):
            del self._found[call]
            whole = replace(recording, channel=None, n_channels=None)
            in_order = {name: found[name] for name in self._speakers}
            call_transcript = merged(in_order)
            if call_transcript is not None and (note := _languages_note(in_order, call_transcript)):
                self._console.print(printable(f"note: {recording.shown}: {note}"), markup=False)
            self._results.write(call, whole, call_transcript, seconds)

    def kept_pieces(self, recording: Recording, longest_seconds: float) -> KeptPieces | None:
        """See `Results.kept_pieces`; those of a channel are kept until the recording's results are written."""
        return self._results.kept_pieces(recording, longest_seconds)


def merged(transcripts: Mapping[str, Transcript | None]) -> Transcript | None:
    """One transcript of those of several speakers, from channel 0 on, its segments by their start, in the language of
    the first of them that has text; None where one has none.

    >>> yes = Transcript.of_text("yes", 2.0)
    >>> [(one.speaker, one.text) for one in merged({"Ann": yes.shifted(1.0), "Bob": yes}).segments]
    [('Bob', 'yes'), ('Ann', 'yes')]
    """
    found = [transcript for transcript in transcripts.values() if transcript is not None]
    if len(found) < len(transcripts):
        return None
    segments = [
        replace(segment, speaker=name, channel=channel)
        for channel, (name, transcript) in enumerate(zip(transcripts, found, strict=True))
        for segment in transcript.segments
    ]
    in_order = tuple(sorted(segments, key=lambda segment: segment.start))
    text = joined([Transcript(segment.text) for segment in in_order]).text
    return replace(joined([one for one in found if one.text] or found), text=text, segments=in_order)


def _languages_note(transcripts: Mapping[str, Transcript | None], call: Transcript) -> str | None:
    """A note where channels with text are in different languages; else None."""
    languages = {name: one.language for name, one in transcripts.items() if one and one.text and one.language}
    if len(set(languages.values())) < 2:
        return None
    listed = ", ".join(f"{name} in {language}" for name, language in languages.items())
    return (
        f"the model detected {listed}; the results name {call.language}: if that is wrong, name the language of all "
        "with --language"
    )
