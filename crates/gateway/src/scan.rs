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

impl Told {
    fn hear(&mut self, usage: &[u8]) {
        let Ok(usage) = serde_json::from_slice::<Value>(usage) else { return };
        let number = |names: [&str; 2]| names.into_iter().find_map(|name| usage.get(name)?.as_u64());
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(mime: &'static str) -> Scan {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(mime))]);
        Scan::of(StatusCode::OK, &headers).expect("there is something to count")
    }

    /// What is counted of a body, which is the same however it is cut.
    #[track_caller]
    fn check(mime: &'static str, body: &str, expected: Option<(u64, u64)>) {
        for size in [1, 2, 3, 7, body.len().max(1)] {
            let mut scan = scan(mime);
            body.as_bytes().chunks(size).for_each(|piece| scan.see(piece));
            let found = scan.tokens().map(|tokens| (tokens.input, tokens.output));
            assert_eq!(found, expected, "in pieces of {size}: {body}");
        }
    }

    const JSON: &str = "application/json";
    const EVENTS: &str = "text/event-stream; charset=utf-8";

    #[test]
    fn a_json_body_says_what_it_used() {
        let told = r#"{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}}"#;
        check(JSON, told, Some((9, 12)));
        check(
            JSON,
            "{\n \"usage\" : {\n \"input_tokens\": 3, \"output_tokens\": 4,\n \"details\": {\"a\": \"}\"} } }",
            Some((3, 4)),
        );
        check(JSON, r#"{"data":[0.1,2e5],"usage":{"prompt_tokens":8,"total_tokens":8}}"#, Some((8, 0)));
        check(JSON, r#"{"usage":{"total_tokens":8}}"#, Some((0, 8)));
    }

    #[test]
    fn what_only_looks_like_a_usage_is_none() {
        check(JSON, r#"{"content":"\"usage\": {\"prompt_tokens\": 1}", "usages": {"prompt_tokens": 1}}"#, None);
        check(JSON, r#"{"usage":null,"a":"usage","b":{"prompt_tokens":1}}"#, None);
        check(JSON, r#"{"usage":{"prompt_tokens":"many","completion_tokens":-1}}"#, None);
        check(JSON, r#"{"usage":{"prompt_tokens":1"#, None);
        check(JSON, r#"["content","text"]"#, None);
    }

    #[test]
    fn a_usage_that_is_too_long_is_not_kept_and_not_counted() {
        let long = format!(r#"{{"usage":{{"x":"{}","prompt_tokens":1}}"#, "y".repeat(2 * LONGEST_USAGE));
        check(JSON, &format!("{long}}}"), None);
        check(JSON, &format!(r#"{long},"usage":{{"prompt_tokens":2}}}}"#), Some((2, 0)));
        let mut scan = scan(JSON);
        scan.see(long.as_bytes());
        assert!(scan.usage.len() <= LONGEST_USAGE + 1);
    }

    #[test]
    fn the_last_usage_of_a_stream_counts_with_what_earlier_ones_said_alone() {
        let stream = concat!(
            "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\n",
            "data: [DONE]\n\n",
        );
        check(EVENTS, stream, Some((5, 2)));
        let split = concat!(
            "event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n",
            "event: message_delta\ndata: {\"usage\":{\"output_tokens\":15}}\n\n",
        );
        check(EVENTS, split, Some((25, 15)));
        let response = "data: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}}\r\n\r\n";
        check(EVENTS, response, Some((1, 2)));
    }

    #[test]
    fn a_stream_that_says_nothing_has_a_token_for_each_event_with_content() {
        let stream = concat!(
            ": a comment with a \" in it\n\n",
            "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\": \"\\\"lo\\\"\"}}]}\n\n",
            "data: {\"choices\":[{\"text\":\"!\"}]}\n\n",
            "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
            "data: [DONE]\n\n",
        );
        check(EVENTS, stream, Some((0, 3)));
        check(EVENTS, "data: {\"delta\":\"half", Some((0, 1)));
        check(EVENTS, "data: 1\n\ndata: two\n\n", None);
    }

    #[test]
    fn what_a_generator_yields_is_a_stream_of_events_when_it_begins_as_one() {
        const BYTES: &str = "application/octet-stream";
        check(BYTES, "data: {\"usage\":{\"prompt_tokens\":5}}\n\n", Some((5, 0)));
        check(BYTES, "event: x\ndata: {\"usage\":{\"prompt_tokens\":5}}\n\n", Some((5, 0)));
        check(BYTES, "date: {\"usage\":{\"prompt_tokens\":5}}\n\n", None);
        check(BYTES, "dat", None);
    }

    #[test]
    fn other_answers_are_not_looked_at() {
        let of = |status: u16, headers: &[(http::HeaderName, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
            Scan::of(StatusCode::from_u16(status).unwrap(), &headers.collect()).is_some()
        };
        assert!(of(200, &[(CONTENT_TYPE, "Application/JSON; charset=utf-8")]));
        assert!(of(200, &[(CONTENT_TYPE, JSON), (CONTENT_ENCODING, "identity")]));
        assert!(!of(200, &[(CONTENT_TYPE, JSON), (CONTENT_ENCODING, "gzip")]));
        assert!(!of(500, &[(CONTENT_TYPE, JSON)]));
        assert!(!of(200, &[(CONTENT_TYPE, "application/jsonlines")]) && !of(200, &[]));
    }

    proptest! {
        #[test]
        fn nothing_that_a_model_sends_breaks_it(body in "(data: |\"usage\"|:|\\{|\\}|\"|\\\\|\n|,|\"content\"|prompt_tokens|1| )*", size in 1..9_usize) {
            for mime in [JSON, EVENTS] {
                let (mut whole, mut pieces) = (scan(mime), scan(mime));
                whole.see(body.as_bytes());
                body.as_bytes().chunks(size).for_each(|piece| pieces.see(piece));
                prop_assert_eq!(whole.tokens(), pieces.tokens());
            }
        }
    }
}
