//! Text → tokens. The words that are operators are operators only right after a label; elsewhere they are labels.

use super::parse::ParseError;

/// A token, borrowed from the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Label(&'a str),
    Text(&'a str),
    Has(&'a str),
    All,
    Global,
    Eq,
    Ne,
    Contains,
    StartsWith,
    EndsWith,
    In,
    NotIn,
    Not,
    And,
    Or,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    Comma,
    End,
}

/// Longest label in bytes; the rest of a longer one is an error.
const MAX_LABEL_BYTES: usize = 512;

/// All tokens of the text, the last one being [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, ParseError> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        let last_label = match found.last() {
            Some(Token::Label(label)) => Some(*label),
            _ => None,
        };
        let at = text.len() - rest.len();
        let (token, after) = match last_label.and_then(|_| word_operator(rest)) {
            Some(operator) => operator,
            None => next(rest, last_label, at)?,
        };
        found.push(token);
        if token == Token::End {
            return Ok(found);
        }
        rest = after;
    }
}

fn next<'a>(rest: &'a str, last_label: Option<&str>, at: usize) -> Result<(Token<'a>, &'a str), ParseError> {
    let Some(first) = rest.chars().next() else { return Ok((Token::End, rest)) };
    let tail = &rest[first.len_utf8()..];
    let doubled = |token, expected| match tail.strip_prefix(first) {
        Some(after) => Ok((token, after)),
        None => Err(ParseError::HalfOperator { expected, at }),
    };
    match first {
        '"' | '\'' => match tail.split_once(first) {
            Some((content, after)) => Ok((Token::Text(content), after)),
            None => Err(ParseError::UnterminatedString { at }),
        },
        '(' => Ok((Token::LeftParen, tail)),
        ')' => Ok((Token::RightParen, tail)),
        '{' => Ok((Token::LeftBrace, tail)),
        '}' => Ok((Token::RightBrace, tail)),
        ',' => Ok((Token::Comma, tail)),
        '=' => doubled(Token::Eq, "=="),
        '&' => doubled(Token::And, "&&"),
        '|' => doubled(Token::Or, "||"),
        '!' => Ok(match tail.strip_prefix('=') {
            Some(after) => (Token::Ne, after),
            None => (Token::Not, tail),
        }),
        _ => match last_label {
            Some(label) => Err(ParseError::ExpectedOperator { label: label.into(), at }),
            None => call(rest)
                .or_else(|| label(rest).map(|(label, after)| (Token::Label(label), after)))
                .ok_or(ParseError::UnexpectedCharacters { at }),
        },
    }
}

/// An operator that is spelled with letters. `in` and `not in` have to end at a word's end, the others need not.
fn word_operator(rest: &str) -> Option<(Token<'_>, &str)> {
    let two =
        |first, second| rest.strip_prefix(first).and_then(|r: &str| inner_blanks(r).strip_prefix(second));
    let word_end = |after: &&str| !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let plain = [
        (Token::Contains, rest.strip_prefix("contains")),
        (Token::StartsWith, two("starts", "with")),
        (Token::EndsWith, two("ends", "with")),
        (Token::In, rest.strip_prefix("in").filter(word_end)),
        (Token::NotIn, two("not", "in").filter(word_end)),
    ];
    plain.into_iter().find_map(|(token, after)| Some((token, after?)))
}

/// `has(label)`, `all()` or `global()`: the parenthesis follows the word at once, blanks within may be of any kind.
fn call(rest: &str) -> Option<(Token<'_>, &str)> {
    let close = |r: &'_ str| -> Option<usize> { inner_blanks(r).strip_prefix(')').map(str::len) };
    let end = |left: usize| &rest[rest.len() - left..];
    if let Some(inner) = rest.strip_prefix("has(") {
        let (label, after) = label(inner_blanks(inner))?;
        return Some((Token::Has(label), end(close(after)?)));
    }
    let (token, inner) = match rest.strip_prefix("all(") {
        Some(inner) => (Token::All, inner),
        None => (Token::Global, rest.strip_prefix("global(")?),
    };
    Some((token, end(close(inner)?)))
}

fn label(rest: &str) -> Option<(&str, &str)> {
    let is_label = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'/' | b'-');
    let len = rest.bytes().take(MAX_LABEL_BYTES).take_while(is_label).count();
    (len > 0).then(|| rest.split_at(len))
}

/// Skips what Go's `\s` calls blank.
fn inner_blanks(rest: &str) -> &str {
    rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c'])
}
