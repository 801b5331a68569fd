//! The kernel command line: `key=value` options separated by spaces; a value with spaces stands in double quotes.

use weir_hal::{MmioDevice, PhysAddr};

use crate::memory::phys::PhysMemory;

/// A command line that goes on behind the room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Copies the line at `at`, which a NUL or the end of memory ends, and returns its length. At 0 there is none.
///
/// # Errors
/// It is longer than `into`, which is full then.
pub(super) fn copy(memory: &impl PhysMemory, at: u64, into: &mut [u8]) -> Result<usize, TooLong> {
    let byte = |offset: usize| memory.array::<1>(at + offset as u64).map_or(0, |[byte]| byte);
    if at == 0 {
        return Ok(0);
    }
    for (offset, to) in into.iter_mut().enumerate() {
        *to = byte(offset);
        if *to == 0 {
            return Ok(offset);
        }
    }
    if byte(into.len()) == 0 { Ok(into.len()) } else { Err(TooLong) }
}

/// A command line that can be searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandLine<'a>(pub &'a str);

/// One option of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandLineOption<'a> {
    /// What stands before the first `=`.
    pub key: &'a str,
    /// What stands behind it, without quotes; empty when there is no `=`.
    pub value: &'a str,
}

impl<'a> CommandLine<'a> {
    /// The options in order.
    pub fn options(self) -> impl Iterator<Item = CommandLineOption<'a>> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            rest = rest.trim_start();
            let mut quoted = false;
            let end = rest.find(|c: char| {
                quoted ^= c == '"';
                c.is_whitespace() && !quoted
            });
            let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
            rest = behind;
            if word.is_empty() {
                return None;
            }
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            Some(CommandLineOption { key, value: unquote(value) })
        })
    }

    /// Devices without a bus, as loaders tell of them: `virtio_mmio.device=4K@0xd0000000:5`, size, address, interrupt line.
    /// What has another form is passed over.
    pub fn mmio_devices(self) -> impl Iterator<Item = MmioDevice> {
        let named = self.options().filter(|option| option.key == "virtio_mmio.device");
        named.filter_map(|option| {
            let (len, rest) = option.value.split_once('@')?;
            let (at, rest) = rest.split_once(':')?;
            let line = rest.split(':').next()?;
            let len = u32::try_from(number(len)?).ok()?;
            Some(MmioDevice { at: PhysAddr(number(at)?), len, line: line.parse().ok()? })
        })
    }

    /// The value of the last option named `key`.
    pub fn get(self, key: &str) -> Option<&'a str> {
        self.options().filter(|option| option.key == key).last().map(|option| option.value)
    }
}

/// A number in the loaders' notation: hexadecimal behind `0x`, in units of 1,024 or 1,048,576 before `K` or `M`.
fn number(text: &str) -> Option<u64> {
    let (digits, unit) = match text.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 1 << 10),
        None => text.strip_suffix(['M', 'm']).map_or((text, 1), |digits| (digits, 1 << 20)),
    };
    let value = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    value.ok()?.checked_mul(unit)
}

fn unquote(value: &str) -> &str {
    let opened = value.strip_prefix('"');
    opened.map_or(value, |inner| inner.strip_suffix('"').unwrap_or(inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::phys::Slices;

    #[test]
    fn a_line_is_copied_to_its_end_or_said_to_be_too_long() {
        let memory: [(u64, &[u8]); 2] = [(0x1000, b"weir.log=debug\0weir"), (0x2000, b"abcd")];
        let memory = Slices(&memory);
        let mut bytes = [0xff; 4];
        for (at, len) in [(0, 0), (0x100f, 4), (0x1012, 1), (0x2000, 4), (0x3000, 0)] {
            assert_eq!(copy(&memory, at, &mut bytes), Ok(len), "{at:#x}");
        }
        assert_eq!(bytes[..4], [0, b'b', b'c', b'd'], "as far as the last line had something");
        assert_eq!(copy(&memory, 0x1000, &mut bytes), Err(TooLong));
        assert_eq!(&bytes, b"weir");
        assert_eq!(copy(&memory, 0x1000, &mut [0; 14]), Ok(14));
        assert_eq!(copy(&memory, 0x1000, &mut [0; 13]), Err(TooLong));
    }

    #[test]
    fn the_last_value_of_a_key_wins() {
        let line = CommandLine("weir.panic=halt  weir.log=debug weir.panic=exit");
        assert_eq!(line.get("weir.panic"), Some("exit"));
        assert_eq!(line.get("weir.log"), Some("debug"));
        assert_eq!(line.get("weir"), None);
    }

    #[test]
    fn a_quoted_value_keeps_its_spaces() {
        let line = CommandLine("a=\"x y=z\" b");
        assert_eq!(line.get("a"), Some("x y=z"));
        assert_eq!(line.get("b"), Some(""));
        assert_eq!(line.get("y"), None);
    }

    #[test]
    fn devices_without_a_bus_are_told_of() {
        let line = CommandLine(
            "virtio_mmio.device=4K@0xd0000000:5 virtio_mmio.device=512@0xfeb00e00:12:3 virtio_mmio.device=x@1:2 \
             virtio_mmio.device=1K@y:2 virtio_mmio.device=99999M@0:2 virtio_mmio.device=",
        );
        let device = |at, len, line| MmioDevice { at: PhysAddr(at), len, line };
        let found: std::vec::Vec<_> = line.mmio_devices().collect();
        assert_eq!(found, [device(0xd000_0000, 4096, 5), device(0xfeb0_0e00, 512, 12)]);
    }

    #[test]
    fn odd_lines_have_a_meaning_too() {
        assert_eq!(CommandLine("").options().count(), 0);
        assert_eq!(CommandLine(" \t ").options().count(), 0);
        assert_eq!(CommandLine("a=\"open end").get("a"), Some("open end"));
        assert_eq!(CommandLine("=x").get(""), Some("x"));
        assert_eq!(CommandLine("a=b=c").get("a"), Some("b=c"));
        assert_eq!(CommandLine("a=\"").get("a"), Some(""));
    }
}
