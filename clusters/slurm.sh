#!/usr/bin/env bash
# A search on nodes of Slurm: `sbatch clusters/slurm.sh`, typed in the checkout. Change what stands above the line.
#
# Before its time limit the search ends as after Ctrl-C, is queued again and goes on where it was. Submitted again it goes
# on too. `scancel --batch --signal=TERM JOB` ends it in the same way, and it is not queued again.
#SBATCH --job-name=transform-tuner
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gpus-per-node=1
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=transform-tuner-%j.log
NAME=search
STORAGE=$HOME/transform-tuner-results # a directory that all nodes share, as the checkout is
SEARCH=(--model cnn --samples 64)     # as the search begins; when it goes on it knows them
source .venv/bin/activate

# ---------------------------------------------------------------------------------------------------------------------
set -euo pipefail

if [ -e "$STORAGE/tables/runs/run=$NAME" ]; then
  SEARCH=(--resume "$NAME")
else
  SEARCH+=(--name "$NAME")
fi

# Nobody else on these nodes may use this Ray, or has left a /tmp/ray in its way
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_TMPDIR="/tmp/ray-$UID"
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
# Nodes may take 5 minutes to come, and go 10 s after the first one has gone
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300 RAY_gcs_rpc_server_reconnect_timeout_s=10
# This is the first node, on which the search runs. Its name may stand for 127.0.1.1 here, which is nobody else's
head=$(python -c 'import ray.util; print(ray.util.get_node_ip_address())')
here=$(mktemp -d)

srun --cpus-per-task="$SLURM_CPUS_ON_NODE" --wait=60 --output=transform-tuner-%j-ray.log --open-mode=append \
  ray symmetric-run --address "$head:6379" --min-nodes "$SLURM_NNODES" --num-cpus "$SLURM_CPUS_ON_NODE" \
  --disable-usage-stats -- \
  bash -c '"$@" >>"transform-tuner-$SLURM_JOB_ID.log" 2>&1 &
    echo $! >"$0/search"; wait $! && echo 0 >"$0/status" || echo $? >"$0/status"' "$here" \
  python -m tuner.run --address auto --storage "$STORAGE" "${SEARCH[@]}" &
step=$!

end_search() {
  kill -TERM "$(cat "$here/search" 2>/dev/null || echo "$step")" || true # it has not begun, or has just ended
}
time_is_up=
trap 'time_is_up=yes; end_search' USR1
trap end_search TERM

while kill -0 "$step" 2>/dev/null; do
  wait "$step" || true # a signal ends it too
done
status=$(cat "$here/status" || echo 1)
rm -r "$here"
if [ "$time_is_up" ] && [ "$status" != 0 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
