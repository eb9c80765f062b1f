//! Builds with real interpreters and real packages.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use api::internal::replica::{Level, LogLine};
use backends::{
    Artifact, Backend, BuildError, BuildOutput, BuildRequest,
    local::{Local, PythonChoice},
};

use crate::support::{Bench, Lines, PLAIN_SERVER, names};

const MODEL: &str = "class Model:\n    def predict(self, request):\n        return request\n";
/// The version of Python that these tests ask for; any machine has one near it.
const PYTHON: &str = "python_version: py311\n";

fn with_server(more: &str) -> String {
    format!("{PLAIN_SERVER}{PYTHON}{more}")
}

async fn fails(bench: &Bench, local: &Local, config: &str, files: &[(&str, &str)]) -> (String, String) {
    match local.build(bench.request(config, files), Lines::new()).await {
        Err(BuildError::Invalid { message, hint }) => (message, hint.unwrap_or_default()),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

async fn check_refused(config: &str, files: &[(&str, &str)], expected: &str) {
    let bench = Bench::new();
    let local = bench.local();
    let (message, _) = fails(&bench, &local, config, files).await;
    assert!(message.contains(expected), "expected {expected:?} in {message:?}");
    assert!(names(bench.path().join("local/environments")).is_empty(), "nothing was installed for a hopeless build");
}

fn app(bench: &Bench, artifact: &Artifact) -> PathBuf {
    bench.path().join("local/artifacts").join(&artifact.0).join("app")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_built_with_what_it_requires_and_what_the_platform_offers() {
    let bench = Bench::new();
    let local = bench.local();
    let config = format!("{PYTHON}requirements:\n- six==1.16.0\n- httpx==0.27.2\n");
    let lines = Lines::new();
    let request =
        bench.request(&config, &[("model/model.py", MODEL), ("packages/mine/__init__.py", ""), ("data/x", "1")]);
    let artifact = local.build(request, lines.clone()).await.unwrap();

    let environments = names(bench.path().join("local/environments"));
    let python = bench.path().join("local/environments").join(&environments[0]).join("bin/python");
    let script =
        "import fastapi, starlette, pydantic, numpy, msgpack, httpx, six; print(six.__version__, httpx.__version__)";
    let output = std::process::Command::new(python).args(["-c", script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1.16.0 0.27.2\n", "{output:?}");
    assert!(lines.messages().iter().any(|line| line.contains("six==1.16.0")), "uv's output is in the log");

    let app = app(&bench, &artifact);
    assert_eq!(fs::read_to_string(app.join("config.yaml")).unwrap(), config);
    assert!(app.join("data/x").is_file() && !app.join("packages").exists());
    assert!(app.parent().unwrap().join("packages/mine/__init__.py").is_file());

    // The same requirements with other code: another artifact, the same environment, at once.
    let begun = Instant::now();
    let other = bench.request(&config, &[("model/model.py", &format!("{MODEL}\n# changed"))]);
    let lines = Lines::new();
    let changed = local.build(other, lines.clone()).await.unwrap();
    assert_ne!(changed, artifact);
    assert_eq!(names(bench.path().join("local/environments")).len(), 1, "{:?}", lines.messages());
    assert!(begun.elapsed().as_millis() < 1000, "took {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_equal_builds_at_once_make_one_environment() {
    let bench = Bench::new();
    let local = bench.local();
    let lines = Lines::new();
    let builds = (0..10).map(|number| {
        let config = with_server("requirements: [six==1.17.0]\n");
        let request = bench.request(&config, &[("number", &number.to_string())]);
        let (local, lines) = (Arc::clone(&local), lines.clone());
        tokio::spawn(async move { local.build(request, lines).await })
    });
    for build in builds.collect::<Vec<_>>() {
        build.await.unwrap().unwrap();
    }
    let made = lines.messages().iter().filter(|line| line.starts_with("Making an environment")).count();
    assert_eq!(made, 1, "{:?}", lines.messages());
    assert_eq!(names(bench.path().join("local/artifacts")).len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_models_own_pins_win_over_what_the_platform_offers() {
    let bench = Bench::new();
    let local = bench.local();
    let lines = Lines::new();
    // This release needs a newer starlette than the offered fastapi allows.
    let config = format!("{PYTHON}requirements:\n- fastapi==0.115.0\n- starlette==0.38.6\n- numpy==2.0.2\n");
    local.build(bench.request(&config, &[("model/model.py", MODEL)]), lines.clone()).await.unwrap();
    let all = lines.messages().join("\n");
    assert!(all.contains("numpy==2.0.2") && all.contains("starlette==0.38.6"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_platform_offers_gives_way_where_the_requirements_leave_no_room() {
    let bench = Bench::new();
    let local = bench.local();
    let lines = Lines::new();
    // No fastapi within the platform's bounds takes a starlette as old as this.
    let config = format!("{PYTHON}requirements:\n- starlette==0.36.3\n");
    let request = bench.request(&config, &[("model/model.py", MODEL)]);
    local.build(request, lines.clone()).await.unwrap();
    assert!(lines.messages().join("\n").contains(" + starlette==0.36.3"));
    assert!(lines.warnings().iter().any(|line| line.contains("do not agree")), "{:?}", lines.warnings());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_cannot_be_reached_matters_only_for_what_is_not_here() {
    let bench = Bench::new();
    let local = bench.local();
    let config = with_server("requirements: [six==1.15.0]\n");
    local.build(bench.request(&config, &[]), Lines::new()).await.unwrap();

    let offline = Bench::new();
    let mut settings = offline.settings();
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        settings.variables.insert(proxy.into(), "http://127.0.0.1:9".into());
    }
    settings.variables.remove("NO_PROXY");
    settings.variables.insert("UV_HTTP_RETRIES".into(), "0".into());
    let offline_backend = Local::open(settings).unwrap();
    offline_backend.build(offline.request(&config, &[]), Lines::new()).await.unwrap();
    let config = with_server("requirements: [a-package-nobody-has-fetched-here]\n");
    let failed = offline_backend.build(offline.request(&config, &[]), Lines::new()).await;
    let Err(BuildError::Machine(error)) = failed else { panic!("{failed:?}") };
    assert!(error.to_string().starts_with("the package index cannot be reached"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requirements_come_from_any_kind_of_file() {
    let bench = Bench::new();
    let local = bench.local();
    let project =
        "[project]\nname = \"x\"\nversion = \"0\"\nrequires-python = \">=3.9\"\ndependencies = [\"six==1.16.0\"]\n";
    let build = async |file: &str, files: &[(&str, &str)]| {
        let lines = Lines::new();
        let config = with_server(&format!("requirements_file: {file}\n"));
        local.build(bench.request(&config, files), lines.clone()).await.unwrap();
        let all = lines.messages().join("\n");
        assert!(all.contains("six==1.16.0"), "{file}: {all}");
    };
    build("reqs/pip.txt", &[("reqs/pip.txt", "# mine\nsix==1.16.0\n")]).await;
    build("pyproject.toml", &[("pyproject.toml", project)]).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pyproject.toml"), project).unwrap();
    let uv = local_uv(&bench);
    let locked = std::process::Command::new(uv).arg("lock").current_dir(folder.path()).output().unwrap();
    assert!(locked.status.success(), "{locked:?}");
    let lock = fs::read_to_string(folder.path().join("uv.lock")).unwrap();
    build("sub/uv.lock", &[("sub/uv.lock", &lock), ("sub/pyproject.toml", project)]).await;
}

/// The uv that the backend uses: its own, or the machine's.
fn local_uv(bench: &Bench) -> PathBuf {
    let own = bench.settings().tools.join("bin/uv");
    if own.is_file() { own } else { PathBuf::from("uv") }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_models_code_is_told_by_file_and_line() {
    let check = async |code: &str, expected: &str| check_refused(PYTHON, &[("model/model.py", code)], expected).await;
    check("class Model:\n    def predict(self:\n", "model/model.py:2: ").await;
    check("class Other: pass\n", "model/model.py has no class `Model`").await;
    check("x = 1\n\ndef Model(): pass\n", "model/model.py:3: `Model` is a function").await;
    check_refused(PYTHON, &[("model/other.py", MODEL)], "model/model.py is not in the archive").await;
    let elsewhere = format!("{PYTHON}model_module_dir: src\nmodel_class_filename: m.py\nmodel_class_name: Mine\n");
    check_refused(&elsewhere, &[("src/m.py", MODEL)], "src/m.py has no class `Mine`").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_backend_cannot_do_is_told_by_key() {
    let weights = "weights:\n- source: hf://a/b\n  mount_location: /w\n";
    check_refused(weights, &[("model/model.py", MODEL)], "weights: not available on this backend").await;
    let packages = "system_packages: [no-such-package-as-this]\n";
    check_refused(packages, &[("model/model.py", MODEL)], "no-such-package-as-this").await;
    let image = PLAIN_SERVER.replace("start_command: serve", "no_build: true");
    check_refused(&image, &[], "docker_server.start_command").await;
    check_refused("requirements_file: nope.txt\n", &[("model/model.py", MODEL)], "nope.txt is not in the archive")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requirements_that_cannot_be_met_fail_with_the_reason() {
    let bench = Bench::new();
    let local = bench.local();
    let config = with_server("requirements: [six==99.0.0]\n");
    let (message, hint) = fails(&bench, &local, &config, &[]).await;
    assert!(message.starts_with("cannot install the requirements") && message.contains("six==99.0.0"), "{message}");
    assert!(hint.contains("build log"), "{hint}");
    assert!(
        names(bench.path().join("local/artifacts"))
            .iter()
            .all(|key| { !bench.path().join("local/artifacts").join(key).join("build.json").exists() })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_python_is_replaced_by_its_neighbour_or_fails_the_build() {
    let bench = Bench::new();
    let local = bench.local();
    let lines = Lines::new();
    let config = format!("{PLAIN_SERVER}python_version: py399\n").replace("py399", "py314");
    // Only a machine without this version shows the difference; one with it must not warn.
    local.build(bench.request(&config, &[]), lines.clone()).await.unwrap();
    let warned = lines.warnings().iter().any(|line| line.contains("Python 3.14 is not installed"));
    drop(local);

    let bench = Bench::new();
    let mut settings = bench.settings();
    settings.python = PythonChoice::Exact;
    let exact = Local::open(settings).unwrap();
    let built = exact.build(bench.request(&config, &[]), Lines::new()).await;
    match built {
        Ok(_) => assert!(!warned),
        Err(error) => {
            assert!(warned);
            assert_eq!(error.to_string(), "python_version: Python 3.14 is not installed on this machine");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_no_python_is_not_asked_at_each_build() {
    let bench = Bench::new();
    let asked = std::process::Command::new("python3")
        .args(["-c", "import sys; print(sys.version_info[1], end='')"])
        .output()
        .unwrap();
    let minor = String::from_utf8(asked.stdout).unwrap();
    let (folder, asked) = (bench.path().join("stand-ins"), bench.path().join("asked"));
    fs::create_dir(&folder).unwrap();
    let stand_in = folder.join(format!("python3.{minor}"));
    fs::write(&stand_in, format!("#!/bin/sh\necho asked >> {}\nexit 127\n", asked.display())).unwrap();
    fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();

    let mut settings = bench.settings();
    let path = settings.variables["PATH"].clone();
    settings.variables.insert("PATH".into(), format!("{}:{path}", folder.display()));
    let local = Local::open(settings).unwrap();
    for _ in 0..3 {
        let config = format!("{PLAIN_SERVER}python_version: py3{minor}\n");
        local.build(bench.request(&config, &[]), Lines::new()).await.unwrap();
    }
    assert_eq!(fs::read_to_string(asked).unwrap().lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn build_commands_run_in_the_app_with_the_environments_python() {
    let bench = Bench::new();
    let local = bench.local();
    let config = with_server(
        "environment_variables: {GREETING: hello}\nbuild_commands:\n- echo $GREETING > greeting\n- python -c 'import sys; print(sys.prefix)' > prefix\n",
    );
    let artifact = local.build(bench.request(&config, &[]), Lines::new()).await.unwrap();
    let app = app(&bench, &artifact);
    assert_eq!(fs::read_to_string(app.join("greeting")).unwrap(), "hello\n");
    let prefix = fs::read_to_string(app.join("prefix")).unwrap();
    assert!(prefix.starts_with(bench.path().join("local/environments").to_str().unwrap()), "{prefix}");

    let config = with_server("build_commands:\n- echo so sorry && exit 7\n");
    let (message, hint) = fails(&bench, &local, &config, &[]).await;
    assert!(message.contains("build_commands[0] failed") && message.contains('7'), "{message}");
    assert!(hint.contains("so sorry"), "{hint}");
    let environments = bench.path().join("local/environments");
    let finished =
        names(environments.clone()).iter().filter(|key| environments.join(key).join("greenroom.json").exists()).count();
    assert_eq!(finished, 1, "an environment counts when all commands that change it have succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn external_data_is_downloaded_within_limits() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            let found = request[..read].starts_with(b"GET /weights");
            let answer = if found {
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nbytes"
            } else {
                "HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"
            };
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let bench = Bench::new();
    let mut settings = bench.settings();
    settings.download_bytes = 5;
    let local = Local::open(settings).unwrap();
    let item = |path: &str, more: &str| {
        with_server(&format!("external_data:\n- url: http://{address}/{path}\n  local_data_path: sub/w.bin\n{more}"))
    };
    let artifact = local.build(bench.request(&item("weights", ""), &[]), Lines::new()).await.unwrap();
    assert_eq!(fs::read_to_string(app(&bench, &artifact).join("data/sub/w.bin")).unwrap(), "bytes");
    let (message, _) = fails(&bench, &local, &item("missing", ""), &[]).await;
    assert!(message.contains("external_data[0]") && message.contains("404"), "{message}");
    let (message, _) = fails(&bench, &local, &item("weights", "  sha256: abc\n"), &[]).await;
    assert!(message.contains("SHA-256"), "{message}");
}

/// Replaces a request's archive by one with a link, which our own packing would replace by what it stands for.
fn archive_with_link(request: &BuildRequest, config: &str, link: &str, target: &str) {
    let mut tar = Vec::new();
    let mut entry = |name: &str, kind: u8, target: &str, data: &str| {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, name);
        put(100, "0000644");
        put(124, &format!("{:011o}", data.len()));
        put(136, "00000000000");
        put(148, "        ");
        put(157, target);
        put(257, "ustar\x0000");
        header[156] = kind;
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend(header);
        tar.extend(data.as_bytes());
        tar.resize(tar.len().next_multiple_of(512), 0);
    };
    entry("config.yaml", b'0', "", config);
    entry("real/sub/file", b'0', "", "");
    entry(link, b'2', target, "");
    tar.resize(tar.len() + 1024, 0);
    fs::write(&request.archive, tar).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_that_moved_up_leads_out_and_nothing_is_downloaded_through_one() {
    let bench = Bench::new();
    let local = bench.local();
    let check = async |more: &str, link: &str, target: &str, expected: &str| {
        let config = with_server(more);
        let request = bench.request(&config, &[]);
        archive_with_link(&request, &config, link, target);
        let failed = local.build(request, Lines::new()).await;
        assert!(
            matches!(&failed, Err(BuildError::Invalid { message, .. }) if message.contains(expected)),
            "{link} -> {target}: {failed:?}"
        );
    };
    check("data_dir: a/b/data\n", "a/b/data/l", "../../../x", "leads out of its folder").await;
    check("bundled_packages_dir: a/b\n", "a/b/l", "../x", "leads out of its folder").await;
    check("data_dir: a/sub\n", "a", "real", "leads through a symbolic link").await;
    let download = |path: &str| format!("external_data:\n- url: http://127.0.0.1:9/x\n  local_data_path: {path}\n");
    check(&download("l/x"), "data/l", "../sub", "through a symbolic link").await;
    check(&download("x"), "data", ".", "through a symbolic link").await;
    check(&download("x"), "data/x", "y", "through a symbolic link").await;
    // What stays inside may be a link.
    let config = with_server("data_dir: a/b\n");
    let request = bench.request(&config, &[]);
    archive_with_link(&request, &config, "a/b/c/l", "../x");
    let artifact = local.build(request, Lines::new()).await.unwrap();
    assert!(app(&bench, &artifact).join("data/c/l").is_symlink());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_archive_fails_the_build_and_leaves_nothing() {
    let bench = Bench::new();
    let local = bench.local();
    let mut request = bench.request(PLAIN_SERVER, &[]);
    fs::write(&request.archive, "this is no tar").unwrap();
    let failed = local.build(request.clone(), Lines::new()).await;
    assert!(
        matches!(&failed, Err(BuildError::Invalid { message, .. }) if message.contains("not a tar archive")),
        "{failed:?}"
    );
    request.archive = bench.path().join("nothing-there");
    assert!(matches!(local.build(request, Lines::new()).await, Err(BuildError::Machine(_))));
}

/// Drops the build when its log says a word.
struct Trip(tokio::sync::Notify, &'static str);

impl BuildOutput for Trip {
    fn line(&self, line: LogLine) {
        if line.level == Some(Level::Info) && line.message.contains(self.1) {
            self.0.notify_one();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_dropped_in_the_middle_is_made_again() {
    let bench = Bench::new();
    let local = bench.local();
    let config = with_server(
        "build_commands:\n- echo begun; test -e $MARK || exec cat /dev/zero > /dev/null\n- echo done > done\n",
    );
    // Where a build behind a fence can see it.
    let marks = tempfile::tempdir().unwrap();
    fs::set_permissions(marks.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mark = marks.path().join("mark");
    let config = format!("{config}environment_variables: {{MARK: {}}}\n", mark.display());
    let request = bench.request(&config, &[]);
    let trip = Arc::new(Trip(tokio::sync::Notify::new(), "begun"));
    tokio::select! {
        built = local.build(request.clone(), trip.clone()) => panic!("it never ends by itself: {built:?}"),
        () = trip.0.notified() => {}
    }
    fs::write(&mark, "").unwrap();
    let artifact = local.build(request, Lines::new()).await.unwrap();
    assert!(app(&bench, &artifact).join("done").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_build_of_roots_server_runs_sees_nothing_of_the_server() {
    let bench = Bench::new();
    if bench.settings().model_user.is_none() {
        return;
    }
    // Named by the configuration, and readable to everybody.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::set_permissions(elsewhere.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let named = elsewhere.path().join("named-secret");
    fs::write(&named, "s3cret").unwrap();
    let mut settings = bench.settings();
    settings.hidden.push(named.clone());
    let local = Local::open(settings).unwrap();
    let secret = bench.path().join("local/server-secret");
    fs::write(&secret, "s3cret").unwrap();
    let server = std::process::id();
    let setup = format!(
        "import os, setuptools\ntry: found = open({secret:?}).read()\nexcept OSError as e: found = type(e).__name__\n\
         setuptools.setup(name='mine', version='1', description=f'uid {{os.getuid()}} {{found}}')\n"
    );
    let config = with_server(&format!(
        "requirements: [./mine]\nbuild_commands:\n- id -u > who\n- cat {secret} {named} > leak || true\n\
         - test ! -e /proc/{server}/root/bin || echo sees > processes\n- pip --version > version\n\
         - ln -s {secret} $VIRTUAL_ENV/greenroom.new\n- touch $VIRTUAL_ENV/changed\n",
        secret = secret.display(),
        named = named.display()
    ));
    let request = bench.request(&config, &[("mine/setup.py", &setup)]);
    let lines = Lines::new();
    let built = local.build(request, lines.clone()).await;
    let artifact = built.unwrap_or_else(|error| panic!("{error}: {:?}", lines.messages()));
    assert!(!lines.warnings().iter().any(|line| line.contains("fenced")), "{:?}", lines.warnings());
    let text = |name: &str| fs::read_to_string(app(&bench, &artifact).join(name)).unwrap_or_default();
    assert_eq!((text("who").as_str(), text("leak").as_str(), text("processes").as_str()), ("60000\n", "", ""));
    assert!(text("version").starts_with("pip "), "{:?}", text("version"));
    assert_eq!(fs::read_to_string(&secret).unwrap(), "s3cret");

    let environments = bench.path().join("local/environments");
    let environment = environments.join(&names(environments.clone())[0]);
    let what = ["-name", "METADATA", "-path", "*mine*", "-exec", "cat", "{}", "+"];
    let found = std::process::Command::new("find").arg(&environment).args(what).output().unwrap();
    let metadata = String::from_utf8_lossy(&found.stdout);
    assert!(metadata.contains("uid 60000 FileNotFoundError"), "{metadata}");
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(environment.join("changed")).unwrap());
    assert_eq!(owner, 0, "a finished environment is nobody's to change");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_is_kept_while_a_long_build_needs_it() {
    let bench = Bench::new();
    let mut settings = bench.settings();
    settings.garbage_age_ms = 0;
    let local = Local::open(settings).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = with_server(&format!(
        "external_data:\n- url: http://{}/x\n  local_data_path: x\n",
        listener.local_addr().unwrap()
    ));
    let request = bench.request(&config, &[]);
    let collect = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        local.collect_garbage(&std::collections::BTreeSet::new()).await.unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx";
        // An answer that came before its question would be none.
        tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1024]).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
    };
    let (built, ()) = tokio::join!(local.build(request, Lines::new()), collect);
    let artifact = built.unwrap();
    assert!(app(&bench, &artifact).join("data/x").is_file());
    assert_eq!(names(bench.path().join("local/environments")).len(), 1);
}
