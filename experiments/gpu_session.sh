#!/usr/bin/env bash
# What is measured on a GPU, in at most 12 minutes; needs $ASR_DATA_DIR with librispeech/.
#   bash experiments/gpu_session.sh OUT                    each step's log, JSON and picture go to OUT
#   bash experiments/gpu_session.sh OUT training tests     these steps alone
#   SIZE=tiny bash experiments/gpu_session.sh OUT          every step at its smallest, on a CPU where there is no GPU
# A step that fails or runs out of time is reported at the end (exit code 1); the others are run all the same.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:?OUT, the folder for results}; shift
mkdir -p "$out"
python=${PYTHON:-python3} data=${ASR_DATA_DIR:-data}
case ${SIZE:-full} in
  full) quick='' utterances=60 updates=15 ;;
  tiny) quick='--quick true' utterances=2 updates=2 ;;
  *) echo "error: SIZE is $SIZE; expected full or tiny" >&2; exit 2 ;;
esac
failed=()

run() { # NAME SECONDS COMMAND...: run with a time limit, log to OUT/NAME.log, show how it ended
  local name=$1 limit=$2 began=$SECONDS code=0; shift 2
  echo "== $name (at most $limit s): $*"
  timeout "$limit" "$@" >"$out/$name.log" 2>&1 || code=$?
  tail -n 25 "$out/$name.log"
  echo "== $name: $((SECONDS - began)) s, exit code $code"
  [ "$code" = 0 ] || failed+=("$name")
}

steps=${*:-machine training transcribing whisper energy tests profile}
for step in $steps; do
  case $step in
    machine) run machine 30 "$python" -c 'import torch, transformers
print(torch.__version__, transformers.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")' ;;
    tests) run tests 120 "$python" -m pytest -q -p no:cacheprovider -m gpu tests/finetune/training/test_gpu.py tests/finetune/models/test_packing.py \
      tests/finetune/models/test_fast_convolutions.py tests/preprocessing/test_features.py tests/preprocessing/test_spec_augment.py ;;
    training) run training 180 "$python" -m experiments.training_speed $quick --rounds 1 --steps $updates \
      --utterances 256 --json "$out/training.json" --plot "$out/training.png" ;;
    profile) run profile 90 "$python" -m experiments.training_profile $quick --json "$out/profile.json" \
      --plot "$out/profile.png" ;;
    transcribing) run transcribing 120 "$python" -m experiments.transcribing_speed $quick --utterances $utterances \
      --rounds 2 --json "$out/transcribing.json" ;;
    whisper) run whisper 90 "$python" -m experiments.transcribing_speed $quick --whisper true --utterances $utterances \
      --rounds 2 --json "$out/whisper.json" ;;
    energy) run energy 90 "$python" benchmark/run.py --models wav2vec2=demo/wav2vec2,whisper=demo/whisper \
      --data "$data/librispeech/test-other.jsonl" --limit $utterances --output_dir "$out/energy" --overwrite true ;;
    *) echo "error: $step is no step; expected machine, training, transcribing, whisper, energy, tests or profile" >&2; exit 2 ;;
  esac
done
if [ ${#failed[@]} -gt 0 ]; then echo "failed or short of what is required: ${failed[*]}"; exit 1; fi
