//! `docs/unsafe.md`: where the sources are `unsafe`, how often and what for, as they say themselves.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::page::{ensure_kept, root};

/// The crates that run on users' machines, and what tests them.
const CRATES: [&str; 9] = [
    "wire", "policy", "actors", "agent", "ebpf", "server", "benches", "tests", "fuzz",
];

const HEAD: &str = "\
# Where the sources are unsafe

Made from the sources by a unit test (`tests/src/inventory.rs`), which fails when this page is not what they are.

Outside of `ebpf/`, `unsafe` is an error (`unsafe_code = \"deny\"`) but in a module that allows it and says why; each block says in a
`SAFETY:` line what makes it sound, which clippy demands (`undocumented_unsafe_blocks`). In the kernel programs what an `unsafe` block
may touch is proven by the kernel's verifier at each load, or the program is refused; there `fixed`, `field` and `read` stand for
memory that the verifier has bounds for. *Blocks* are expressions; *promises* are functions, implementations and attributes that are
unsafe by declaration.
";

/// How often a file is unsafe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    blocks: usize,
    promises: usize,
}

impl Count {
    /// Counts the keyword, in macros too; comments and texts have none.
    fn add(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Group(group) => self.add(group.stream()),
                TokenTree::Ident(word) if word == "unsafe" => match tokens.peek() {
                    Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                        self.blocks += 1;
                    }
                    _ => self.promises += 1,
                },
                _ => {}
            }
        }
    }
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What a module, or the one it is a part of, says it is unsafe for: what stands behind the attribute that allows it.
fn reason(file: &Path) -> Option<String> {
    let source = fs::read_to_string(file).ok()?;
    let allows = |line: &&str| line.starts_with("#![allow(unsafe_code)]");
    let Some(line) = source.lines().find(allows) else {
        return reason(&file.parent()?.with_extension("rs"));
    };
    let (_, reason) = line.split_once("//")?;
    Some(reason.trim().trim_end_matches('.').to_owned())
}

fn page(root: &Path) -> String {
    let mut text = HEAD.to_owned();
    for name in CRATES {
        let mut files = Vec::new();
        sources(&root.join(name), &mut files);
        let mut rows = BTreeMap::new();
        for file in files {
            let source = fs::read_to_string(&file).unwrap();
            let mut count = Count::default();
            count.add(source.parse().unwrap());
            if count == Count::default() {
                continue;
            }
            let shown = file.strip_prefix(root).unwrap().display().to_string();
            let reason = match name {
                "ebpf" => Some("a kernel program".to_owned()),
                _ => reason(&file),
            };
            let reason = reason.unwrap_or_else(|| panic!("{shown} does not say why it is unsafe"));
            rows.insert(shown, (count, reason));
        }
        // Writing to a String does not fail.
        let _ = write!(text, "\n## {name}/\n\n");
        if rows.is_empty() {
            text += "Nowhere.\n";
            continue;
        }
        text += "| file | blocks | promises | what for |\n|---|---|---|---|\n";
        for (file, (Count { blocks, promises }, reason)) in rows {
            let _ = writeln!(text, "| `{file}` | {blocks} | {promises} | {reason} |");
        }
    }
    text
}

#[test]
fn the_page_is_what_the_sources_are() {
    ensure_kept("unsafe.md", &page(&root()));
}

#[test]
fn the_word_is_counted_where_it_is_one() {
    let mut count = Count::default();
    let source = "/// unsafe\nunsafe fn f() { unsafe { g(\"unsafe\") } } macro_rules! m { () => { unsafe {} } } #[unsafe(no_mangle)] fn h() {}";
    count.add(source.parse().unwrap());
    assert_eq!(
        count,
        Count {
            blocks: 2,
            promises: 2
        }
    );
}
