//! Which paths and link targets stay inside the folder that an archive is unpacked into. Pure text: nothing here looks at a disk.

use crate::error::Refusal;

/// The longest name that file systems take.
const NAME_BYTES: usize = 255;

/// The clean, relative form of an entry's path; empty for the archive's own root (`./`).
pub(crate) fn clean(raw: &[u8]) -> Result<String, Refusal> {
    let text = std::str::from_utf8(raw).map_err(|_| Refusal::Unprintable)?;
    if text.chars().any(char::is_control) {
        return Err(Refusal::Unprintable);
    }
    if text.starts_with('/') {
        return Err(Refusal::Absolute);
    }
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(Refusal::GoesUp),
            long if long.len() > NAME_BYTES => return Err(Refusal::LongName),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// Whether a symbolic link at `link` (clean) to `target` stays inside, whatever other links the archive holds.
///
/// `..` is allowed only in front: it starts from a real folder, because no entry lies below a link, and every later part only
/// goes down or through another link that stays inside by the same rule. Behind a name, `..` could step out of a folder that is
/// itself a link.
pub(crate) fn check_link(link: &str, target: &[u8]) -> Result<String, Refusal> {
    let shown = || String::from_utf8_lossy(target).into_owned();
    let text = std::str::from_utf8(target).map_err(|_| Refusal::Unprintable)?;
    if text.is_empty() || text.starts_with('/') || text.chars().any(char::is_control) {
        return Err(Refusal::LinkEscapes(shown()));
    }
    let depth = link.matches('/').count();
    let mut ups = 0;
    let mut named = false;
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if named => return Err(Refusal::LinkEscapes(shown())),
            ".." => ups += 1,
            _ => named = true,
        }
    }
    if ups > depth { Err(Refusal::LinkEscapes(shown())) } else { Ok(text.to_owned()) }
}

/// The folders above a clean path, outermost first.
pub(crate) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, expected: Result<&str, Refusal>) {
        assert_eq!(clean(raw.as_bytes()), expected.map(str::to_owned), "{raw:?}");
    }

    #[test]
    fn a_path_comes_out_clean_or_not_at_all() {
        check("model/model.py", Ok("model/model.py"));
        check("./model//x/./y", Ok("model/x/y"));
        check("./", Ok(""));
        check("..a/b..", Ok("..a/b.."));
        check("/etc/passwd", Err(Refusal::Absolute));
        check("../x", Err(Refusal::GoesUp));
        check("a/../../x", Err(Refusal::GoesUp));
        check("a/..", Err(Refusal::GoesUp));
        check("a\nb", Err(Refusal::Unprintable));
        check(&"n".repeat(256), Err(Refusal::LongName));
        assert_eq!(clean(b"\xff"), Err(Refusal::Unprintable));
    }

    #[test]
    fn a_link_may_only_point_inside() {
        for (link, target) in [("a", "b"), ("a/b", "../c"), ("a/b/c", "../../d/e"), ("a", "./b/."), ("a", ".")] {
            assert_eq!(check_link(link, target.as_bytes()), Ok(target.to_owned()), "{link} -> {target}");
        }
        for (link, target) in
            [("a", ".."), ("a", "/b"), ("a/b", "../../c"), ("a", "b/../c"), ("a/b", "./../.."), ("a", "")]
        {
            assert!(check_link(link, target.as_bytes()).is_err(), "{link} -> {target}");
        }
    }

    #[test]
    fn ancestors_go_from_the_outside_in() {
        assert_eq!(ancestors("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(ancestors("a").count(), 0);
    }
}
