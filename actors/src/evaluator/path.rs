//! Paths that are a caller's argument: made absolute by what `/proc` says of the caller now, which is
//! the best there is where the kernel programs could not resolve them.

use std::path::Path;

use holdfast_wire::record::file::AT_FDCWD;

use super::processes::scan;

/// The absolute, lexically normalised path; the argument itself where its directory is not known.
/// `working_directory`: the caller's as far as it is known, where `/proc` has it no more.
pub(crate) fn resolve(
    proc: &Path,
    tgid: u32,
    directory: i32,
    argument: &str,
    working_directory: Option<&str>,
) -> String {
    if argument.starts_with('/') {
        return normalise(argument);
    }
    let process = proc.join(tgid.to_string());
    let base = if directory == AT_FDCWD {
        scan::link(&process, "cwd").or_else(|| working_directory.map(str::to_owned))
    } else {
        scan::link(&process, &format!("fd/{directory}"))
    };
    // What is no directory (`socket:[…]`) does not begin with a slash.
    match base.filter(|base| base.starts_with('/')) {
        Some(base) if argument.is_empty() => base,
        Some(base) => normalise(&format!("{base}/{argument}")),
        None => argument.to_owned(),
    }
}

/// The absolute path of what is named from `directory` on; the name itself where that is not known.
pub(crate) fn absolute(name: &str, directory: Option<&str>) -> String {
    match directory {
        _ if name.starts_with('/') => normalise(name),
        Some(directory) => normalise(&format!("{directory}/{name}")),
        None => name.to_owned(),
    }
}

/// Removes `.`, `..` and repeated slashes from an absolute path, without looking at any file.
pub(crate) fn normalise(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn normalised() {
        for (path, expected) in [
            ("/", "/"),
            ("//a/./b/../c/", "/a/c"),
            ("/../..", "/"),
            ("/a/..", "/"),
            ("/…/ü", "/…/ü"),
        ] {
            assert_eq!(normalise(path), expected);
        }
    }

    #[test]
    fn relative_to_directory_or_descriptor() {
        let proc = Path::new("/proc");
        let own = std::process::id();
        let cwd = std::env::current_dir()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        assert_eq!(
            resolve(proc, own, AT_FDCWD, "x/../y", None),
            format!("{cwd}/y")
        );
        let directory = std::fs::File::open("/usr").unwrap();
        assert_eq!(
            resolve(proc, own, directory.as_raw_fd(), "./bin", None),
            "/usr/bin"
        );
        assert_eq!(resolve(proc, own, AT_FDCWD, "/a//b", None), "/a/b");
        assert_eq!(resolve(proc, u32::MAX, AT_FDCWD, "b", Some("/a")), "/a/b");
        assert_eq!(resolve(proc, u32::MAX, AT_FDCWD, "b", None), "b");
    }
}
