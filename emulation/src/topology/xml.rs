//! XML from anybody: read within bounds, without document type declarations and therefore without entities of its own.

use super::{MOST_NODES, Refusal};
use roxmltree::{Document, ParsingOptions};
use std::borrow::Cow;

/// The most elements, texts and comments of a document.
const MOST_ITEMS: u32 = 4_000_000;
/// The longest tag, in bytes. Parsers compare the attributes of an element one by one.
const LONGEST_TAG: usize = 64 << 10;
/// How deep elements may stand in each other.
const DEEPEST: usize = 100;

const _: () = assert!((MOST_ITEMS as usize) > 100 * MOST_NODES);

/// The characters of a file: UTF-8, or ISO-8859-1 where the XML declaration says so (SNDlib's files do).
pub(super) fn text(bytes: &[u8]) -> Result<Cow<'_, str>, Refusal> {
    let wrong = match std::str::from_utf8(bytes) {
        Ok(text) => return Ok(text.strip_prefix('\u{feff}').unwrap_or(text).into()),
        Err(error) => error,
    };
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).to_ascii_lowercase();
    let declaration = head
        .split_once("?>")
        .map_or("", |(declaration, _)| declaration);
    if declaration.starts_with("<?xml") && declaration.contains("iso-8859-1") {
        return Ok(bytes.iter().map(|byte| char::from(*byte)).collect());
    }
    let line = bytes[..wrong.valid_up_to()]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count();
    let line = u32::try_from(line + 1).unwrap_or(u32::MAX);
    Err(Refusal::at(
        line,
        "neither UTF-8 nor declared as ISO-8859-1",
    ))
}

/// The document, if it is within bounds.
pub(super) fn parse(text: &str) -> Result<Document<'_>, Refusal> {
    check_tags(text)?;
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: MOST_ITEMS,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(text, options).map_err(|error| {
        let problem = match error {
            roxmltree::Error::DtdDetected => {
                "a document type declaration; these are not read: remove <!DOCTYPE ...>".to_owned()
            }
            ref error => format!("not XML: {error}"),
        };
        Refusal::at(error.pos().row, problem)
    })
}

/// Tags are short and not deep, whatever else is wrong with them.
fn check_tags(text: &str) -> Result<(), Refusal> {
    let bytes = text.as_bytes();
    let complain = |at: usize, problem: String| {
        let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        Refusal::at(u32::try_from(line).unwrap_or(u32::MAX), problem)
    };
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(start) = text[at..].find('<').map(|found| at + found) {
        let rest = &text[start..];
        let aside = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")];
        let aside = aside.into_iter().find(|(open, _)| rest.starts_with(open));
        if let Some((_, close)) = aside {
            match rest.find(close) {
                Some(end) => at = start + end + close.len(),
                // The parser says what is wrong with it.
                None => return Ok(()),
            }
            continue;
        }
        let Some(length) = tag_length(&bytes[start..]) else {
            let is_long = rest.len() > LONGEST_TAG;
            let problem = format!("a tag of more than {LONGEST_TAG} bytes");
            return if is_long {
                Err(complain(start, problem))
            } else {
                Ok(())
            };
        };
        let tag = &bytes[start..start + length];
        match (tag.get(1), tag.get(length.saturating_sub(2))) {
            (Some(b'/'), _) => depth = depth.saturating_sub(1),
            (Some(b'!'), _) | (_, Some(b'/')) => {}
            _ => depth += 1,
        }
        if depth > DEEPEST {
            return Err(complain(
                start,
                format!("elements more than {DEEPEST} deep"),
            ));
        }
        at = start + length;
    }
    Ok(())
}

/// How long the tag is that begins here, its brackets included; `None` if it does not end, or is too long.
fn tag_length(bytes: &[u8]) -> Option<usize> {
    let mut quote = None;
    for (at, &byte) in bytes.iter().enumerate().take(LONGEST_TAG) {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> Refusal {
        parse(text).expect_err("refused")
    }

    #[test]
    fn entities_are_not_expanded_because_there_are_none() {
        let laughs = "<?xml version=\"1.0\"?>\n<!DOCTYPE a [<!ENTITY l \"lol\"><!ENTITY m \"&l;&l;&l;&l;\">]>\n<a>&m;</a>";
        let refused = refusal(laughs);
        assert!(refused.problem.contains("<!DOCTYPE"), "{refused:?}");
        assert!(refusal("<a>&m;</a>").problem.contains("not XML"));
        assert!(parse("<a>&lt;&#65;</a>").is_ok());
    }

    #[test]
    fn what_is_too_deep_or_too_wide_is_refused_before_it_is_parsed() {
        let deep = format!("<a>\n{}", "<b>".repeat(200_000));
        assert_eq!(refusal(&deep).line, Some(2));
        let wide: String = (0..20_000).map(|n| format!(" a{n}=\"\"")).collect();
        let refused = refusal(&format!("<a>\n\n<b{wide}/></a>"));
        assert!(
            refused.line == Some(3) && refused.problem.contains("tag"),
            "{refused:?}"
        );
        let quoted = format!("<a b='{}'/>", ">".repeat(100));
        assert!(parse(&quoted).is_ok());
        assert!(parse(&format!("<a><!-- {} --></a>", "<b ".repeat(100_000))).is_ok());
    }

    #[test]
    fn the_line_of_what_is_no_xml_is_told() {
        assert_eq!(refusal("<a>\n<b>\n</a>").line, Some(3));
        let latin = b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>M\xfcnchen</a>";
        assert!(text(latin).expect("characters").contains("München"));
        assert_eq!(
            text(b"<a>\nM\xfcnchen</a>")
                .expect_err("no characters")
                .line,
            Some(2)
        );
    }
}
