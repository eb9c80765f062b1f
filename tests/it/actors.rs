//! Models for the tests of promotions. Each version says its name in every answer and reports each request that it executes.

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    harness::{Server, model},
    load::Ledger,
};

/// A version that answers well.
pub const FINE: &str = "pass";
/// A version that cannot load.
pub const CRASHES_AT_START: &str = "raise RuntimeError('no weights')";
/// A version that is ready, and dies half a second later.
pub const CRASHES_LATER: &str = "print('on stage'); threading.Timer(0.5, os._exit, [1]).start()";
/// A version that never gets ready.
pub const HANGS: &str = "threading.Event().wait()";

/// The folder of a version that does this on load.
pub fn version(name: &str, on_load: &str, ledger: &Ledger) -> TempDir {
    let config = format!(
        "model_name: actor\n\
         runtime: {{predict_concurrency: 8, health_checks: {{startup_threshold_seconds: 10}}}}\n\
         environment_variables: {{VERSION: {name}, LEDGER: '{}'}}\n",
        ledger.port()
    );
    let class = format!(
        "import os, socket, struct, threading\n\
         class Model:\n\
         \x20   def load(self):\n\
         \x20       {on_load}\n\
         \x20       self.version = os.environ['VERSION']\n\
         \x20       self.ledger = socket.create_connection(('127.0.0.1', int(os.environ['LEDGER'])))\n\
         \x20   async def predict(self, request):\n\
         \x20       self.ledger.sendall(struct.pack('>Q', request['id']))\n\
         \x20       return {{'id': request['id'], 'version': self.version}}\n"
    );
    model(&config, &class)
}

/// Pushes a version that serves on its own, and returns what the push said.
pub fn push(server: &Server, name: &str, ledger: &Ledger) -> Value {
    push_that(server, name, FINE, ledger)
}

/// The same of a version that does this on load.
pub fn push_that(server: &Server, name: &str, on_load: &str, ledger: &Ledger) -> Value {
    server.push(version(name, on_load, ledger).path())
}

/// Pushes a version straight to production, and does not wait.
pub fn push_to_production(server: &Server, name: &str, on_load: &str, ledger: &Ledger) -> Value {
    let folder = version(name, on_load, ledger);
    server.json(&["push", folder.path().to_str().expect("UTF-8"), "--environment", "production", "--no-wait"])
}

/// The id of the deployment that a push made.
pub fn deployment(pushed: &Value) -> String {
    pushed["deployment"]["id"].as_str().expect("an id").to_owned()
}
