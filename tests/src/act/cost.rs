//! An operation again and again, measured by the process that does it.

use super::Done;

/// See [`super::main`].
pub(super) fn act(words: &[&str]) -> Done {
    match words {
        ["cost", operation, directory] => Some(crate::cost::work(operation, directory)),
        ["used", program, args @ ..] => Some(crate::crowd::used(program, args)),
        _ => None,
    }
}
