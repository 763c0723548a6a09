//! Tokens → tree, by recursive descent with a limit, so that no text can exhaust the stack.

use super::{
    ast::{Node, Op},
    token::{Token, tokens},
};
use std::{collections::BTreeSet, sync::Arc};

/// Longest selector in bytes. The reference has no limit; etcd's own (1.5 MiB a request) is near.
pub const MAX_BYTES: usize = 1 << 20;

/// How deep parentheses may nest. The reference has no limit (its next release caps a selector at 1,024
/// characters); 128 levels take some tens of kilobytes of stack.
pub const MAX_DEPTH: usize = 128;

/// Why a text is not a selector. Offsets count bytes from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Beyond [`MAX_BYTES`].
    #[error("selector has {0} bytes, which is more than {MAX_BYTES}")]
    TooLong(usize),
    /// Beyond [`MAX_DEPTH`].
    #[error("parentheses nest deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A quote without its twin. There are no escapes: choose the other quote.
    #[error("unterminated string that begins at byte {at}")]
    #[allow(missing_docs)]
    UnterminatedString { at: usize },
    /// `=`, `&` or `|` alone.
    #[error("expected {expected} at byte {at}")]
    #[allow(missing_docs)]
    HalfOperator { expected: &'static str, at: usize },
    /// Something that begins no token, for example a newline.
    #[error("unexpected characters at byte {at}")]
    #[allow(missing_docs)]
    UnexpectedCharacters { at: usize },
    /// Something after a label that is no operator.
    #[error("unexpected characters after label '{label}', was expecting an operator at byte {at}")]
    #[allow(missing_docs)]
    ExpectedOperator { label: String, at: usize },
    /// A label at the end.
    #[error("unexpected end of string in middle of op: label '{0}' has no operator")]
    LabelAlone(String),
    /// A label without an operator.
    #[error("expected == or != or another operator after label '{label}', not {found}")]
    #[allow(missing_docs)]
    NotAnOperator { label: String, found: String },
    /// An operator without its operand, a bracket without its twin.
    #[error("expected {expected}, not {found}")]
    #[allow(missing_docs)]
    Expected { expected: &'static str, found: String },
    /// An operand was due.
    #[error("unexpected token: {0}")]
    UnexpectedToken(String),
    /// A complete selector, and more.
    #[error("unexpected content at end of selector: {0}")]
    TrailingContent(String),
}

pub(super) fn parse(text: &str) -> Result<Node, ParseError> {
    if text.len() > MAX_BYTES {
        return Err(ParseError::TooLong(text.len()));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { rest: &tokens, depth: 0 };
    if parser.peek() == Token::End {
        return Ok(Node::All);
    }
    let root = parser.any()?;
    match parser.peek() {
        Token::End => Ok(root),
        other => Err(ParseError::TrailingContent(spelled(other))),
    }
}

struct Parser<'t, 'a> {
    rest: &'t [Token<'a>],
    depth: usize,
}

impl<'a> Parser<'_, 'a> {
    fn peek(&self) -> Token<'a> {
        self.rest.first().copied().unwrap_or(Token::End)
    }

    fn take(&mut self) -> Token<'a> {
        let token = self.peek();
        self.rest = self.rest.get(1..).unwrap_or_default();
        token
    }

    fn eat(&mut self, token: Token<'_>) -> bool {
        let found = self.peek() == token;
        if found {
            self.take();
        }
        found
    }

    fn expect(&mut self, token: Token<'_>, expected: &'static str) -> Result<(), ParseError> {
        let found = self.peek();
        if self.eat(token) { Ok(()) } else { Err(ParseError::Expected { expected, found: spelled(found) }) }
    }

    fn any(&mut self) -> Result<Node, ParseError> {
        let mut operands = vec![self.all()?];
        while self.eat(Token::Or) {
            operands.push(self.all()?);
        }
        Ok(single_or(operands, Node::Or))
    }

    fn all(&mut self) -> Result<Node, ParseError> {
        let mut operands = vec![self.operation()?];
        while self.eat(Token::And) {
            operands.push(self.operation()?);
        }
        Ok(single_or(operands, Node::And))
    }

    fn operation(&mut self) -> Result<Node, ParseError> {
        let mut negated = false;
        while self.eat(Token::Not) {
            negated = !negated;
        }
        let operand = self.primary()?;
        Ok(if negated { operand.negate() } else { operand })
    }

    fn primary(&mut self) -> Result<Node, ParseError> {
        match self.take() {
            Token::All => Ok(Node::All),
            Token::Global => Ok(Node::Global),
            Token::Has(label) => Ok(Node::Has(label.into())),
            Token::Label(label) => self.after_label(label),
            Token::LeftParen => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(ParseError::TooDeep);
                }
                let inner = self.any()?;
                self.expect(Token::RightParen, ")")?;
                self.depth -= 1;
                Ok(inner)
            }
            other => Err(ParseError::UnexpectedToken(spelled(other))),
        }
    }

    fn after_label(&mut self, label: &str) -> Result<Node, ParseError> {
        let name: Arc<str> = label.into();
        let op = match self.take() {
            Token::Eq => Op::Eq,
            Token::Ne => Op::Ne,
            Token::Contains => Op::Contains,
            Token::StartsWith => Op::StartsWith,
            Token::EndsWith => Op::EndsWith,
            Token::In => return Ok(Node::In(name, self.set()?)),
            Token::NotIn => return Ok(Node::NotIn(name, self.set()?)),
            Token::End => return Err(ParseError::LabelAlone(label.into())),
            other => {
                return Err(ParseError::NotAnOperator { label: label.into(), found: spelled(other) });
            }
        };
        match self.take() {
            Token::Text(value) => Ok(Node::Compare(name, op, value.into())),
            other => Err(ParseError::Expected { expected: "string", found: spelled(other) }),
        }
    }

    /// A trailing comma is fine, a leading one is not.
    fn set(&mut self) -> Result<BTreeSet<Arc<str>>, ParseError> {
        self.expect(Token::LeftBrace, "set literal")?;
        let mut values = BTreeSet::new();
        while let Token::Text(value) = self.peek() {
            self.take();
            values.insert(value.into());
            if !self.eat(Token::Comma) {
                break;
            }
        }
        self.expect(Token::RightBrace, "}")?;
        Ok(values)
    }
}

fn single_or(mut operands: Vec<Node>, combine: fn(Vec<Node>) -> Node) -> Node {
    match operands.pop() {
        Some(only) if operands.is_empty() => only,
        Some(last) => {
            operands.push(last);
            combine(operands)
        }
        None => combine(operands),
    }
}

/// A token as it was written, for messages.
fn spelled(token: Token<'_>) -> String {
    let fixed = match token {
        Token::Label(label) => return format!("label '{label}'"),
        Token::Text(text) => return format!("string {:?}", text.chars().take(40).collect::<String>()),
        Token::Has(label) => return format!("has({label})"),
        Token::All => "all()",
        Token::Global => "global()",
        Token::Eq => "==",
        Token::Ne => "!=",
        Token::Contains => "contains",
        Token::StartsWith => "starts with",
        Token::EndsWith => "ends with",
        Token::In => "in",
        Token::NotIn => "not in",
        Token::Not => "!",
        Token::And => "&&",
        Token::Or => "||",
        Token::LeftParen => "(",
        Token::RightParen => ")",
        Token::LeftBrace => "{",
        Token::RightBrace => "}",
        Token::Comma => ",",
        Token::End => "the end",
    };
    fixed.into()
}
