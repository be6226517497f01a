//! Texts that are short enough to need no memory of their own: ids, times, and numbers, which ECS wants as texts.

use arrayvec::ArrayString;

/// A time, as [`super::rfc3339`] prints it.
pub type Time = ArrayString<30>;
/// An event's id.
pub type EventId = ArrayString<64>;
/// A number, or a device's two.
pub type Number = ArrayString<20>;

/// In decimal digits.
#[must_use]
pub fn number(number: u64) -> Number {
    let mut text = Number::new();
    text.push_str(itoa::Buffer::new().format(number));
    text
}

/// A device as the kernel encodes it (`MKDEV` of `include/linux/kdev_t.h`), as `MAJOR:MINOR`.
#[must_use]
pub fn device(device: u32) -> Number {
    let mut text = number((device >> 20).into());
    text.push(':');
    text.push_str(itoa::Buffer::new().format(device & 0xf_ffff));
    text
}

/// The last twelve bits of a mode, as four octal digits.
#[must_use]
pub fn permissions(mode: u32) -> Number {
    let mut text = Number::new();
    for place in (0..4).rev() {
        text.push(char::from(b'0' + (mode >> (3 * place) & 7) as u8));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_has_room() {
        assert_eq!(&number(u64::MAX), "18446744073709551615");
        assert_eq!(&number(0), "0");
        assert_eq!(&device(u32::MAX), "4095:1048575");
        assert_eq!(&device(8 << 20 | 1), "8:1");
        assert_eq!(&permissions(u32::MAX), "7777");
        assert_eq!(&permissions(0o100_644), "0644");
    }
}
