"""A page to speak to: every system's text of one recording side by side. `python -m benchmark.app`; docs/app.md.

config: what it can be told   hear: recording in, hypotheses out   comparison: words against a reference
render: HTML of both   picture: waveform and log-mel   page: gradio's components and events
"""
