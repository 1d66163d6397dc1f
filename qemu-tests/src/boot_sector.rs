//! Guests of one sector, to find out what runs at all: BIOS loads them to 0x7c00 in real mode.

/// Size of a boot sector.
const SECTOR: usize = 512;

/// Size of the disk around it: SeaBIOS does not read smaller ones on every controller.
const SIZE: usize = 1 << 20;

/// Port of QEMU's `isa-debug-exit`, its default.
pub const EXIT_PORT: u16 = 0x501;

/// QEMU's exit status after [`exit`]: `value * 2 + 1`, and the value is 0x2a.
pub const EXIT_STATUS: i32 = 0x2a * 2 + 1;

/// Counts to 2^26, which a processor does in 0.1 s and a KVM that emulates each instruction in
/// minutes, then ends QEMU with [`EXIT_STATUS`].
pub fn exit() -> Vec<u8> {
    let [low, high] = EXIT_PORT.to_le_bytes();
    let code = [
        0x66, 0xb9, 0, 0, 0, 0x04, // mov ecx, 1 << 26
        0x66, 0x49, //         again: dec ecx
        0x75, 0xfc, //                jnz again
        0xba, low, high, //           mov dx, EXIT_PORT
        0xb0, 0x2a, //                mov al, 0x2a
        0xee, //                      out dx, al
        0xf4, //                      hlt
    ];
    sector(&code, b"")
}

/// Says `text` on the first serial port, then repeats whatever is typed there, in brackets.
pub fn echo(text: &str) -> Vec<u8> {
    // The text follows the code, at 0x7c00 + 41.
    let code = [
        0x31, 0xc0, //       xor ax, ax
        0x8e, 0xd8, //       mov ds, ax
        0xbe, 0x29, 0x7c, // mov si, 0x7c29 (the text)
        0xba, 0xf8, 0x03, // mov dx, 0x3f8 (data port)
        0xac, //        say: lodsb
        0x84, 0xc0, //       test al, al
        0x74, 0x03, //       jz listen
        0xee, //             out dx, al
        0xeb, 0xf8, //       jmp say
        0xb2, 0xfd, // listen: mov dl, 0xfd (line status)
        0xec, //             in al, dx
        0xa8, 0x01, //       test al, 1 (data ready)
        0x74, 0xf9, //       jz listen
        0xb2, 0xf8, //       mov dl, 0xf8
        0xec, //             in al, dx
        0x88, 0xc4, //       mov ah, al
        0xb0, b'[', //       mov al, '['
        0xee, //             out dx, al
        0x88, 0xe0, //       mov al, ah
        0xee, //             out dx, al
        0xb0, b']', //       mov al, ']'
        0xee, //             out dx, al
        0xeb, 0xe9, //       jmp listen
    ];
    let mut zero_ended = text.as_bytes().to_vec();
    zero_ended.push(0);
    sector(&code, &zero_ended)
}

fn sector(code: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = [code, data].concat();
    bytes.resize(SECTOR - 2, 0);
    bytes.extend([0x55, 0xaa]);
    bytes.resize(SIZE, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_are_bootable_and_the_text_is_where_the_code_looks() {
        assert_eq!((exit().len(), &exit()[510..512]), (SIZE, &[0x55, 0xaa][..]));
        let sector = echo("hello");
        assert_eq!(&sector[0x29..0x2f], b"hello\0");
        // Every jump back to listening ends at its first instruction.
        for (jump, at) in [(13, 18), (23, 18), (39, 18), (16, 10)] {
            let distance = i64::from(sector[jump + 1].cast_signed());
            assert_eq!(jump as i64 + 2 + distance, at);
        }
        assert_eq!(&sector[18..20], &[0xb2, 0xfd]);
    }
}
