#!/usr/bin/env bash
# What is measured on a GPU, in at most 12 minutes; needs $ASR_DATA_DIR with librispeech/.
#   bash experiments/gpu_session.sh OUT          each step's log, JSON and picture go to OUT
#   bash experiments/gpu_session.sh OUT --tiny   the same steps at their smallest, on a CPU where there is no GPU
# A step that fails or runs out of time is reported at the end (exit code 1); the others are run all the same.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:?OUT, the folder for results} size=${2:-full} python=${PYTHON:-python3}
mkdir -p "$out"
case $size in
  full) quick='' utterances=60 updates=30 ;;
  --tiny) quick='--quick true' utterances=4 updates=2 ;;
  *) echo "error: $size is no option; expected --tiny or nothing" >&2; exit 2 ;;
esac
failed=()

step() { # NAME SECONDS COMMAND...: run with a time limit, log to OUT/NAME.log, show how it ended
  local name=$1 limit=$2 began=$SECONDS code=0; shift 2
  echo "== $name (at most $limit s): $*"
  timeout "$limit" "$@" >"$out/$name.log" 2>&1 || code=$?
  tail -n 25 "$out/$name.log"
  echo "== $name: $((SECONDS - began)) s, exit code $code"
  [ "$code" = 0 ] || failed+=("$name")
}

step machine 60 "$python" -c 'import torch, transformers
print(torch.__version__, transformers.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")'
step training 150 "$python" -m experiments.training_speed $quick --rounds 1 --updates "$updates" --utterances 256 \
  --json "$out/training.json" --plot "$out/training.png"
step transcribing 150 "$python" -m experiments.transcribing_speed $quick --utterances "$utterances" --rounds 3 \
  --json "$out/transcribing.json"
step whisper 90 "$python" -m experiments.transcribing_speed $quick --whisper true --utterances "$utterances" --rounds 2 \
  --json "$out/whisper.json"
step energy 120 "$python" benchmark/run.py --models wav2vec2=demo/wav2vec2,whisper=demo/whisper \
  --data "${ASR_DATA_DIR:-../shared/data}/librispeech/test-other.jsonl" --limit "$utterances" --output_dir "$out/energy" --overwrite true
step tests 150 "$python" -m pytest -q -x -p no:cacheprovider -m gpu \
  tests/finetune/test_gpu.py tests/finetune/test_fast_convolutions.py tests/preprocessing/test_features.py \
  tests/preprocessing/test_spec_augment.py
if [ ${#failed[@]} -gt 0 ]; then echo "failed or short of what is required: ${failed[*]}"; exit 1; fi
