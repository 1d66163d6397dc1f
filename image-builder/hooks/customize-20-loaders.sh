#!/bin/sh
# mmdebstrap customize hook: stages Debian's signed loaders for UEFI and makes GRUB's images
# for BIOS with the chroot's own GRUB. Every module is inside the images, so neither the
# media nor the disks need a folder of modules.
# $1: the chroot.
set -eu
root=$1
staging=$root/harrow-staging
mkdir -p "$staging"

cp "$root/usr/lib/shim/shimx64.efi.signed" "$staging/shimx64.efi"
cp "$root/usr/lib/shim/mmx64.efi.signed" "$staging/mmx64.efi"
cp "$root/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed" "$staging/grubx64.efi"
cp "$root/usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed" "$staging/gcdx64.efi"
cp "$root/usr/lib/grub/i386-pc/boot.img" "$staging/boot.img"
cp "$root/usr/lib/grub/i386-pc/boot_hybrid.img" "$staging/boot_hybrid.img"

modules="biosdisk part_gpt part_msdos normal configfile linux loadenv
    test true regexp echo read sleep help ls cat minicmd
    serial terminal terminfo search search_fs_uuid search_fs_file search_label
    boot chain loopback reboot halt all_video"

# Of an installed disk: its files are on the ESP, the second partition of a GPT or an MBR.
# shellcheck disable=SC2086 # the list is split on purpose
chroot "$root" grub-mkimage -O i386-pc -o /harrow-staging/core.img \
    -p '(,2)/EFI/debian' $modules fat ext2
# Of the media, whether read as a CD or as a disk.
# shellcheck disable=SC2086
chroot "$root" grub-mkimage -O i386-pc-eltorito -o /harrow-staging/eltorito.img \
    -p /boot/grub $modules iso9660 fat
