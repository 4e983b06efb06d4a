//! Names with wildcards: `data/2024-*.csv`, `data/**/part-[0-9].parquet`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A path with wildcards, segment by segment: `*` any characters, `?` one, `[a-f]` one of these, `[!a-f]` one not of
/// these, and `**` as a whole segment any folders, also none. A leading dot is only matched by a dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    segments: Vec<String>,
}

const WILD: [char; 3] = ['*', '?', '['];
const ANY_FOLDERS: &str = "**";

impl Pattern {
    /// The pattern, if the text has wildcards at all.
    pub(crate) fn of(text: &str) -> Option<Self> {
        text.contains(WILD).then(|| Self {
            segments: text
                .split('/')
                .filter(|segment| !segment.is_empty() && *segment != ".")
                .map(str::to_owned)
                .collect(),
        })
    }

    /// The segments before the first with a wildcard.
    pub(crate) fn fixed(&self) -> String {
        let fixed = self
            .segments
            .iter()
            .take_while(|segment| !segment.contains(WILD));
        fixed.cloned().collect::<Vec<_>>().join("/")
    }

    /// The folder that is looked through.
    pub(crate) fn start(&self, directory: &Path) -> PathBuf {
        // The empty path stands for the working directory, but is no folder to the system.
        match directory.join(self.fixed()) {
            here if here.as_os_str().is_empty() => PathBuf::from("."),
            start => start,
        }
    }

    /// Whether this path, with `/` between its segments, is meant.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        match_segments(&self.segments, &names)
    }

    /// The files below `directory` that are meant, by their paths from there, in name order.
    pub(crate) fn files(&self, directory: &Path) -> io::Result<Vec<String>> {
        let (fixed, start) = (self.fixed(), self.start(directory));
        let mut found = Vec::new();
        if start.is_dir() {
            // Only `**` reaches deeper than the pattern is long.
            let depth = if self.segments.iter().any(|segment| segment == ANY_FOLDERS) {
                usize::MAX
            } else {
                self.segments.len()
            };
            visit(&start, &fixed, depth, &mut |path| {
                if self.matches(path) {
                    found.push(path.to_owned());
                }
            })?;
        }
        sort_by_name(&mut found);
        Ok(found)
    }
}

/// All files below the folder whose names do not begin with `.` or `_` (as those of a folder that a cluster wrote do), by their
/// paths from it, in name order.
pub(crate) fn files_below(folder: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    visit(folder, "", usize::MAX, &mut |path| {
        if !is_hidden(path) {
            found.push(path.to_owned());
        }
    })?;
    sort_by_name(&mut found);
    Ok(found)
}

/// Whether a name on this path begins with `.` or `_`.
pub(crate) fn is_hidden(path: &str) -> bool {
    path.split('/')
        .any(|name| name.starts_with(['.', '_']) && !name.contains('='))
}

/// Folder by folder, so that `a/2` comes before `a-1/1`.
pub(crate) fn sort_by_name(paths: &mut [String]) {
    paths.sort_by(|left, right| left.split('/').cmp(right.split('/')));
}

fn visit(folder: &Path, name: &str, depth: usize, found: &mut dyn FnMut(&str)) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(last) = entry.file_name().into_string() else {
            // No pattern in a spec, which is UTF-8, can mean it.
            continue;
        };
        let path = if name.is_empty() {
            last
        } else {
            format!("{name}/{last}")
        };
        let place: PathBuf = entry.path();
        if place.is_dir() {
            // A link to a folder above would never end.
            let is_link = entry.file_type()?.is_symlink();
            if !is_link && path.split('/').count() < depth {
                visit(&place, &path, depth, found)?;
            }
        } else if place.is_file() {
            found(&path);
        }
    }
    Ok(())
}

fn match_segments(pattern: &[String], names: &[&str]) -> bool {
    match (pattern.split_first(), names.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == ANY_FOLDERS => {
            match_segments(rest, names)
                || names.split_first().is_some_and(|(name, after)| {
                    !name.starts_with('.') && match_segments(pattern, after)
                })
        }
        (Some((first, rest)), Some((name, after))) => {
            (!name.starts_with('.') || first.starts_with('.'))
                && match_name(
                    &first.chars().collect::<Vec<_>>(),
                    &name.chars().collect::<Vec<_>>(),
                )
                && match_segments(rest, after)
        }
        _ => false,
    }
}

fn match_name(pattern: &[char], name: &[char]) -> bool {
    // Where to go on when what follows the last `*` does not fit: that `*` takes one character more.
    let mut star: Option<(usize, usize)> = None;
    let (mut at, mut next) = (0, 0);
    while next < name.len() {
        let taken = match pattern.get(at) {
            Some('*') => {
                star = Some((at, next));
                at += 1;
                continue;
            }
            Some('?') => Some(1),
            Some('[') => match_class(&pattern[at..], name[next]),
            Some(character) if *character == name[next] => Some(1),
            _ => None,
        };
        match (taken, star) {
            (Some(length), _) => {
                at += length;
                next += 1;
            }
            (None, Some((place, from))) => {
                star = Some((place, from + 1));
                at = place + 1;
                next = from + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[at..].iter().all(|character| *character == '*')
}

/// How long the class `[…]` at the start of the pattern is, if it holds the character. A `[` that is never closed is itself.
fn match_class(pattern: &[char], character: char) -> Option<usize> {
    let is_negated = pattern.get(1) == Some(&'!');
    let first = if is_negated { 2 } else { 1 };
    // A `]` right at the start is one of the characters.
    let Some(end) = (first + 1..pattern.len()).find(|at| pattern[*at] == ']') else {
        return (character == '[').then_some(1);
    };
    let members = &pattern[first..end];
    let mut holds = false;
    let mut at = 0;
    while at < members.len() {
        if at + 2 < members.len() && members[at + 1] == '-' {
            holds |= (members[at]..=members[at + 2]).contains(&character);
            at += 3;
        } else {
            holds |= members[at] == character;
            at += 1;
        }
    }
    (holds != is_negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_mean_what_a_shell_means() {
        for (pattern, path, expected) in [
            ("data/2024-*.csv", "data/2024-01.csv", true),
            ("data/2024-*.csv", "data/2024-.csv", true),
            ("data/2024-*.csv", "data/2023-01.csv", false),
            ("data/2024-*.csv", "data/2024-01.csv.gz", false),
            ("data/*.csv", "data/deep/a.csv", false),
            ("data/**/*.csv", "data/deep/er/a.csv", true),
            ("data/**/*.csv", "data/a.csv", true),
            ("**", "a/b", true),
            ("data/?.csv", "data/é.csv", true),
            ("data/?.csv", "data/ab.csv", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[!a-c]x", "dx", true),
            ("[]]x", "]x", true),
            ("a[x", "a[x", true),
            ("*", ".hidden", false),
            (".*", ".hidden", true),
            ("**/a", ".git/a", false),
            ("*a*b*c", "xaybzbcc", true),
            ("*a*b*c", "xaybz", false),
            ("./d/*", "d/a", true),
        ] {
            let found = Pattern::of(pattern).map(|pattern| pattern.matches(path));
            assert_eq!(found, Some(expected), "{pattern} {path}");
        }
        assert_eq!(Pattern::of("data/a.csv"), None);
    }

    #[test]
    fn files_come_in_name_order() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in [
            "d/b/1.csv",
            "d/b-c/1.csv",
            "d/a.csv",
            "d/.a.csv",
            "d/_a.csv",
            "e/a.csv",
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, "").expect("written");
        }
        let found = |pattern: &str| {
            Pattern::of(pattern)
                .expect("wildcards")
                .files(folder.path())
                .expect("listed")
        };
        assert_eq!(found("d/*.csv"), ["d/_a.csv", "d/a.csv"]);
        assert_eq!(
            found("d/**/*.csv"),
            ["d/_a.csv", "d/a.csv", "d/b/1.csv", "d/b-c/1.csv"]
        );
        assert_eq!(found("?/a.csv"), ["d/a.csv", "e/a.csv"]);
        assert!(found("nowhere/*.csv").is_empty());
        assert_eq!(
            files_below(&folder.path().join("d")).expect("listed"),
            ["a.csv", "b/1.csv", "b-c/1.csv"]
        );
    }
}
