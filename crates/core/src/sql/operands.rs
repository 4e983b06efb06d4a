//! Operators that lack a side. The parser takes the next word for a column, `and` in `a > and b > 1`, and stumbles later.

use sqlparser::{
    keywords::Keyword,
    tokenizer::{Span, Token, TokenWithSpan},
};

/// What lacks a value, and where.
pub(super) struct Lack {
    pub(super) span: Span,
    pub(super) message: String,
}

/// The first operator or word of syntax that has no value beside it.
pub(super) fn lacking(tokens: &[TokenWithSpan]) -> Option<Lack> {
    let mut before: Option<&TokenWithSpan> = None;
    for token in tokens
        .iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF))
    {
        let starts_anew = before.is_none_or(|before| is_opening(&before.token));
        if starts_anew && needs_left(&token.token) {
            return Some(Lack {
                span: token.span,
                message: format!("{} needs a value on its left", name(&token.token)),
            });
        }
        if let Some(before) = before
            && needs_right(&before.token)
            && !can_follow(&before.token, &token.token)
        {
            return Some(Lack {
                span: token.span,
                message: format!(
                    "{} needs a value on its right, and {} comes next",
                    name(&before.token),
                    name(&token.token)
                ),
            });
        }
        before = Some(token);
    }
    let last = before.filter(|last| needs_right(&last.token))?;
    Some(Lack {
        span: last.span,
        message: format!(
            "{} needs a value on its right, and the expression ends",
            name(&last.token)
        ),
    })
}

fn name(token: &Token) -> String {
    format!("`{}`", token.to_string().to_lowercase())
}

/// The word of syntax that this is; a name in quotes is none.
fn word(token: &Token) -> Option<Keyword> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    }
}

fn is_comparison(token: &Token) -> bool {
    matches!(
        token,
        Token::Eq
            | Token::DoubleEq
            | Token::Neq
            | Token::Lt
            | Token::LtEq
            | Token::Gt
            | Token::GtEq
    )
}

fn is_opening(token: &Token) -> bool {
    matches!(token, Token::LParen | Token::Comma)
}

fn needs_left(token: &Token) -> bool {
    is_comparison(token)
        || matches!(token, Token::Div | Token::Mod | Token::StringConcat)
        || matches!(
            word(token),
            Some(
                Keyword::AND
                    | Keyword::OR
                    | Keyword::LIKE
                    | Keyword::ILIKE
                    | Keyword::BETWEEN
                    | Keyword::IS
            )
        )
}

fn needs_right(token: &Token) -> bool {
    is_comparison(token)
        || matches!(
            token,
            Token::Plus | Token::Minus | Token::Div | Token::Mod | Token::StringConcat
        )
        || matches!(
            word(token),
            Some(
                Keyword::AND
                    | Keyword::OR
                    | Keyword::NOT
                    | Keyword::LIKE
                    | Keyword::ILIKE
                    | Keyword::BETWEEN
                    | Keyword::WHEN
                    | Keyword::THEN
                    | Keyword::ELSE
            )
        )
}

/// Whether a value may start with `token`, or syntax goes on with it.
fn can_follow(before: &Token, token: &Token) -> bool {
    if word(before) == Some(Keyword::NOT)
        && matches!(
            word(token),
            Some(Keyword::IN | Keyword::LIKE | Keyword::ILIKE | Keyword::BETWEEN)
        )
    {
        return true;
    }
    let cannot = matches!(token, Token::RParen | Token::Comma | Token::Mul)
        || needs_left(token)
        || matches!(
            word(token),
            Some(
                Keyword::IN
                    | Keyword::WHEN
                    | Keyword::THEN
                    | Keyword::ELSE
                    | Keyword::END
                    | Keyword::AS
            )
        );
    !cannot
}
