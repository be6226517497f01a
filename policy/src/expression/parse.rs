//! Tokens → syntax tree, by operator precedence.

use super::lex::{Token, TokenKind, tokens};
use super::{MAX_BYTES, MAX_DEPTH};
use crate::error::Mistake;

/// A node of the tree and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Syntax {
    pub(super) node: Node,
    pub(super) at: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Bool(bool),
    Int(i64),
    String(String),
    List(Vec<Syntax>),
    /// `a.b.c`
    Path(String),
    /// `a.b['key']`
    Entry(String, String),
    Call {
        receiver: Option<Box<Syntax>>,
        name: String,
        name_at: usize,
        arguments: Vec<Syntax>,
    },
    Not(Box<Syntax>),
    /// `a && b && c`, flat.
    All(Vec<Syntax>),
    /// `a || b || c`, flat.
    Any(Vec<Syntax>),
    If(Box<[Syntax; 3]>),
    Binary(&'static str, Box<[Syntax; 2]>),
}

/// Operators that take two sides, by how tightly they bind; `&&` and `||` are apart.
const RELATIONS: [&str; 7] = ["==", "!=", "<=", ">=", "<", ">", "in"];
const SUMS: [&str; 2] = ["+", "-"];
const PRODUCTS: [&str; 3] = ["*", "/", "%"];

/// Parses one whole expression.
pub(super) fn parse(text: &str) -> Result<Syntax, Mistake> {
    if text.len() > MAX_BYTES {
        return Err(Mistake::new(
            0,
            format!("the expression is longer than {MAX_BYTES} bytes"),
        ));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens,
        next: 0,
        depth: 0,
    };
    if parser.peek().kind == TokenKind::End {
        return Err(Mistake::new(0, "the expression is empty"));
    }
    let syntax = parser.expression()?;
    match parser.peek() {
        Token {
            kind: TokenKind::End,
            ..
        } => Ok(syntax),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        // The last token is the end, and is never passed.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek().kind, TokenKind::Symbol(s) if s == symbol);
        self.next += usize::from(found);
        found
    }

    /// Takes one of `operators`, if it comes next.
    fn take_operator(&mut self, operators: &[&'static str]) -> Option<&'static str> {
        let found = match &self.peek().kind {
            TokenKind::Symbol(symbol) => operators.iter().find(|o| *o == symbol),
            TokenKind::Name(name) => operators.iter().find(|o| *o == name),
            _ => None,
        }
        .copied();
        self.next += usize::from(found.is_some());
        found
    }

    fn expect(&mut self, symbol: &'static str) -> Result<(), Mistake> {
        if self.take_symbol(symbol) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{symbol}`")))
        }
    }

    fn unexpected(&self, expected: &str) -> Mistake {
        let token = self.peek();
        let found = match &token.kind {
            TokenKind::Int(number) => format!("`{number}`"),
            TokenKind::String(_) => "a string".into(),
            TokenKind::Name(name) => format!("`{name}`"),
            TokenKind::Symbol(symbol) => format!("`{symbol}`"),
            TokenKind::End => "the end of the expression".into(),
        };
        Mistake::new(token.at, format!("expected {expected}, found {found}"))
    }

    /// Counts one more level while `inner` runs.
    fn deeper<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, Mistake>,
    ) -> Result<T, Mistake> {
        if self.depth >= MAX_DEPTH {
            return Err(self.too_deep());
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn too_deep(&self) -> Mistake {
        let reason = format!("the expression is nested deeper than {MAX_DEPTH} levels");
        Mistake::new(self.peek().at, reason)
    }

    fn expression(&mut self) -> Result<Syntax, Mistake> {
        self.deeper(|parser| {
            let condition = parser.any()?;
            if !parser.take_symbol("?") {
                return Ok(condition);
            }
            let at = condition.at;
            let yes = parser.any()?;
            parser.expect(":")?;
            let no = parser.expression()?;
            Ok(Syntax {
                node: Node::If(Box::new([condition, yes, no])),
                at,
            })
        })
    }

    fn any(&mut self) -> Result<Syntax, Mistake> {
        self.chain("||", Node::Any, |parser| {
            parser.chain("&&", Node::All, Self::relation)
        })
    }

    fn chain(
        &mut self,
        operator: &str,
        node: fn(Vec<Syntax>) -> Node,
        part: impl Fn(&mut Self) -> Result<Syntax, Mistake>,
    ) -> Result<Syntax, Mistake> {
        let first = part(self)?;
        let at = first.at;
        let mut parts = vec![first];
        while self.take_symbol(operator) {
            parts.push(part(self)?);
        }
        match <[Syntax; 1]>::try_from(parts) {
            Ok([only]) => Ok(only),
            Err(parts) => Ok(Syntax {
                node: node(parts),
                at,
            }),
        }
    }

    fn relation(&mut self) -> Result<Syntax, Mistake> {
        self.binary(&RELATIONS, |parser| {
            parser.binary(&SUMS, |parser| parser.binary(&PRODUCTS, Self::unary))
        })
    }

    /// A chain of left-associative operators; its length counts as depth, since so deep is the tree.
    fn binary(
        &mut self,
        operators: &[&'static str],
        side: impl Fn(&mut Self) -> Result<Syntax, Mistake>,
    ) -> Result<Syntax, Mistake> {
        let mut left = side(self)?;
        for depth in self.depth.. {
            let Some(operator) = self.take_operator(operators) else {
                break;
            };
            if depth >= MAX_DEPTH {
                return Err(self.too_deep());
            }
            let at = left.at;
            let right = side(self)?;
            left = Syntax {
                node: Node::Binary(operator, Box::new([left, right])),
                at,
            };
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Syntax, Mistake> {
        let at = self.peek().at;
        if self.take_symbol("!") {
            let inner = self.deeper(Self::unary)?;
            return Ok(Syntax {
                node: Node::Not(Box::new(inner)),
                at,
            });
        }
        if self.take_symbol("-") {
            let TokenKind::Int(magnitude) = self.take().kind else {
                return Err(Mistake::new(at, "`-` is supported before a number only"));
            };
            let number = 0i64.checked_sub_unsigned(magnitude);
            return number
                .map(|number| Syntax {
                    node: Node::Int(number),
                    at,
                })
                .ok_or_else(|| Mistake::new(at, "the number does not fit an int"));
        }
        self.member()
    }

    /// A primary expression and the calls on it.
    fn member(&mut self) -> Result<Syntax, Mistake> {
        let mut syntax = self.primary()?;
        for depth in self.depth.. {
            if matches!(self.peek().kind, TokenKind::Symbol("[")) {
                syntax = self.entry(syntax)?;
                continue;
            }
            if !self.take_symbol(".") {
                break;
            }
            if depth >= MAX_DEPTH {
                return Err(self.too_deep());
            }
            let Token {
                kind: TokenKind::Name(name),
                at: name_at,
                ..
            } = self.peek().clone()
            else {
                return Err(self.unexpected("a name after `.`"));
            };
            self.next += 1;
            let at = syntax.at;
            if self.take_symbol("(") {
                let arguments = self.arguments(")")?;
                let receiver = Some(Box::new(syntax));
                syntax = Syntax {
                    node: Node::Call {
                        receiver,
                        name,
                        name_at,
                        arguments,
                    },
                    at,
                };
            } else if let Node::Path(path) = &mut syntax.node {
                path.push('.');
                path.push_str(&name);
            } else {
                return Err(Mistake::new(
                    name_at,
                    format!("nothing here has a field `{name}`"),
                ));
            }
        }
        Ok(syntax)
    }

    /// `['key']` behind the name of a map.
    fn entry(&mut self, of: Syntax) -> Result<Syntax, Mistake> {
        let at = self.take().at;
        let (Node::Path(path), TokenKind::String(key)) = (of.node, self.take().kind) else {
            return Err(Mistake::new(
                at,
                "indexing with `[…]` is supported for maps and by a literal only, as in \
                 `container.labels['app']`",
            ));
        };
        self.expect("]")?;
        Ok(Syntax {
            node: Node::Entry(path, key),
            at: of.at,
        })
    }

    fn primary(&mut self) -> Result<Syntax, Mistake> {
        let token = self.peek().clone();
        let at = token.at;
        let node = match token.kind {
            TokenKind::Int(number) => {
                let number = i64::try_from(number)
                    .map_err(|_| Mistake::new(at, "the number does not fit an int"))?;
                self.next += 1;
                Node::Int(number)
            }
            TokenKind::String(text) => {
                self.next += 1;
                Node::String(text)
            }
            TokenKind::Name(name) => {
                self.next += 1;
                match name.as_str() {
                    "true" => Node::Bool(true),
                    "false" => Node::Bool(false),
                    "null" => return Err(Mistake::new(at, "`null` is not supported: use has()")),
                    _ if self.take_symbol("(") => {
                        let arguments = self.arguments(")")?;
                        Node::Call {
                            receiver: None,
                            name,
                            name_at: at,
                            arguments,
                        }
                    }
                    _ => Node::Path(name),
                }
            }
            TokenKind::Symbol("(") => {
                self.next += 1;
                let inner = self.expression()?;
                self.expect(")")?;
                return Ok(inner);
            }
            TokenKind::Symbol("[") => {
                self.next += 1;
                Node::List(self.arguments("]")?)
            }
            TokenKind::Symbol("{") => {
                return Err(Mistake::new(at, "map literals are not supported"));
            }
            TokenKind::Symbol(_) | TokenKind::End => return Err(self.unexpected("a value")),
        };
        Ok(Syntax { node, at })
    }

    /// What stands between an opening bracket and `close`, separated by commas.
    fn arguments(&mut self, close: &'static str) -> Result<Vec<Syntax>, Mistake> {
        let mut arguments = Vec::new();
        while !self.take_symbol(close) {
            if !arguments.is_empty() {
                if !self.take_symbol(",") {
                    return Err(self.unexpected(&format!("`,` or `{close}`")));
                }
                // CEL allows a comma behind the last element of a list.
                if close == "]" && self.take_symbol(close) {
                    break;
                }
            }
            arguments.push(self.expression()?);
        }
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reason(text: &str) -> (usize, String) {
        let mistake = parse(text).unwrap_err();
        (mistake.at, mistake.reason)
    }

    #[test]
    fn precedence() {
        let same = |a: &str, b: &str| {
            let strip = |text: &str| {
                let tree = format!("{:?}", parse(text).unwrap());
                regex::Regex::new("at: [0-9]+")
                    .unwrap()
                    .replace_all(&tree, "")
                    .into_owned()
            };
            assert_eq!(strip(a), strip(b), "{a}");
        };
        same("a || b && c == d", "a || (b && (c == d))");
        same("!a && b", "(!a) && b");
        same("a + b == c - d", "(a + b) == (c - d)");
        same("a ? b : c ? d : e", "a ? b : (c ? d : e)");
        same("!a.b('x')", "!(a.b('x'))");
        same("x in ['a', 'b',]", "x in ['a', 'b']");
    }

    #[test]
    fn mistakes_have_a_place() {
        let cases = [
            ("", 0, "the expression is empty"),
            (
                "a ==",
                4,
                "expected a value, found the end of the expression",
            ),
            ("a = b", 2, "expected an operator or the end, found `=`"),
            ("(a", 2, "expected `)`, found the end of the expression"),
            (
                "a[0]",
                1,
                "indexing with `[…]` is supported for maps and by a literal only, as in \
                 `container.labels['app']`",
            ),
            ("a == null", 5, "`null` is not supported: use has()"),
            ("{'a': 1}", 0, "map literals are not supported"),
            ("9223372036854775808", 0, "the number does not fit an int"),
            ("-x", 0, "`-` is supported before a number only"),
        ];
        for (text, at, expected) in cases {
            assert_eq!(reason(text), (at, expected.into()), "{text}");
        }
        assert!(parse("-9223372036854775808").is_ok());
    }

    #[test]
    fn size_and_depth_are_bounded() {
        assert!(reason(&"(".repeat(100)).1.contains("nested deeper"));
        assert!(reason(&"!".repeat(100)).1.contains("nested deeper"));
        assert!(
            reason(&format!("a{}", " + a".repeat(100)))
                .1
                .contains("nested deeper")
        );
        assert!(
            reason(&format!("a{}", ".b()".repeat(100)))
                .1
                .contains("nested deeper")
        );
        assert!(reason(&"a".repeat(MAX_BYTES + 1)).1.contains("longer than"));
        assert!(parse(&vec!["a"; 1000].join(" || ")).is_ok());
    }

    /// The highest tree that the bounds allow is handled on the stack of a thread.
    #[test]
    fn the_worst_nesting_is_survived() {
        let mut text = String::from("1");
        for level in 1..MAX_DEPTH {
            text = format!("({text}{})", " + 1".repeat(level - 1));
        }
        let text = format!("{text} == 497");
        let filter = crate::expression::Filter::parse(&text).unwrap();
        assert!(!filter.matches(&serde_json::Value::Null));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[ a-c.(),!&|'\"\\\\=<?:\\[\\]0-9ré]{0,60}") {
            if let Err(mistake) = parse(&text) {
                prop_assert!(mistake.at <= text.len() && text.is_char_boundary(mistake.at));
            }
        }
    }
}
