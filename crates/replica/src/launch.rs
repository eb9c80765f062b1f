//! From the specification of a replica to the command line and environment of its model process.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use api::{
    internal::replica::{Program, Secrets, Spec},
    truss_config::is_reserved_variable,
};

use crate::{guard::Launch, sandbox};

/// Where commands are found when the deployment's environment does not have them.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The port that a Truss model is told; nothing listens there, and models that print it are content.
const TRUSS_PORT: u16 = 8080;

/// Variables of the replica that models see. Others hold what is no business of theirs.
const PASSED_ON: [&str; 8] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
];

/// How glibc keeps memory that a request has freed. By default it gives a body of a megabyte back to the kernel after each
/// request and faults it in again, page by page, with the next; that cost five times what the request itself does.
const ALLOCATOR: [(&str, &str); 2] = [("MALLOC_TRIM_THRESHOLD_", "67108864"), ("MALLOC_MMAP_THRESHOLD_", "33554432")];

/// The descriptors of our worker, as its arguments.
pub struct WorkerEnds {
    /// Data socket, control socket, arena of requests, arena of answers.
    pub descriptors: [i32; 4],
    /// Size of each arena.
    pub arena_size: usize,
    /// The folder that holds the worker's package.
    pub package: PathBuf,
}

/// A launch of our worker.
pub fn worker(spec: &Spec, directory: &Path, ends: &WorkerEnds) -> Launch {
    let Program::Truss { python, app, packages, .. } = &spec.program else { unreachable!("only a Truss has a worker") };
    let mut command: Vec<String> = vec![python.to_string_lossy().into_owned(), "-c".into()];
    command.push(format!(
        "import sys; sys.path[0] = {:?}; from greenroom_worker.main import main; main()",
        ends.package.to_string_lossy()
    ));
    command.extend(ends.descriptors.iter().map(i32::to_string));
    command.push(ends.arena_size.to_string());
    let mut environment = environment(spec, TRUSS_PORT, python.parent());
    environment.insert("PYTHONUNBUFFERED".into(), "1".into());
    for (name, value) in ALLOCATOR {
        environment.entry(name.into()).or_insert_with(|| value.into());
    }
    let needed = [ends.package.clone()].into_iter().chain(interpreter(python)).collect();
    Launch {
        command,
        environment,
        sandbox: plan(spec, app, packages.clone(), directory, needed, None),
        tells_secrets: false,
        open_files: spec.limits.open_files,
        descriptors: ends.descriptors.to_vec(),
    }
}

/// A launch of a server of the user's own on a port of our choice.
pub fn server(spec: &Spec, secrets: &Secrets, directory: &Path, port: u16) -> Launch {
    let Program::Server { command, app, path, port: configured, .. } = &spec.program else {
        unreachable!("only a server is started as one")
    };
    let needed = path.iter().flat_map(|path| interpreter(&path.join("python"))).collect();
    Launch {
        command: vec!["/bin/sh".into(), "-c".into(), replace_word(command, &configured.to_string(), &port.to_string())],
        environment: environment(spec, port, path.as_deref()),
        sandbox: plan(spec, app, None, directory, needed, Some(secrets)),
        tells_secrets: true,
        open_files: spec.limits.open_files,
        descriptors: Vec::new(),
    }
}

/// An interpreter, the environment around it, and the installation that it leads to.
fn interpreter(python: &Path) -> Vec<PathBuf> {
    let installation = |python: &Path| python.parent()?.parent().map(Path::to_owned);
    let real = python.canonicalize().ok();
    let places = [installation(python), real.as_deref().and_then(installation), Some(python.to_owned())];
    places.into_iter().flatten().collect()
}

/// Adds what this machine needs to be said in every environment: proxies and certificates. The user's own words win.
pub fn pass_on(spec: &mut Spec, variables: impl Iterator<Item = (OsString, OsString)>) {
    for (name, value) in variables {
        let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) else {
            continue;
        };
        if PASSED_ON.contains(&name.to_ascii_uppercase().as_str()) {
            spec.environment_variables.entry(name).or_insert(value);
        }
    }
}

fn plan(
    spec: &Spec,
    app: &Path,
    packages: Option<PathBuf>,
    directory: &Path,
    mut needed: Vec<PathBuf>,
    secrets: Option<&Secrets>,
) -> sandbox::Plan {
    needed.extend(spec.sandbox.needed.iter().cloned());
    sandbox::Plan {
        app: app.to_owned(),
        packages,
        directory: directory.to_owned(),
        hidden: spec.sandbox.hidden.clone(),
        needed,
        user: spec.sandbox.user,
        secrets: secrets.map(|secrets| secrets.0.clone()),
    }
}

/// The environment of the model process: the user's variables, except those that belong to the platform, and ours.
fn environment(spec: &Spec, port: u16, path: Option<&Path>) -> BTreeMap<String, String> {
    let users = spec.environment_variables.iter().filter(|(name, _)| !is_reserved_variable(name));
    let mut environment: BTreeMap<String, String> = users.map(|(name, value)| (name.clone(), value.clone())).collect();
    let path = path.map_or_else(|| PATH.to_owned(), |path| format!("{}:{PATH}", path.display()));
    environment.entry("LANG".into()).or_insert_with(|| "C.UTF-8".into());
    environment.insert("PATH".into(), path);
    environment.insert("PORT".into(), port.to_string());
    // Empty where there are none: GPUs that were not asked for belong to others. By number, for not all servers can read ids.
    let devices = spec.gpus.iter().flat_map(|gpus| &gpus.devices);
    let numbers: Vec<String> = devices.map(|device| device.number.to_string()).collect();
    environment.insert("CUDA_VISIBLE_DEVICES".into(), numbers.join(","));
    environment.insert("CUDA_DEVICE_ORDER".into(), "PCI_BUS_ID".into());
    environment.insert("BT_MODEL_ID".into(), spec.model_id.to_string());
    environment.insert("BT_MODEL_DEPLOYMENT_ID".into(), spec.deployment_id.to_string());
    environment
}

/// Replaces `old` where it stands as a word of its own.
fn replace_word(text: &str, old: &str, new: &str) -> String {
    let is_word =
        |character: Option<char>| character.is_some_and(|character| character.is_alphanumeric() || character == '_');
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find(old) {
        let (before, after) = (&rest[..position], &rest[position + old.len()..]);
        let previous = before.chars().next_back().or_else(|| result.chars().next_back());
        let stands_alone = !is_word(previous) && !is_word(after.chars().next());
        result.push_str(before);
        result.push_str(if stands_alone { new } else { old });
        rest = after;
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_replaced_only_as_a_word() {
        let check = |text: &str, expected: &str| assert_eq!(replace_word(text, "80", "4711"), expected);
        check("serve --port 80", "serve --port 4711");
        check("serve --port=80 --bind 0.0.0.0:80", "serve --port=4711 --bind 0.0.0.0:4711");
        check("serve --port 8080 --size 180", "serve --port 8080 --size 180");
        check("80", "4711");
        check("x_80 80_x", "x_80 80_x");
    }
}
