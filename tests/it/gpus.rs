//! The GPUs of the machine, as the vendor's library tells of them. A library with the same interface stands in for it, so that what is
//! loaded, asked and answered is what happens where there are some.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::harness::Server;

/// Four GPUs: one is lost, and one does not say how much memory it has. Names, numbers and layouts are those of NVIDIA's `nvml.h`.
const LIBRARY: &str = r#"
#include <string.h>

typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } memory_v2;
enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, GPU_IS_LOST = 15, VERSION_MISMATCH = 25 };

static const char *const names[] = { "NVIDIA H200", "NVIDIA H200", "NVIDIA H200", "Tesla T4" };
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

#[test]
fn the_gpus_of_the_machine_are_found_and_one_that_is_lost_hides_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    build(folder.path());
    let server = Server::start_in("", &[("LD_LIBRARY_PATH", folder.path().to_str().expect("UTF-8"))]);
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
