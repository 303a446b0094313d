#!/bin/sh
# One boot of a lab host: runs in fresh namespaces (mount, net, uts, ipc, cgroup, pid) and becomes its systemd.
# Usage: boot.sh NAME NUMBER STATE LOWER, where STATE is the host's disk and LOWER its read-only layers, for overlayfs.
# Everything made here ends with the namespaces; STATE alone lives through a reboot.
set -eu
name=$1 number=$2 state=$3 lower=$4
root=$state/root

mkdir -p "$state/upper" "$state/work" "$state/docker" "$state/containerd" "$root"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$state/upper,workdir=$state/work" "$root"
cd "$root"

# The network is there before the first program of the host runs: no moment is easier for a firewall than reality.
ip link set lo up
# The same hardware addresses at each boot: the neighbours remember them.
mac() { printf 02:00:00:00:%02x:%02x "$1" "$2"; }
# The kernel takes away the wire of the boot before in its own time, and until then its name is taken.
wire() {
    for attempt in $(seq 100); do
        ip -n fabric link del "$2$number" 2>/dev/null || :
        if said=$(ip link add "$1" address "$3" type veth peer name "$2$number" netns fabric 2>&1); then return; fi
        sleep 0.05
    done
    echo "no wire for $1 after $attempt attempts: $said" >&2
    exit 1
}
wire eth0 wan "$(mac 1 "$number")"
wire eth1 lan "$(mac 2 "$number")"
for net in wan lan; do
    ip -n fabric link set "$net$number" master "$net" up
done
ip addr add "198.51.100.$number/24" dev eth0
ip addr add "192.168.50.$number/24" dev eth1
ip -6 addr add "2001:db8:100::$number/64" dev eth0 nodad
ip -6 addr add "fd50::$number/64" dev eth1 nodad
ip link set eth0 up
ip link set eth1 up
# As they know the host, it knows them. An attacker that speaks to 127.0.0.1 gets no answer from a host that has to ask.
# Not `add`: who speaks to the host all the time has taught it already.
for last in 2 $((number + 100)); do
    ip neigh replace "198.51.100.$last" lladdr "$(mac 1 "$last")" dev eth0 nud permanent
    ip neigh replace "2001:db8:100::$last" lladdr "$(mac 1 "$last")" dev eth0 nud permanent
done
ip neigh replace 192.168.50.2 lladdr "$(mac 2 2)" dev eth1 nud permanent
ip neigh replace fd50::2 lladdr "$(mac 2 2)" dev eth1 nud permanent
# The untrusted neighbour is also the way to the rest of the world.
ip route add default via 198.51.100.2
ip -6 route add default via 2001:db8:100::2

mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 dev dev
mkdir dev/pts dev/shm
for node in full null random tty urandom zero; do
    touch "dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs shm dev/shm
mount -t tmpfs -o mode=755 run run
mount -t tmpfs tmp tmp
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup sys/fs/cgroup
else
    mount -t tmpfs -o mode=755 cgroup sys/fs/cgroup
    for controller in cpu cpuacct cpuset memory devices freezer blkio pids; do
        mkdir "sys/fs/cgroup/$controller"
        mount -t cgroup -o "$controller" cgroup "sys/fs/cgroup/$controller"
    done
    mkdir sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
fi
# The kernel's settings are the machine's, but for those of the network, which are the host's own.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,rw proc/sys/net
# A boot of its own, as far as one can ask: journalctl --boot and Ansible's reboot go by this.
cat /proc/sys/kernel/random/uuid >run/boot-id
mount --bind run/boot-id proc/sys/kernel/random/boot_id
if [ -e proc/sysrq-trigger ]; then
    mount --bind proc/sysrq-trigger proc/sysrq-trigger
    mount -o remount,bind,ro proc/sysrq-trigger
fi
# One /proc that nothing lies on: without, the kernel refuses a /proc to user namespaces, and so to userns-remap.
mkdir dev/.proc
mount -t proc proc dev/.proc

# Docker's own overlays cannot lie on an overlay.
mkdir -p var/lib/docker var/lib/containerd
mount --bind "$state/docker" var/lib/docker
mount --bind "$state/containerd" var/lib/containerd

hostname "$name"
mkdir -p mnt
pivot_root . mnt
umount --lazy /mnt
exec env -i container=lab PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /sbin/init
