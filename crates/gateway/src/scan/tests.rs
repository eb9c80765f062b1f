//! What is counted of answers, however they are cut.

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
