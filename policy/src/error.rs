//! What is wrong with a policy, and where.

use std::fmt;

/// One error in a file: where it is, what is wrong, and what was probably meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize)]
pub struct Problem {
    /// The file, as it was named to the parser.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, in one line.
    pub reason: String,
    /// The valid name nearest to the one that is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.reason
        )?;
        match &self.nearest {
            Some(nearest) => write!(f, " (did you mean `{nearest}`?)"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a file or a set of files; never empty. Shown one a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// What is wrong at which byte of a text, before it is known where in a file the text stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) at: usize,
    pub(crate) reason: String,
    pub(crate) nearest: Option<String>,
}

impl Mistake {
    pub(crate) fn new(at: usize, reason: impl Into<String>) -> Self {
        Self {
            at,
            reason: reason.into(),
            nearest: None,
        }
    }

    /// A name that does not exist; `names` are those that do.
    pub(crate) fn unknown<'a>(
        at: usize,
        reason: impl Into<String>,
        wrong: &str,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let nearest = nearest(wrong, names).map(str::to_owned);
        Self {
            at,
            reason: reason.into(),
            nearest,
        }
    }

    /// The problem that this is in `file` with this `text`, where `offset` says which byte of the
    /// file the mistake's own offset is.
    pub(crate) fn at_offset(
        self,
        file: &str,
        text: &str,
        offset: impl FnOnce(usize) -> usize,
    ) -> Problem {
        let mut end = offset(self.at).min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Problem {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            reason: self.reason,
            nearest: self.nearest,
        }
    }
}

/// Names longer than this are not compared: nobody mistypes a name of that length, and the
/// comparison is quadratic.
const LONGEST_NAME: usize = 64;

/// The name among `names` that `wrong` was probably meant to be: at most a third of it differs.
fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if wrong.len() > LONGEST_NAME {
        return None;
    }
    names
        .into_iter()
        .filter(|name| name.len() <= LONGEST_NAME)
        .map(|name| (distance(wrong, name), name))
        .filter(|(distance, name)| *distance <= name.len().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Levenshtein's distance in bytes: insertions, deletions and replacements.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        let names = ["file.path", "file.inode", "process.executable"];
        assert_eq!(nearest("file.pth", names), Some("file.path"));
        assert_eq!(
            nearest("process.exectuable", names),
            Some("process.executable")
        );
        assert_eq!(nearest("container.id", names), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_problem_is_one_line() {
        let problem = Problem {
            file: "a.json".into(),
            line: 3,
            column: 7,
            reason: "unknown key `wen`".into(),
            nearest: Some("when".into()),
        };
        assert_eq!(
            problem.to_string(),
            "a.json:3:7: unknown key `wen` (did you mean `when`?)"
        );
    }
}
