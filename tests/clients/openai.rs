//! The OpenAI client, against a model that implements `chat_completions`.

use std::process::Command;

use crate::{
    harness::{API_KEY, Server, model, run},
    packages::{environment, here},
};

const PACKAGES: [&str; 1] = ["openai==2.8.1"];

const CHAT: &str = r#"
import json


def answer(text, **more):
    return {"id": "c", "created": 1, "model": "m", **more, "choices": [{"index": 0, "finish_reason": "stop", **text}]}


class Model:
    def predict(self, request):
        return request

    def chat_completions(self, request):
        said = request["messages"][-1]["content"]
        if not request.get("stream"):
            message = {"message": {"role": "assistant", "content": said.upper()}}
            return answer(message, object="chat.completion")
        return self.stream(said)

    def stream(self, said):
        for word in said.upper().split():
            piece = {"delta": {"role": "assistant", "content": word}}
            yield f"data: {json.dumps(answer(piece, object='chat.completion.chunk'))}\n\n"
        yield "data: [DONE]\n\n"
"#;

#[test]
fn the_openai_client_chats_with_a_model_plain_and_streamed() {
    let Some(python) = environment("openai-venv", &PACKAGES) else { return };
    let server = Server::start();
    let chat = model("model_name: chat\n", CHAT);
    let pushed = server.push(chat.path());
    let id = pushed["model"]["id"].as_str().expect("an id");
    let base = format!("{}/models/{id}/environments/production/sync/v1", server.url);
    let mut walk = Command::new(python);
    walk.arg(here().join("tests/clients/openai_chat.py")).args([&base, API_KEY]);
    walk.env_clear();
    let ran = run(walk, b"");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}
