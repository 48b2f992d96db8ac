# Stands outside the namespaces and cleans up behind them, however they end.
# Arguments: the cluster's name, its state folder, how long it lives (`attached` or `detached`).
name=$1 state=$2 lifetime=$3

# Whoever holds this lock is the cluster's guard: a cluster without one is stale.
exec 9>"$state.lock"
flock --wait 5 9 || exit 75

if [ "$lifetime" = detached ]; then
  setpriv --pdeathsig KILL unshare --pid --fork --kill-child --mount --net \
    sh "$state/init.sh" "$state" "$lifetime" </dev/null 9>&-
else
  setpriv --pdeathsig KILL unshare --pid --fork --kill-child --mount --net \
    sh "$state/init.sh" "$state" "$lifetime" 9>&-
fi

# Every process has ended, and with them went the mounts, the network and its interfaces.
. "$state/sweep.sh"
