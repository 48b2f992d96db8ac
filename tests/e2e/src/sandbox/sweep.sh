# Removes what outlives the processes of a cluster: its control groups and its state folder.
# Variables: name, state.
for attempt in 1 2 3 4 5; do
  find /sys/fs/cgroup/slipway-"$name" /sys/fs/cgroup/*/slipway-"$name" -depth -type d -exec rmdir {} \; 2>/dev/null
  ls -d /sys/fs/cgroup/slipway-"$name" /sys/fs/cgroup/*/slipway-"$name" >/dev/null 2>&1 || break
  sleep 0.2
done
rm -rf "$state"
