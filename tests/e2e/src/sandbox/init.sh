# The first process of the cluster's namespaces. When it ends, the kernel ends every other process in them.
# Arguments: the state folder, how long the cluster lives (`attached` or `detached`).
set -e
state=$1 lifetime=$2
. "$state/network.sh"

# /proc still shows the machine's numbers here: this is our own, as seen from outside.
read -r outside_pid _ </proc/self/stat

mount -t proc proc /proc
# What the container runtime leaves in these folders goes away with the namespace.
mount -t tmpfs tmpfs /run
for folder in /var/lib/cni /var/lib/kubelet /var/log/containers /var/log/pods; do
  mkdir -p "$folder"
  mount -t tmpfs tmpfs "$folder"
done
# etcd waits for its disk on every write: memory has none.
mount -t tmpfs tmpfs "$state/etcd"

ip link set lo up
ip address add "$node_address/32" dev lo
ip route add default dev lo
echo 1 >/proc/sys/net/ipv4/ip_forward
# A new connection per request uses up the default range of ports within minutes.
echo "20000 65000" >/proc/sys/net/ipv4/ip_local_port_range
echo 1 >/proc/sys/net/ipv4/tcp_tw_reuse

# Beyond this machine's own addresses and the pods' there is nothing. What goes there is refused at once, where it
# would else be waited for: names of registries, and Services that kube-proxy does not know yet.
for chain in OUTPUT FORWARD; do
  iptables --append "$chain" --destination "$pod_range" --jump ACCEPT
  iptables --append "$chain" --match addrtype --dst-type LOCAL --jump ACCEPT
  iptables --append "$chain" --jump REJECT
done
if [ -e /etc/resolv.conf ]; then
  echo "nameserver 127.0.0.1" >"$state/resolv.conf"
  mount --bind "$state/resolv.conf" /etc/resolv.conf
fi

echo "$outside_pid" >"$state/init.pid.draft"
mv "$state/init.pid.draft" "$state/init.pid"

# Standard input ends when the process that started the cluster does. Waiting also reaps orphans.
exec 3<&0
if [ "$lifetime" = detached ]; then sleep infinity & else cat <&3 >/dev/null & fi
wait $!
