#!/bin/sh
# mmdebstrap customize hook: removes what belongs to this build or this build host, and what
# has to be different on every node.
# $1: the chroot.
set -eu
root=$1

rm -f "$root"/etc/ssh/ssh_host_*_key "$root"/etc/ssh/ssh_host_*_key.pub
rm -f "$root"/etc/iscsi/initiatorname.iscsi "$root"/etc/nvme/hostid "$root"/etc/nvme/hostnqn
rm -f "$root"/var/lib/systemd/random-seed "$root"/var/lib/dbus/machine-id
: >"$root/etc/machine-id"
rm -f "$root"/etc/hostname "$root"/etc/kernel/postinst.d/dracut
rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
rm -f "$root"/etc/apt/apt.conf.d/99mmdebstrap "$root"/etc/dpkg/dpkg.cfg.d/99mmdebstrap
rm -f "$root"/etc/passwd- "$root"/etc/group- "$root"/etc/shadow- "$root"/etc/gshadow- "$root"/etc/subuid- "$root"/etc/subgid-
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old
find "$root/var/log" -type f -delete
