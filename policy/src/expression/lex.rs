//! Text → tokens.

use crate::error::Mistake;

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// First byte.
    pub(super) at: usize,
    /// Byte behind the last.
    pub(super) end: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// Magnitude: the sign is an operator.
    Int(u64),
    String(String),
    Name(String),
    Symbol(&'static str),
    End,
}

/// Longest first, so that `<=` is not `<` and `=`.
const SYMBOLS: [&str; 25] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", "(", ")",
    "[", "]", "{", "}", ",", ".", "=",
];

/// Splits `text` into tokens, the last of which is [`TokenKind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Mistake> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let first = rest.as_bytes()[0];
        if first.is_ascii_whitespace() {
            at += 1;
        } else if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else {
            let (kind, length) = token(rest, at)?;
            tokens.push(Token {
                kind,
                at,
                end: at + length,
            });
            at += length;
        }
    }
    tokens.push(Token {
        kind: TokenKind::End,
        at: text.len(),
        end: text.len(),
    });
    Ok(tokens)
}

/// The token that `rest` begins with, and its length.
fn token(rest: &str, at: usize) -> Result<(TokenKind, usize), Mistake> {
    let first = rest.as_bytes()[0];
    if first.is_ascii_digit() {
        return number(rest, at);
    }
    if let Some(result) = string(rest, at) {
        return result;
    }
    // The names in expressions are those in events, and one of them begins with `@`.
    let sign = usize::from(first == b'@');
    let letters = rest[sign..]
        .bytes()
        .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
        .count();
    let name = sign + letters;
    if letters > 0 {
        return Ok((TokenKind::Name(rest[..name].to_owned()), name));
    }
    match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
        Some(symbol) => Ok((TokenKind::Symbol(symbol), symbol.len())),
        None => {
            let character = rest.chars().next().unwrap_or_default();
            Err(Mistake::new(
                at,
                format!("unexpected character `{}`", character.escape_debug()),
            ))
        }
    }
}

fn number(rest: &str, at: usize) -> Result<(TokenKind, usize), Mistake> {
    let length = rest
        .bytes()
        .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
        .count();
    let text = &rest[..length];
    let mut after = rest[length..].bytes();
    if after.next() == Some(b'.') && after.next().is_some_and(|b| b.is_ascii_digit()) {
        return Err(Mistake::new(
            at,
            "floating-point numbers are not supported: no field is one",
        ));
    }
    if text.ends_with(['u', 'U']) {
        return Err(Mistake::new(
            at,
            "unsigned numbers are not supported: write it without the `u`",
        ));
    }
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    match parsed {
        Ok(number) => Ok((TokenKind::Int(number), length)),
        Err(_) => Err(Mistake::new(at, format!("`{text}` is not a number"))),
    }
}

/// `None` when `rest` does not begin with a string literal.
fn string(rest: &str, at: usize) -> Option<Result<(TokenKind, usize), Mistake>> {
    let prefix = rest.find(['\'', '"']).filter(|length| *length <= 2)?;
    let raw = match rest[..prefix].to_ascii_lowercase().as_str() {
        "" => false,
        "r" => true,
        "b" | "br" | "rb" => {
            return Some(Err(Mistake::new(at, "bytes literals are not supported")));
        }
        _ => return None,
    };
    let quoted = &rest[prefix..];
    let quote = ["'''", "\"\"\"", "'", "\""]
        .into_iter()
        .find(|quote| quoted.starts_with(quote))?;
    Some(
        string_body(
            &quoted[quote.len()..],
            quote,
            raw,
            at + prefix + quote.len(),
        )
        .map(|(value, length)| {
            (
                TokenKind::String(value),
                prefix + quote.len() + length + quote.len(),
            )
        }),
    )
}

/// What stands before the closing `quote`, decoded, and its length in the text.
fn string_body(body: &str, quote: &str, raw: bool, at: usize) -> Result<(String, usize), Mistake> {
    let mut value = String::new();
    let mut length = 0;
    loop {
        let rest = &body[length..];
        let Some(character) = rest.chars().next() else {
            return Err(Mistake::new(at - quote.len(), "the string does not end"));
        };
        if rest.starts_with(quote) {
            return Ok((value, length));
        }
        if character == '\n' && quote.len() == 1 {
            return Err(Mistake::new(
                at - quote.len(),
                "the string does not end on its line",
            ));
        }
        if character == '\\' && !raw {
            let (decoded, used) = escape(&rest[1..])
                .ok_or_else(|| Mistake::new(at + length, "invalid escape in the string"))?;
            value.push(decoded);
            length += 1 + used;
        } else {
            value.push(character);
            length += character.len_utf8();
        }
    }
}

/// The character that stands for what follows a backslash, and how many bytes that is.
fn escape(rest: &str) -> Option<(char, usize)> {
    let number = |from: usize, digits: usize, radix| {
        let text = rest.get(from..from + digits)?;
        let valid = text.chars().all(|c| c.is_digit(radix));
        let code = u32::from_str_radix(text, radix).ok().filter(|_| valid)?;
        Some((char::from_u32(code)?, from + digits))
    };
    Some(match rest.chars().next()? {
        'a' => ('\x07', 1),
        'b' => ('\x08', 1),
        'f' => ('\x0c', 1),
        'n' => ('\n', 1),
        'r' => ('\r', 1),
        't' => ('\t', 1),
        'v' => ('\x0b', 1),
        same @ ('\\' | '?' | '"' | '\'' | '`') => (same, 1),
        'x' | 'X' => return number(1, 2, 16),
        'u' => return number(1, 4, 16),
        'U' => return number(1, 8, 16),
        '0'..='3' => return number(0, 3, 8),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> TokenKind {
        tokens(text).unwrap().swap_remove(0).kind
    }

    #[test]
    fn strings_as_cel_has_them() {
        let string = |text: &str| TokenKind::String(text.into());
        assert_eq!(
            one(r#"'a\'b\n\x41\u00e9\101\U0001F600'"#),
            string("a'b\nA\u{e9}A\u{1f600}")
        );
        assert_eq!(one(r#"r'\d+'"#), string(r"\d+"));
        assert_eq!(one("'''it's\nfine'''"), string("it's\nfine"));
        assert_eq!(one(r#""x""#), string("x"));
    }

    #[test]
    fn what_is_no_token_is_named() {
        let reason = |text: &str| tokens(text).unwrap_err().reason;
        assert_eq!(reason("'abc"), "the string does not end");
        assert_eq!(reason(r"'\q'"), "invalid escape in the string");
        assert_eq!(
            reason("1.5"),
            "floating-point numbers are not supported: no field is one"
        );
        assert_eq!(reason("b'x'"), "bytes literals are not supported");
        assert_eq!(reason("12ab"), "`12ab` is not a number");
        assert_eq!(reason("#"), "unexpected character `#`");
        assert_eq!(tokens("a  é").unwrap_err().at, 3);
    }

    #[test]
    fn comments_and_spaces_are_skipped() {
        assert_eq!(tokens("a // b\n<= 0x10").unwrap().len(), 4);
    }
}
