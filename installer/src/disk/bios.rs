//! BIOS boot of a GPT disk with GRUB, without grub-install.
//!
//! In: GRUB's `boot.img` and `core.img`, the BIOS boot partition. Out: the 440 bytes of boot
//! code of the MBR, and the bytes of that partition.
//!
//! Offsets are those of GRUB 2.12: `include/grub/i386/pc/boot.h` (kernel sector at 0x5c, drive
//! check at 0x66) and `grub-core/boot/i386/pc/diskboot.S` (block list of start, length in
//! sectors and segment in the last 12 bytes of the first sector).

use anyhow::ensure;

/// What fits into the MBR before the disk signature.
pub const BOOT_CODE_SIZE: usize = 440;
const KERNEL_SECTOR: usize = 0x5c;
const DRIVE_CHECK: usize = 0x66;
const BLOCK_LIST: usize = 0x1f4;
const SECTOR: usize = 512;
const NOP: u8 = 0x90;

/// An error when the images can't be what they should be, by their sizes in bytes.
pub fn check_sizes(boot_img: u64, core_img: u64, partition_size: u64) -> anyhow::Result<()> {
    ensure!(
        boot_img == SECTOR as u64,
        "GRUB's boot.img has {boot_img} bytes instead of {SECTOR}"
    );
    ensure!(
        core_img > SECTOR as u64 && core_img <= partition_size,
        "GRUB's core.img has {core_img} bytes, the BIOS boot partition {partition_size}"
    );
    Ok(())
}

/// The MBR's boot code: loads the sector at `core_lba` (in 512-byte sectors).
pub fn boot_code(boot_img: &[u8], core_lba: u64) -> anyhow::Result<[u8; BOOT_CODE_SIZE]> {
    ensure!(
        boot_img.len() == SECTOR,
        "GRUB's boot.img is not one sector"
    );
    let mut code = [0; BOOT_CODE_SIZE];
    code.copy_from_slice(&boot_img[..BOOT_CODE_SIZE]);
    code[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&core_lba.to_le_bytes());
    // Without the jump at this place GRUB trusts the drive number that the BIOS gave.
    code[DRIVE_CHECK..DRIVE_CHECK + 2].fill(NOP);
    Ok(code)
}

/// The core image with the list of its own sectors, for a partition that starts at
/// `core_lba` and holds `partition_size` bytes.
pub fn core_image(core_img: &[u8], core_lba: u64, partition_size: u64) -> anyhow::Result<Vec<u8>> {
    check_sizes(SECTOR as u64, core_img.len() as u64, partition_size)?;
    let rest = (core_img.len() - SECTOR).div_ceil(SECTOR);
    let rest = u16::try_from(rest)?;
    let mut image = core_img.to_vec();
    image[BLOCK_LIST..BLOCK_LIST + 8].copy_from_slice(&(core_lba + 1).to_le_bytes());
    image[BLOCK_LIST + 8..BLOCK_LIST + 10].copy_from_slice(&rest.to_le_bytes());
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_images_point_to_the_core() {
        let code = boot_code(&[0xaa; 512], 0x0102_0304_0506).unwrap();
        assert_eq!(code[0x5c..0x64], [6, 5, 4, 3, 2, 1, 0, 0]);
        assert_eq!(code[0x66..0x68], [0x90, 0x90]);
        assert_eq!(code[0x5b], 0xaa);
        let core = core_image(&[1; 1025], 2048, 1 << 20).unwrap();
        assert_eq!(core.len(), 1025);
        assert_eq!(core[0x1f4..0x1fe], [1, 8, 0, 0, 0, 0, 0, 0, 2, 0]);
        assert_eq!(core[0x1fe..0x200], [1, 1], "the segment stays");
    }

    #[test]
    fn wrong_images_are_refused() {
        assert!(check_sizes(512, 513, 1 << 20).is_ok());
        assert!(check_sizes(440, 513, 1 << 20).is_err());
        assert!(boot_code(&[0; 440], 1).is_err());
        assert!(core_image(&[0; 512], 1, 1 << 20).is_err());
        assert!(core_image(&[0; 4096], 1, 2048).is_err());
    }
}
