//! Numbers in decimal, written and read: those below a thousand, which most are, stand in a table to be written.

/// A number below a thousand.
#[derive(Clone, Copy)]
pub(crate) struct Number {
    /// Its digits, at the front, and at last how many.
    pub text: [u8; 4],
}

const NUMBERS: usize = 1000;

static ALL: [Number; NUMBERS] = {
    let mut numbers = [Number { text: [0; 4] }; NUMBERS];
    let mut number = 0;
    while number < NUMBERS {
        let len = 1 + (number > 9) as usize + (number > 99) as usize;
        let text = &mut numbers[number].text;
        text[3] = len as u8;
        let (mut place, mut rest) = (len, number);
        while place > 0 {
            place -= 1;
            text[place] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        number += 1;
    }
    numbers
};

impl Number {
    /// None: it is larger.
    #[inline(always)]
    pub(crate) fn of(value: u64) -> Option<&'static Self> {
        if value < NUMBERS as u64 { ALL.get(value as usize) } else { None }
    }

    #[inline(always)]
    pub(crate) const fn len(&self) -> usize {
        self.text[3] as usize
    }
}

/// The first number that [`digits`] does not know.
pub(crate) const DIGITS_END: u64 = 100_000_000;

/// The digits of a number below 100,000,000 and their number. All of them at the same time: the number is halved into numbers
/// of four, two and one digits, which stand next to each other in one word.
#[inline]
pub(crate) fn digits(value: u64) -> ([u8; 8], usize) {
    const ZEROS: u64 = u64::from_ne_bytes([b'0'; 8]);
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    let ones = tens | ((twos - tens * 10) << 8);
    let leading = (ones.trailing_zeros() / 8).min(7);
    let text = (ones + ZEROS) >> (8 * leading);
    (text.to_le_bytes(), 8 - leading as usize)
}

/// Whether a number has no leading zero.
#[inline(always)]
pub(crate) fn is_shortest(digits: &[u8]) -> bool {
    matches!(digits, [_] | [b'1'..=b'9', ..])
}

/// Digits of any number that fits.
const DIGITS_MAX: usize = 19;

/// `1*DIGIT` without overflow.
#[inline]
pub(crate) fn parse_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return parse_long_decimal(digits);
    }
    digits.iter().try_fold(0_u64, |value, &byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then_some(value * 10 + u64::from(digit))
    })
}

/// A number with leading zeros, one that just fits, or none.
#[cold]
fn parse_long_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { value.checked_mul(10)?.checked_add(digit.into()) }
    })
}
