"""Notes on what a transcript may lack: an option that changes nothing, and speech after the last word."""

from typing import TYPE_CHECKING

from finetune.models.companion_files import trained_languages
from finetune.systems.base import System
from finetune.systems.transcript import Transcript
from preprocessing.audio import SAMPLE_RATE
from preprocessing.text.languages import language_code

if TYPE_CHECKING:
    from torch import Tensor

MISSED_SECONDS = 10.0  # from the last word to the end of the last speech: what is more is said
LENGTHEN = "ffmpeg -i FILE -af apad=whole_dur=31 LONGER.wav"


def language_note(system: System, language: str | None) -> str | None:
    """A note where --language changes nothing for a system; None where it does, or names the training's language."""
    if language is None or system.takes_language:
        return None
    trained = trained_languages(system.facts.checkpoint)
    code = language_code(language) or language
    if code in {language_code(one) or one for one in trained}:
        return None
    was = f", which was trained on {', '.join(trained)}" if trained else ""
    return (
        f"--language {language} is only the name of the language in the results: it changes nothing in what "
        f"{system.facts.name} writes{was}"
    )


def missed_speech(waveform: "Tensor", transcript: Transcript, system: System) -> str | None:
    """A note where speech goes on for more than MISSED_SECONDS after the last word, with what may help; else None.

    system: that of the transcript.
    """
    end = max((segment.end for segment in transcript.segments), default=0.0)
    if len(waveform) / SAMPLE_RATE - end <= MISSED_SECONDS:
        return None
    from preprocessing.segment.voice_activity import detector_gain, speech_spans

    first = round(end * SAMPLE_RATE)
    spans = speech_spans(waveform[first:], gain=detector_gain(waveform))
    last = (first + spans[-1].stop) / SAMPLE_RATE if spans else end
    if last - end <= MISSED_SECONDS:
        return None
    ends = f"the text ends at {end:.1f} s, but there is speech" if transcript.text else "there is no text, but speech"
    remedy = ""
    if system.may_end_at_pause:
        remedy = f": a Whisper may write the rest if silence makes the recording longer than 30 s, as by `{LENGTHEN}`"
    return f"{ends} until {last:.1f} s; check it{remedy}"
