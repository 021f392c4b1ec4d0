#!/bin/bash
# Runs a command on a SLURM cluster of one node, this machine, and takes the cluster down again however the command ends.
#
#     tests/slurm/with_slurm.sh COMMAND ...
#
# Needs root, and Debian's packages slurm-wlm and munge, which are installed if they are missing. The cluster lives in a
# temporary folder with ports and sockets of its own, so a SLURM that runs on this machine is not touched. Where there can
# be none the command runs all the same, with the reason in SLURM_MISSING.

set -euo pipefail

without() {
    echo "no SLURM: $1" >&2
    SLURM_MISSING=$1 exec "${command[@]}"
}

command=("$@")
[ "$(id -u)" = 0 ] || without "its daemons need root"
if ! { type -P slurmctld && type -P slurmd && type -P munged && type -P sbatch; } >/dev/null; then
    type -P apt-get >/dev/null || without "slurm-wlm and munge are not installed, and there is no apt-get"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y slurm-wlm munge; } >&2 ||
        without "apt-get could not install slurm-wlm and munge"
fi
# As the first process of its own process namespace, where the system allows one: even if it is killed, all others end too.
alone=(unshare --pid --fork --kill-child --mount-proc)
if [ $$ != 1 ] && "${alone[@]}" true 2>/dev/null; then
    exec "${alone[@]}" "$0" "$@"
fi

folder=$(mktemp -d /tmp/repsynth-slurm.XXXXXX)
export SLURM_CONF=$folder/slurm.conf

take_down() {
    trap - EXIT
    # Steps are nobody's children, so all processes are found by the configuration in their environment.
    for _ in $(seq 100); do
        left=$(env -u SLURM_CONF grep -lz "^SLURM_CONF=$SLURM_CONF$" /proc/[0-9]*/environ | cut -d/ -f3 || true)
        [ -n "$left" ] || break
        kill -KILL $left || true
        sleep 0.1
    done
    wait
    rm -rf "$folder"
} 2>/dev/null
trap take_down EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

start() {
    "$@" >"$folder/$1.log" 2>&1 &
}

until_answered() {
    for _ in $(seq 30); do
        if timeout 5 "$@" >/dev/null 2>&1; then return; fi
        sleep 0.5
    done
    tail -n 20 "$folder"/*.log >&2
    echo "with_slurm.sh: no answer to '$*'" >&2
    exit 1
}

chmod 755 "$folder"
mkdir "$folder/state" "$folder/spool"
install -d -o munge -m 755 "$folder/munge"
head -c 1024 /dev/urandom | install -o munge -m 400 /dev/stdin "$folder/munge/key"

ports=$(python3 -c '
import socket
probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(probe.getsockname()[1] for probe in probes))')
host=$(hostname -s)
cpus=$(nproc)
cat >"$SLURM_CONF" <<END
ClusterName=repsynth
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports% *}
SlurmdPort=${ports#* }
SlurmUser=root
AuthType=auth/munge
# How long credentials hold, and thereby how long a job that was put back waits: 120 seconds by default.
AuthInfo=socket=$folder/munge/socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
SchedulerParameters=sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
# A machine with one core has two all the same.
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=$((cpus > 2 ? cpus : 2)) Gres=gpu:2
PartitionName=grace Nodes=ALL PriorityTier=1 GraceTime=120 Default=YES
PartitionName=sudden Nodes=ALL PriorityTier=1 GraceTime=0
PartitionName=urgent Nodes=ALL PriorityTier=2
END
# The launch files ask for GPUs: two that nobody uses.
printf 'Name=gpu File=/dev/%s\n' null zero >"$folder/gres.conf"

start setpriv --reuid munge --regid munge --clear-groups munged --foreground --socket "$folder/munge/socket" \
    --key-file "$folder/munge/key" --pid-file "$folder/munge/pid" --seed-file "$folder/munge/seed"
until_answered munge --no-input --socket "$folder/munge/socket"
start slurmctld -D -c
until_answered scontrol ping
start slurmd -D
until_answered srun --immediate=4 true

code=0
"${command[@]}" || code=$?
exit "$code"
