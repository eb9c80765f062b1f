//! What a model can see, change and do on the machine: what the contract gives it, and nothing that belongs to others.

use std::{os::unix::fs::chown, path::Path};

use api::internal::replica::Program;
use serde_json::{Value, json};

use crate::support::{Draft, Replica};

/// The contract's user, and the one that stands for everybody without rights.
const APP: u32 = 60000;
const NOBODY: u32 = 65534;

const PROBE: &str = r#"
import ctypes, os, stat, subprocess
libc = ctypes.CDLL(None, use_errno=True)
def call(function, *arguments):
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
def write(path):
    with open(path, "a") as file:
        file.write("+")
ACTS = {
    "read": lambda path: open(path).read(),
    "write": write,
    "list": lambda path: sorted(os.listdir(path)),
    "mount": lambda path: call(libc.mount, b"x", path.encode(), b"tmpfs", 0, None),
    "umount": lambda path: call(libc.umount2, path.encode(), 2),
    "remount": lambda path: call(libc.mount, None, path.encode(), None, 32 | 4096, None),
    "mknod": lambda path: os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(1, 1)),
    "signal": lambda process: os.kill(process, 0),
    "user": lambda _: os.getuid(),
    "environment": lambda name: os.environ.get(name),
    "shell": lambda command: subprocess.run(command, shell=True, capture_output=True, text=True).stdout,
}
class Model:
    def predict(self, inputs):
        act, argument = inputs
        try:
            return ACTS[act](argument)
        except OSError as error:
            return "refused: " + error.strerror
"#;

/// A replica of a server whose data folder is hidden, with a secret and a neighbour in that folder; files elsewhere are hidden too.
fn draft() -> Draft {
    let mut draft = Draft::model_in("/var/tmp", PROBE);
    let data = draft.data().to_owned();
    std::fs::write(data.join("admin-api-key"), "the key of the house").unwrap();
    std::fs::create_dir_all(data.join("replicas/two/tmp")).unwrap();
    std::fs::write(data.join("replicas/two/spec.json"), "the neighbour's").unwrap();
    draft.spec.sandbox.hidden = vec![data, "/etc/hosts".into(), "/etc/os-release".into()];
    draft
}

/// Who runs the replica: who runs the tests and, where that is root, somebody who is not.
async fn with_and_without_root(check: impl AsyncFn(Replica)) {
    let check = async |replica: Replica| {
        // A machine without namespaces is told of in the log.
        if !replica.says("no private file system") {
            check(replica).await;
        }
    };
    if !nix::unistd::geteuid().is_root() {
        return check(draft().ready().await).await;
    }
    let mut privileged = draft();
    privileged.spec.sandbox.user = Some(APP);
    give(&privileged.app(), APP);
    check(privileged.ready().await).await;
    let mut unprivileged = draft();
    let Program::Truss { python, .. } = &mut unprivileged.spec.program else { unreachable!("a model") };
    // The environment of the tests may lead to an interpreter in root's own home.
    *python = "/usr/bin/python3".into();
    give(unprivileged.data(), NOBODY);
    check(unprivileged.ready_as(NOBODY).await).await;
}

fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

async fn refused(replica: &Replica, act: &str, argument: Value) {
    let answer = replica.predicted(json!([act, argument])).await;
    let is_refused = answer.as_str().is_some_and(|text| text.starts_with("refused: "));
    assert!(is_refused, "{act} {argument}: {answer}; {:#?}", replica.log());
}

#[tokio::test]
async fn what_belongs_to_the_server_and_to_others_is_not_there() {
    with_and_without_root(async |replica| {
        let data = replica.data().to_str().unwrap().to_owned();
        for path in ["admin-api-key", "replicas/two/spec.json", "replicas/one/spec.json"] {
            refused(&replica, "read", json!(format!("{data}/{path}"))).await;
        }
        refused(&replica, "list", json!(format!("{data}/replicas/two"))).await;
        for path in ["/etc/hosts", "/etc/os-release"] {
            assert_eq!(replica.predicted(json!(["read", path])).await, json!(""), "{path}");
        }
        let seen = replica.predicted(json!(["list", data])).await;
        assert_eq!(seen, json!(["deployment", "replicas"]), "what the model needs itself");
        let lifted = format!("unshare -Urm sh -c 'umount -l {data}; umount -l /; cat {data}/admin-api-key'; echo end");
        assert_eq!(replica.predicted(json!(["shell", lifted])).await, json!("end\n"));
        if replica.says("the model sees other processes") {
            return;
        }
        let processes = replica.predicted(json!(["list", "/proc"])).await;
        let processes =
            processes.as_array().unwrap().iter().filter(|name| name.as_str().unwrap().parse::<u32>().is_ok());
        assert_eq!(processes.count(), 2, "the model and its guardian");
        refused(&replica, "signal", json!(std::process::id())).await;
        refused(&replica, "read", json!(format!("/proc/{}/environ", std::process::id()))).await;
    })
    .await;
}

#[tokio::test]
async fn a_model_has_no_privileges_to_undo_its_sandbox_with() {
    with_and_without_root(async |replica| {
        let data = replica.data().to_str().unwrap().to_owned();
        for (act, path) in [
            ("mount", "/tmp"),
            ("umount", "/"),
            ("umount", "/app"),
            ("umount", data.as_str()),
            ("remount", "/usr"),
            ("mknod", "/tmp/device"),
            ("write", "/usr/new"),
            ("write", "/etc/passwd"),
            ("write", "/proc/sys/kernel/core_pattern"),
        ] {
            refused(&replica, act, json!(path)).await;
        }
        let status = replica.predicted(json!(["read", "/proc/self/status"])).await;
        let field = |name: &str| {
            let mut lines = status.as_str().unwrap().lines();
            lines.find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
        };
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(field(set), "0000000000000000", "{set}");
        }
        assert_eq!(field("NoNewPrivs:"), "1");
    })
    .await;
}

#[tokio::test]
async fn a_model_may_change_what_is_its_own() {
    with_and_without_root(async |replica| {
        assert_eq!(replica.predicted(json!(["read", "/app/data/given"])).await, json!("given"));
        for path in [
            "/app/new",
            "/app/data/new",
            "/app/data/given",
            "/home/app/new",
            "/tmp/new",
            "/workspace/new",
            "/dev/shm/new",
            "/dev/stdout",
        ] {
            assert_eq!(replica.predicted(json!(["write", path])).await, json!(null), "{path}");
        }
        assert_eq!(
            std::fs::read_to_string(replica.data().join("deployment/data/given")).unwrap(),
            "given",
            "the deployment's folder belongs to all its replicas"
        );
        let name = "python3 -c 'import getpass; print(getpass.getuser())'";
        if replica.predicted(json!(["user", null])).await == json!(APP) {
            assert_eq!(replica.predicted(json!(["shell", name])).await, json!("app\n"));
        } else {
            assert_ne!(replica.predicted(json!(["user", null])).await, json!(0));
        }
    })
    .await;
}

#[tokio::test]
async fn a_model_that_its_user_cannot_read_runs_as_who_started_it_and_the_log_says_so() {
    if !nix::unistd::geteuid().is_root() {
        return; // nobody else may be chosen
    }
    let mut draft = draft();
    draft.spec.sandbox.user = Some(APP);
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(draft.app(), closed).unwrap();
    let replica = draft.ready().await;
    assert_eq!(replica.predicted(json!(["user", null])).await, json!(0));
    replica.log_line("user 60000 cannot read its files").await;
    for act in [("umount", "/"), ("mount", "/tmp"), ("write", "/proc/sys/kernel/core_pattern")] {
        refused(&replica, act.0, json!(act.1)).await;
    }
}

#[tokio::test]
async fn without_namespaces_a_model_has_a_copy_of_its_app_and_no_privileges() {
    let draft = draft();
    let given = draft.app().join("data/given");
    let replica = draft.ready_without_namespaces().await;
    replica.log_line("no private file system").await;
    assert_eq!(replica.predicted(json!(["write", "data/given"])).await, json!(null));
    assert_eq!(replica.predicted(json!(["read", "data/given"])).await, json!("given+"));
    assert_eq!(std::fs::read_to_string(given).unwrap(), "given");
    let status = replica.predicted(json!(["read", "/proc/self/status"])).await;
    assert!(status.as_str().unwrap().contains("CapBnd:\t0000000000000000"), "{status}");
}

#[tokio::test]
async fn without_namespaces_a_server_finds_its_secrets_in_its_environment() {
    let mut draft = Draft::server("test \"$TRUSS_SECRET_token\" = t0ken && python -m http.server 8000", &[]);
    if let Program::Server { readiness_endpoint, .. } = &mut draft.spec.program {
        *readiness_endpoint = "/".into();
    }
    draft.secrets.insert("token".into(), "t0ken".into());
    let replica = draft.ready_without_namespaces().await;
    replica.log_line("secrets are environment variables").await;
}

#[tokio::test]
async fn proxies_and_certificates_of_the_machine_reach_the_model_unless_it_has_its_own() {
    let mut draft = draft();
    draft.variables = [("HTTPS_PROXY", "http://machine:1"), ("no_proxy", "local"), ("OTHER", "1")]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
    draft.spec.environment_variables = [("no_proxy".into(), "mine".into())].into();
    let replica = draft.ready().await;
    for (name, value) in
        [("HTTPS_PROXY", json!("http://machine:1")), ("no_proxy", json!("mine")), ("OTHER", json!(null))]
    {
        assert_eq!(replica.predicted(json!(["environment", name])).await, value, "{name}");
    }
}
