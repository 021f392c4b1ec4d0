#!/bin/bash
# Several machines without a scheduler, one process per GPU, in an Apptainer (Singularity) container:
# start it on each of them.
#
#     bash experiments/clusters/torchrun_many_nodes_apptainer.sh
#
# from the root of the checkout; further words are overrides, such as --seed_everything 1.
#
# Edit: `nodes`, `first` and `gpus`, then `run`, and `image`. All machines share the current folder.
# SIGTERM to torchrun (it prints its number), on any machine, saves after the step and ends the run; --resume goes on.
# The image needs repsynth and its packages; code, data and runs are read and written below the current folder.
# `data.batch_size` is that of all GPUs together and a multiple of their number; nothing adapts the learning rate to it.
# Methods with several optimisers need `--trainer.strategy ddp_find_unused_parameters_true`.

set -euo pipefail

nodes=2
# The first machine's name as the others know it, and a free port there.
first=node01:29500
gpus=8

# The experiment and its overrides.
run=(
    --config experiments/stereolayers/paper/stereolayers_4.yaml
    --data.root data/sword
    --data.batch_size 16
    --data.num_workers 8
    --trainer.default_root_dir runs/stereolayers_4
    --trainer.precision bf16-mixed
    --trainer.strategy ddp
    "$@"
)
image=repsynth.sif

# Seconds that the ranks have to save after SIGTERM before torchrun kills them; older PyTorch always gives 30.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=300
# The network between the machines, where NCCL does not find the fast one by itself:
# export NCCL_SOCKET_IFNAME=ib0

echo "torchrun is process $$" >&2
# --max-restarts 3 would start again from the newest checkpoint when a rank fails.
exec apptainer exec --nv --bind="$PWD" --pwd="$PWD" "$image" \
    torchrun --nnodes "$nodes" --rdzv-backend c10d --rdzv-endpoint "$first" --rdzv-id repsynth \
    --nproc-per-node "$gpus" --max-restarts 0 -m repsynth fit "${run[@]}" \
    --trainer.devices "$gpus" --trainer.num_nodes "$nodes" --resume
