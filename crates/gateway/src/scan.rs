//! Counts the tokens of an answer while it passes: what its last `usage` says (JSON bodies and event streams as OpenAI's API has
//! them), or one for each piece of content in a stream that says nothing. Nothing of the answer is kept but the usage itself.
//!
//! What a generator of a model's class yields has no type of its own: it is a stream of events when it begins as one.

use api::internal::tokens::Tokens;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use memchr::{memchr, memchr2, memchr3};
use serde_json::Value;

/// Keys whose values are what a model has said, in a stream.
const CONTENT: [&[u8]; 6] = [b"content", b"text", b"delta", b"reasoning_content", b"reasoning", b"arguments"];
/// How a stream of events may begin.
const STARTS: [&[u8]; 2] = [b"data:", b"event:"];
/// Room for the longest key that is looked for.
const LONGEST_KEY: usize = 17;
/// A usage that is longer is none.
const LONGEST_USAGE: usize = 4 << 10;

/// An answer that is being looked at.
#[derive(Debug)]
pub(crate) struct Scan {
    form: Form,
    place: Place,
    /// The text that was begun last.
    text: Text,
    /// The usage that is being read.
    usage: Vec<u8>,
    told: Told,
    /// Events with content so far.
    chunks: u64,
    /// Whether the line that is being read has content.
    has_content: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One value.
    Json,
    /// Lines with a value each. A line's end ends whatever was begun in it.
    Events,
}

/// Where in a value the next byte stands.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Before it is known whether there is anything to count.
    Start,
    /// In something of which nothing is counted.
    Nowhere,
    /// Between texts.
    Between,
    Text {
        is_escaped: bool,
    },
    /// Behind a text that was a key if a colon follows.
    AfterText,
    /// Before the value of a key that is looked for.
    Before(Key),
    /// At the first byte of a text that is content.
    Content,
    Usage {
        depth: u32,
        in_text: bool,
        is_escaped: bool,
    },
}

#[derive(Debug, Clone, Copy)]
enum Key {
    Usage,
    Content,
}

/// As much of a text as a key may have.
#[derive(Debug, Default)]
struct Text {
    bytes: [u8; LONGEST_KEY],
    /// How much of it there is; more than fits for one that is no key.
    length: usize,
}

/// What usages have said; the last one counts.
#[derive(Debug, Default)]
struct Told {
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
}

impl Scan {
    /// For an answer with this head; none where there is nothing to count.
    pub(crate) fn of(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        let (form, place) = form(headers.get(CONTENT_TYPE)?)?;
        let is_plain = headers.get(CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity");
        (status.is_success() && is_plain).then(|| Self {
            form,
            place,
            text: Text::default(),
            usage: Vec::new(),
            told: Told::default(),
            chunks: 0,
            has_content: false,
        })
    }

    /// Looks at the next piece.
    pub(crate) fn see(&mut self, mut piece: &[u8]) {
        while let Some(&first) = piece.first() {
            let seen = match self.place {
                Place::Start => self.start(first),
                Place::Nowhere => return,
                Place::Between => self.between(piece),
                Place::Text { is_escaped: false } => self.text(piece),
                Place::Text { is_escaped: true } => self.go(Place::Text { is_escaped: false }, 1),
                Place::AfterText => self.after_text(first),
                Place::Before(key) => self.before(key, first),
                Place::Content => {
                    self.has_content |= first != b'"';
                    self.go(Place::Text { is_escaped: false }, 0)
                }
                Place::Usage { .. } => self.usage(piece),
            };
            piece = &piece[seen..];
        }
    }

    /// How many there were; none where nothing tells.
    pub(crate) fn tokens(mut self) -> Option<Tokens> {
        self.end_line();
        let Told { input, output, total } = self.told;
        if input.or(output).or(total).is_some() {
            let input = input.unwrap_or(0);
            let output = output.or(total.map(|total| total.saturating_sub(input)));
            return Some(Tokens { input, output: output.unwrap_or(0) });
        }
        (self.chunks > 0).then_some(Tokens { input: 0, output: self.chunks })
    }

    /// Says where the next byte stands, and how many were looked at.
    fn go(&mut self, place: Place, seen: usize) -> usize {
        self.place = place;
        seen
    }

    fn start(&mut self, first: u8) -> usize {
        self.text.push(&[first]);
        let begun = &self.text.bytes[..self.text.length];
        let place = match STARTS.iter().find(|start| start.starts_with(begun)) {
            None => Place::Nowhere,
            Some(start) if start.len() == begun.len() => Place::Between,
            Some(_) => Place::Start,
        };
        self.go(place, 1)
    }

    fn between(&mut self, piece: &[u8]) -> usize {
        let next = match self.form {
            Form::Json => memchr(b'"', piece),
            Form::Events => memchr2(b'"', b'\n', piece),
        };
        let Some(at) = next else { return piece.len() };
        match piece[at] {
            b'"' => {
                self.text = Text::default();
                self.place = Place::Text { is_escaped: false };
            }
            _ => self.end_line(),
        }
        at + 1
    }

    fn text(&mut self, piece: &[u8]) -> usize {
        let next = match self.form {
            Form::Json => memchr2(b'"', b'\\', piece),
            Form::Events => memchr3(b'"', b'\\', b'\n', piece),
        };
        let at = next.unwrap_or(piece.len());
        self.text.push(&piece[..at]);
        match piece.get(at) {
            None => return at,
            Some(b'"') => self.place = Place::AfterText,
            Some(b'\\') => {
                self.text.spoil();
                self.place = Place::Text { is_escaped: true };
            }
            Some(_) => self.end_line(),
        }
        at + 1
    }

    fn after_text(&mut self, first: u8) -> usize {
        match first {
            b':' => {
                let place = self.text.key(self.form).map_or(Place::Between, Place::Before);
                self.go(place, 1)
            }
            _ if self.is_space(first) => 1,
            _ => self.go(Place::Between, 0),
        }
    }

    fn before(&mut self, key: Key, first: u8) -> usize {
        match (key, first) {
            (Key::Usage, b'{') => {
                self.usage.clear();
                self.go(Place::Usage { depth: 0, in_text: false, is_escaped: false }, 0)
            }
            (Key::Content, b'"') => {
                self.text.spoil();
                self.go(Place::Content, 1)
            }
            _ if self.is_space(first) => 1,
            _ => self.go(Place::Between, 0),
        }
    }

    fn usage(&mut self, piece: &[u8]) -> usize {
        let Place::Usage { mut depth, mut in_text, mut is_escaped } = self.place else { return 0 };
        for (at, &byte) in piece.iter().enumerate() {
            match byte {
                b'\n' if self.form == Form::Events => return self.go(Place::Between, at),
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = in_text,
                b'"' => in_text = !in_text,
                b'{' if !in_text => depth += 1,
                b'}' if !in_text => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                self.keep(&piece[..=at]);
                if self.usage.len() <= LONGEST_USAGE {
                    self.told.hear(&self.usage);
                }
                return self.go(Place::Between, at + 1);
            }
        }
        self.keep(piece);
        self.go(Place::Usage { depth, in_text, is_escaped }, piece.len())
    }

    /// Keeps a part of a usage, and of one that is too long no more than shows that.
    fn keep(&mut self, part: &[u8]) {
        let room = LONGEST_USAGE + 1 - self.usage.len();
        self.usage.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn end_line(&mut self) {
        self.chunks += u64::from(std::mem::take(&mut self.has_content));
        self.place = Place::Between;
    }

    /// What may stand between the parts of a value.
    fn is_space(&self, byte: u8) -> bool {
        matches!(byte, b' ' | b'\t' | b'\r') || byte == b'\n' && self.form == Form::Json
    }
}

impl Text {
    fn push(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length.saturating_add(bytes.len())) {
            room.copy_from_slice(bytes);
        }
        self.length = self.length.saturating_add(bytes.len());
    }

    /// It is no key that is looked for, whatever follows.
    fn spoil(&mut self) {
        self.length = usize::MAX;
    }

    fn key(&self, form: Form) -> Option<Key> {
        match self.bytes.get(..self.length)? {
            b"usage" => Some(Key::Usage),
            text if form == Form::Events && CONTENT.contains(&text) => Some(Key::Content),
            _ => None,
        }
    }
}

/// No answer has more tokens than this: a model that says so does not spoil what is added up.
const MOST_TOLD: u64 = 1 << 40;

impl Told {
    fn hear(&mut self, usage: &[u8]) {
        let Ok(usage) = serde_json::from_slice::<Value>(usage) else { return };
        let number = |names: [&str; 2]| {
            names.into_iter().find_map(|name| usage.get(name)?.as_u64()).map(|told| told.min(MOST_TOLD))
        };
        self.input = number(["prompt_tokens", "input_tokens"]).or(self.input);
        self.output = number(["completion_tokens", "output_tokens"]).or(self.output);
        self.total = number(["total_tokens", "total_tokens"]).or(self.total);
    }
}

fn form(mime: &HeaderValue) -> Option<(Form, Place)> {
    let mime = mime.as_bytes();
    let is = |name: &[u8]| {
        let rest = mime.get(name.len()..);
        mime.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
            && rest.is_some_and(|rest| matches!(rest.trim_ascii_start().first(), None | Some(b';')))
    };
    match () {
        () if is(b"application/json") => Some((Form::Json, Place::Between)),
        () if is(b"text/event-stream") => Some((Form::Events, Place::Between)),
        () if is(b"application/octet-stream") => Some((Form::Events, Place::Start)),
        () => None,
    }
}

#[cfg(test)]
mod tests;
