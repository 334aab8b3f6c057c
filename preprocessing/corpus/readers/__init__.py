"""The layouts that a corpus is read in, one `Reader` each. A new one is a file in this folder and a line in READERS.

Every reader but the fallbacks is asked about a reference; one that two of them detect is refused with both names.
"""

from preprocessing.corpus.readers import folders, hugging_face, kaldi, manifest, speech_commands, stm, subtitles, tiers
from preprocessing.corpus.readers.rows import Reader

__all__ = ["READERS"]

READERS: tuple[Reader, ...] = (
    Reader("a dataset on the Hub (hf:DATASET)", hugging_face.is_hub_reference, hugging_face.read_hub_reference),
    Reader(
        "a saved dataset (state.json)", hugging_face.is_saved_dataset, hugging_face.read_saved_dataset,
        hugging_face.saved_splits,
    ),
    Reader("parquet files", hugging_face.is_parquet, hugging_face.read_parquet),
    Reader(
        "an audiofolder (metadata.csv or metadata.jsonl)", folders.is_audiofolder, folders.read_audiofolder,
        folders.audiofolder_splits,
    ),
    Reader("LJSpeech (wavs and metadata.csv of id|text)", folders.is_ljspeech, folders.read_ljspeech),
    Reader("a Kaldi data folder (wav.scp)", kaldi.is_kaldi, kaldi.read_kaldi),
    Reader("STM (*.stm, beside its audio or in stm/ beside sph/)", stm.is_stm, stm.read_stm, stm.stm_splits),
    Reader("Common Voice (clips and its tables)", folders.is_common_voice, folders.read_common_voice),
    Reader(
        "a LibriSpeech tree (*.trans.txt)", folders.is_librispeech, folders.read_librispeech,
        folders.librispeech_subsets,
    ),
    Reader(
        "Speech Commands (WORD/SPEAKER_nohash_0.wav)", speech_commands.is_speech_commands,
        speech_commands.read_speech_commands,
    ),
    Reader(
        "audio with a .txt beside each", folders.is_text_beside_audio, folders.read_text_beside_audio, is_fallback=True
    ),
    Reader(
        "audio with subtitles beside each (.srt, .vtt)", subtitles.is_subtitled, subtitles.read_subtitled,
        is_fallback=True,
    ),
    Reader(
        "audio with tiers beside each (.TextGrid, .eaf)", tiers.is_annotated, tiers.read_annotated, is_fallback=True
    ),
    Reader(
        "audio with a .lab beside each", folders.is_lab_beside_audio, folders.read_text_beside_audio, is_fallback=True
    ),
    Reader("a manifest (JSONL, CSV, TSV)", manifest.is_manifest, manifest.read_manifest, is_fallback=True),
)  # fmt: skip
