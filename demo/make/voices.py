"""Who speaks in the demo: eSpeak NG's human-sounding voice variants, split once into training and test speakers.

A speaker is one variant (a vocal tract: formants, pitch, voice quality); accent, rate and pitch vary around it from
utterance to utterance. Left out: robots, whispers and jokes (Demonic, UniRobot, anikaRobot, robosoft*, whisper*, caleb,
announcer, croak, Tweaky, zac), effects that are no voice (RicishayMax*, fast, kaukovalta, Lee, Marco, travis), and near
copies of a variant kept (iven, iven3, steph2, steph3, Gene2, klatt, klatt6, Henrique, miguel, AnxiousAndy, Mr serious).

Source: the files of `voices/!v` in https://github.com/espeak-ng/espeak-ng; a speaker's sex is what its file's `gender`
line says, and unknown where there is none.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from demo.make.espeak import Voice

FEMALE_SHARE = 0.4  # of the utterances: few of the variants are female
ACCENTS = {"en-us": 0.6, "en": 0.2, "en-gb-x-rp": 0.1, "en-gb-scotland": 0.1}  # eSpeak calls British English `en`
PITCHES = (35, 65)  # 50 is the variant's own
PITCH_RANGES = (30, 70)  # 50 is the variant's own


@dataclass(frozen=True)
class Speaker:
    """One voice variant; `id` is its file's name, `sex` is `female`, `male` or None where the file does not say."""

    id: str
    sex: str | None


def _speakers(female: str, male: str, unknown: str) -> tuple[Speaker, ...]:
    by_sex = (("female", female), ("male", male), (None, unknown))
    return tuple(Speaker(variant, sex) for sex, variants in by_sex for variant in variants.split())


TRAIN = _speakers(
    female="Alicia anika aunty f1 f3 f4 grandma linda",
    male="Diogo Hugo Storm m2 m3 m4 m5 m6 m7 michel victor",
    unknown="Alex Gene Jacky Mario Michael Mike Nguyen Reed adam benjamin boris ed edward edward2 grandpa gustave ian "
    "iven2 iven4 john klatt2 klatt3 klatt4 klatt5 marcelo max mike2 norbert pedro quincy rob robert shelby",
)
TEST = _speakers(
    female="Andrea Annie belinda f2 f5 steph",
    male="Andy Denis antonio m1 m8 sandro",
    unknown="david pablo paul",
)


def draw_voice(
    speakers: Sequence[Speaker], words_per_minute: tuple[int, int], rng: random.Random
) -> tuple[Speaker, Voice]:
    """A speaker, `FEMALE_SHARE` of them female, and one way in which that speaker talks.

    `words_per_minute` is the lowest and the highest rate.
    """
    female = rng.random() < FEMALE_SHARE
    speaker = rng.choice([one for one in speakers if (one.sex == "female") == female])
    voice = Voice(
        language=rng.choices(list(ACCENTS), weights=list(ACCENTS.values()))[0],
        variant=speaker.id,
        words_per_minute=rng.randint(*words_per_minute),
        pitch=rng.randint(*PITCHES),
        pitch_range=rng.randint(*PITCH_RANGES),
    )
    return speaker, voice
