//! What others call things, before it comes into a log line or onto a terminal.

/// Most characters of a name.
const NAME: usize = 200;

/// Nothing in a name moves a cursor or forges a line of the log.
pub(crate) fn printable(name: &str) -> String {
    let misleads = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    name.chars()
        .map(|c| if misleads(c) { '?' } else { c })
        .take(NAME)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_a_line_of_the_log() {
        assert_eq!(printable("CN=a\nWARN b\u{1b}[2J"), "CN=a?WARN b?[2J");
        assert_eq!(printable(&"x".repeat(999)).len(), NAME);
    }
}
