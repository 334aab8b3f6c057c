"""What `python -m finetune.transcribe` is made of: recordings found and cut, transcripts written, and the run.

options: those of the command, and the system that they name
recordings: files, folders and standard input, and pieces of long ones   writers: txt, json, srt, vtt, tsv, TextGrid
results: the output folder that a run goes on in, or standard output   run: batches through a system, with progress
notes: what a reader of a transcript is told beside it
made_with: what a run that goes on has to have in common with the one before
"""
