//! The kernel command line: `key=value` options separated by spaces; a value with spaces stands in double quotes.

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

    /// The value of the last option named `key`.
    pub fn get(self, key: &str) -> Option<&'a str> {
        self.options().filter(|option| option.key == key).last().map(|option| option.value)
    }
}

fn unquote(value: &str) -> &str {
    let opened = value.strip_prefix('"');
    opened.map_or(value, |inner| inner.strip_suffix('"').unwrap_or(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn odd_lines_have_a_meaning_too() {
        assert_eq!(CommandLine("").options().count(), 0);
        assert_eq!(CommandLine(" \t ").options().count(), 0);
        assert_eq!(CommandLine("a=\"open end").get("a"), Some("open end"));
        assert_eq!(CommandLine("=x").get(""), Some("x"));
        assert_eq!(CommandLine("a=b=c").get("a"), Some("b=c"));
        assert_eq!(CommandLine("a=\"").get("a"), Some(""));
    }
}
