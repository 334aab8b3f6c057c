"""The programs that synthesised the speech in `demo/`.

`espeak` speaks a sentence, `voices` lists who may speak, `recording` turns clean speech into a recording and writes it,
and the two commands `python -m demo.make.commands` and `python -m demo.make.sentences` make one corpus each.
Using the demo needs none of this: the committed corpus is in `demo/corpus`.
"""
