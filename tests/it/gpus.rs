//! The GPUs of the machine, as the vendor's library tells of them. A library with the same interface stands in for it, so that what is
//! loaded, asked and answered is what happens where there are some.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::harness::{Ran, Server, eventually, model};

/// Four GPUs: one is lost, and one does not say how much memory it has. Names, numbers and layouts are those of NVIDIA's `nvml.h`.
const LIBRARY: &str = r#"
#include <string.h>

typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } memory_v2;
enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, GPU_IS_LOST = 15, VERSION_MISMATCH = 25 };

static const char *const names[] = { "NVIDIA H200", "NVIDIA H200", "NVIDIA H200", "Tesla T4" };
static const char *const ids[] = { "GPU-a", "GPU-b", "GPU-c", "GPU-d" };
static unsigned int handles[] = { 0, 1, 2, 3 };

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 4; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    if (index >= 4) return INVALID_ARGUMENT;
    if (index == 1) return GPU_IS_LOST;
    *device = &handles[index];
    return SUCCESS;
}

int nvmlDeviceGetName(void *device, char *name, unsigned int length) {
    strncpy(name, names[*(unsigned int *)device], length);
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *device, char *id, unsigned int length) {
    strncpy(id, ids[*(unsigned int *)device], length);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(void *device, memory_v2 *memory) {
    unsigned int index = *(unsigned int *)device;
    if (memory->version != (sizeof(memory_v2) | 2u << 24)) return VERSION_MISMATCH;
    if (index == 3) return NOT_SUPPORTED;
    memory->total = (index == 0 ? 143771ull : 143000ull) << 20;
    return SUCCESS;
}
"#;

fn build(folder: &Path) {
    let source = folder.join("nvml.c");
    fs::write(&source, LIBRARY).expect("written");
    let library = folder.join("libnvidia-ml.so.1");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).output();
    let built = built.expect("cc runs: it links this program too");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

/// A server on a machine with two H200 and a T4.
fn start(folder: &Path, config: &str) -> Server {
    build(folder);
    Server::start_in(config, &[("LD_LIBRARY_PATH", folder.to_str().expect("UTF-8"))])
}

#[test]
fn the_gpus_of_the_machine_are_found_and_one_that_is_lost_hides_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), "");
    let locations = server.json(&["locations"]);
    let gpus = |value: &Value| value["type"] == "gpu";
    let found: Vec<Value> = locations["regions"][0]["flavors"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|one| gpus(one))
        .cloned()
        .collect();
    assert_eq!(
        found,
        [
            json!({ "type": "gpu", "name": "h200", "count": 2, "memory_mib": 143_000 }),
            json!({ "type": "gpu", "name": "t4", "count": 1, "memory_mib": null }),
        ],
        "{locations:#}"
    );
    assert!(server.log().contains("a GPU does not say what it is, and is not counted"), "{}", server.log());
}

/// Says which GPUs it may use.
const TELLS: &str = r#"
import os

class Model:
    def predict(self, asked):
        return os.environ["CUDA_VISIBLE_DEVICES"]
"#;

fn pushed(server: &Server, name: &str, accelerator: &str, arguments: &[&str]) -> Ran {
    let accelerator = format!("model_name: {name}\nresources: {{ accelerator: {accelerator} }}\n");
    let folder = model(&accelerator, TELLS);
    server.greenroom(&[&["push", folder.path().to_str().expect("UTF-8")], arguments].concat())
}

fn told(server: &Server, name: &str) -> Value {
    server.json(&["predict", name, "--data", "{}"])
}

#[tokio::test]
async fn a_model_has_the_gpus_it_asks_for_to_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = start(folder.path(), "");
    let (_, types) = server.get("/v1/instance_types").await;
    let with_gpus = |kind: &str| {
        let types = types["instance_types"].as_array().expect("a list").iter();
        types.filter(|one| one["gpu_type"] == kind).map(|one| one["gpu_count"].as_u64().expect("a number")).max()
    };
    assert_eq!((with_gpus("H200"), with_gpus("T4"), with_gpus("H100")), (Some(2), Some(1), None), "{types:#}");

    let (first, second) = (pushed(&server, "first", "H200", &[]), pushed(&server, "second", "H200", &[]));
    assert_eq!((first.code, second.code), (0, 0), "{}\n{}", first.shown(), second.shown());
    assert_eq!((told(&server, "first"), told(&server, "second")), (json!("0"), json!("2")));
    assert_eq!(pushed(&server, "without", "null", &[]).code, 0);
    assert_eq!(told(&server, "without"), "", "GPUs that it has not asked for are hidden");
    assert_eq!(pushed(&server, "without", "T4", &["--promote"]).code, 0);
    assert_eq!(told(&server, "without"), "", "its environment keeps its instance type");
    let log = server.greenroom(&["logs", "without", "--environment", "production"]).stdout;
    assert!(log.contains("it runs on 1x2, which its environment keeps whatever the config asks for"), "{log}");

    server.kill();
    server.restart();
    assert_eq!(pushed(&server, "third", "H200", &["--no-wait"]).code, 0);
    eventually("the third waits for a GPU", || async {
        let shown = server.greenroom(&["deployments", "third"]).stdout;
        shown.contains("waiting for capacity: 1 H200 GPUs needed, 0 free in local").then_some(())
    })
    .await;
    assert_eq!(server.greenroom(&["delete", "first", "--yes"]).code, 0);
    eventually("the third has what the first had", || async {
        let ran = server.greenroom(&["predict", "third", "--data", "{}"]);
        (ran.code == 0 && ran.stdout.trim() == "\"0\"").then_some(())
    })
    .await;

    let refused = pushed(&server, "fourth", "H200:4", &[]);
    let why = "no instance type here has 4 x H200, the most there are is 2 x H200, 1 x T4";
    assert!(refused.code != 0 && refused.stderr.contains(why), "{}", refused.shown());
    assert_eq!(server.greenroom(&["policies", "set", "t4-only", "--allow", "gpu:t4"]).code, 0);
    let attach = ["policies", "attach", "second", "--environment", "production", "t4-only"];
    assert_eq!(server.greenroom(&attach).code, 0);
    let refused = pushed(&server, "second", "T4", &["--promote"]);
    let told_why = ["t4-only", "it runs on H200:", "which its environment keeps"];
    assert!(refused.code != 0 && told_why.iter().all(|why| refused.stderr.contains(why)), "{}", refused.shown());
    let allowed = pushed(&server, "second", "T4", &["--promote", "--change-instance-type"]);
    assert_eq!((allowed.code, told(&server, "second")), (0, json!("3")), "{}", allowed.shown());
}

#[test]
fn gpus_that_are_only_declared_start_nothing_and_the_reason_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let declared = r#"locations = [{ name = "lab", country = "fr", continent = "eu", flavors = [
        { type = "cpu", name = "x86", count = 8 }, { type = "gpu", name = "t4", count = 2 }] }]"#;
    let server = start(folder.path(), declared);
    let ran = pushed(&server, "greedy", "T4:2", &[]);
    let why = "it needs 2 x t4, and this machine has 1";
    assert!(ran.code != 0 && ran.shown().contains(why), "{}", ran.shown());
}

#[tokio::test]
async fn what_runs_on_a_gpu_goes_on_when_its_driver_is_not_there_at_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = start(folder.path(), "");
    let ran = pushed(&server, "steady", "H200", &[]);
    assert_eq!(ran.code, 0, "{}", ran.shown());
    server.restart_in(&[]);
    let refused = pushed(&server, "other", "H200", &[]);
    assert!(refused.stderr.contains("no location has GPUs"), "{}", refused.shown());
    let more = ["environments", "set", "steady", "production", "--min-replicas", "2", "--max-replicas", "2"];
    assert_eq!(server.greenroom(&more).code, 0);
    eventually("another cannot start", || async {
        let shown = server.greenroom(&["deployments", "steady"]).stdout;
        shown.contains("waiting for a place: no location has the hardware that it needs").then_some(())
    })
    .await;
    assert_eq!(told(&server, "steady"), "0", "and what runs goes on");
}
