#!/bin/sh
# mmdebstrap customize hook: removes what was only needed to make the media's boot files.
# dpkg does it, so that its database stays true; --force-depends because the kernel asks for
# some program that makes an initrd, --force-remove-protected because Debian protects its
# signed GRUB.
# $1: the chroot. HARROW_PURGE: names of packages, patterns allowed.
set -euf
root=$1

# shellcheck disable=SC2086 # the list is split on purpose
purge=$(chroot "$root" dpkg-query --show --showformat '${db:Status-Abbrev} ${Package}\n' $HARROW_PURGE |
    sed -n 's/^ii  *//p')
# shellcheck disable=SC2086
[ -z "$purge" ] || chroot "$root" dpkg --purge --force-depends --force-remove-protected $purge
