#!/bin/sh
# mmdebstrap customize hook: makes the initrd of the one installed kernel and stages both.
# $1: the chroot. HARROW_DRACUT_CONF: dracut's configuration, rendered from recipe.toml.
set -eu
root=$1
staging=$root/harrow-staging
mkdir -p "$staging"

set -- "$root"/usr/lib/modules/*
if [ $# -ne 1 ] || [ ! -d "$1" ]; then
    echo "expected exactly one kernel in /usr/lib/modules, found: $*" >&2
    exit 1
fi
release=${1##*/}

conf=$root/etc/dracut.conf.d/90-harrow.conf
mkdir -p "${conf%/*}"
cp "$HARROW_DRACUT_CONF" "$conf"
chroot "$root" dracut --force --kver "$release" /harrow-staging/initrd.img
rm "$conf"

cp "$root/boot/vmlinuz-$release" "$staging/vmlinuz"
printf '%s\n' "$release" >"$staging/kernel-release"
chroot "$root" dpkg-query --show --showformat '${Package} ${Version} ${Installed-Size}\n' >"$staging/packages"
