#!/bin/sh
# mmdebstrap essential hook, before the kernel is installed: puts a no-op where the kernel's
# and dracut's own scripts would make an initrd (dpkg keeps the real one out, see
# base.path_exclude), so that it is made once only, with our options.
# $1: the chroot.
set -eu
dir=$1/etc/kernel/postinst.d
mkdir -p "$dir"
printf '#!/bin/sh\nexit 0\n' >"$dir/dracut"
chmod 755 "$dir/dracut"
