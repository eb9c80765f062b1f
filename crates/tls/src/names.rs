//! Which host names a server stands for.

/// Host names, each alone or with all that is below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    exact: Vec<String>,
    /// Each with its leading dot.
    below: Vec<String>,
}

impl Names {
    /// Reads names as they are written in a configuration: `example.com` is that one, `*.example.com` all below it.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut read = Self::default();
        for name in names.into_iter().map(str::to_ascii_lowercase) {
            match name.strip_prefix('*') {
                Some(below) => read.below.push(below.to_owned()),
                None => read.exact.push(name),
            }
        }
        read
    }

    /// Whether a host, without its port, is one of them.
    pub fn contains(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_below = |suffix: &String| host.strip_suffix(suffix.as_str()).is_some_and(|rest| !rest.is_empty());
        self.exact.contains(&host) || self.below.iter().any(is_below)
    }

    /// All of them, without what says that it is all below one.
    pub fn roots(&self) -> impl Iterator<Item = &str> {
        self.exact.iter().map(String::as_str).chain(self.below.iter().map(|name| name.trim_start_matches('.')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_host_and_a_star_all_below_it() {
        let names = Names::new(["API.example.com", "*.example.org"]);
        for ours in ["api.example.com", "Api.Example.Com.", "a.example.org", "a.b.example.org"] {
            assert!(names.contains(ours), "{ours}");
        }
        for theirs in ["example.com", "x.api.example.com", "example.org", ".example.org", "badexample.org", ""] {
            assert!(!names.contains(theirs), "{theirs}");
        }
    }
}
