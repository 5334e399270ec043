#!/usr/bin/env bash
# One host with eight GPUs: one process uses all of them. Usage: one_host_8_gpus.sh [--config.KEY=VALUE ...]
# After status 75 (SIGTERM; a step was saved) or a kill, run the same command to resume.
set -euo pipefail

CONFIG=${CONFIG:-tsm_r50_1x1x8_50e_kinetics400_rgb} # fill in: the recipe
WORKDIR=${WORKDIR:-runs/tsm_r50}                    # fill in: the folder of the run
DATA=${DATA:-/data/kinetics400}                     # fill in: the folder of the lists and frames

export CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-0,1,2,3,4,5,6,7}
export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.9}

exec python -m actjax.main \
    --config="$CONFIG" \
    --workdir="$WORKDIR" \
    --config.data.train="$DATA/train.txt" \
    --config.data.val="$DATA/val.txt" \
    --config.run.batch_size=64 \
    --config.loader.num_workers=16 \
    "$@"
