//! The guardian: a small process of one idea between the replica and the model process. It enters the sandbox, starts the model
//! in a process group of its own, tells the replica how it ends, and ends the whole group when the replica is gone, however that
//! came about. It runs before any runtime or thread exists, because namespaces can only be entered alone.
#![allow(unsafe_code)] // descriptors inherited by number, and calls between fork and exec

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::{FromRawFd as _, RawFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::{
        prctl::set_pdeathsig,
        resource::{Resource, getrlimit, setrlimit},
        signal::{Signal, killpg},
    },
    unistd::{Pid, dup2_stderr, dup2_stdout, getppid},
};
use serde::{Deserialize, Serialize};

use crate::sandbox;

/// The argument that makes the binary a guardian. The descriptor for reports follows it.
pub const ARGUMENT: &str = "--guard";

/// What to run: the first line on the guardian's standard input. The end of that input means that the replica is gone.
#[derive(Serialize, Deserialize)]
pub struct Launch {
    /// Program and arguments.
    pub command: Vec<String>,
    /// The whole environment, but for what depends on the sandbox.
    pub environment: BTreeMap<String, String>,
    /// The sandbox to enter.
    pub sandbox: sandbox::Plan,
    /// Open files for each process.
    pub open_files: u64,
    /// Descriptors that the model process inherits.
    pub descriptors: Vec<RawFd>,
}

/// What the guardian tells, a JSON document a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The model process runs.
    Started {
        /// Its id, which is also that of its group.
        pid: i32,
        /// Why there is no sandbox, when there is none.
        unsandboxed: Option<String>,
    },
    /// It could not be started.
    NotStarted {
        /// Why.
        reason: String,
    },
    /// It ended.
    Exited {
        /// With a code,
        code: Option<i32>,
        /// or by a signal.
        signal: Option<i32>,
    },
}

/// Runs the guardian to its end.
pub fn run(report_descriptor: RawFd) -> ExitCode {
    // SAFETY: the replica passes this descriptor to nobody else.
    let mut reports = unsafe { File::from_raw_fd(report_descriptor) };
    let _ = fcntl(&reports, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)); // not for the model
    match guard(&mut reports) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            send(
                &mut reports,
                &Report::NotStarted {
                    reason: error.to_string(),
                },
            );
            ExitCode::FAILURE
        }
    }
}

fn guard(reports: &mut File) -> io::Result<()> {
    let _ = nix::unistd::setsid(); // out of the reach of signals meant for the replica's group
    let mut input = BufReader::new(io::stdin());
    let mut line = String::new();
    input.read_line(&mut line)?;
    let launch: Launch = serde_json::from_str(&line)?;
    line.clear();
    let unsandboxed = sandbox::enter(&launch.sandbox).err().map(|error| error.to_string());
    let mut child = command(&launch, unsandboxed.is_none()).spawn()?;
    let group = Pid::from_raw(child.id() as i32);
    for descriptor in &launch.descriptors {
        // SAFETY: the model process has its own copies now; ours would keep its sockets open after it ended.
        drop(unsafe { File::from_raw_fd(*descriptor) });
    }
    let nowhere = File::options().write(true).open("/dev/null")?;
    dup2_stdout(&nowhere)?;
    dup2_stderr(&nowhere)?;
    send(
        reports,
        &Report::Started {
            pid: group.as_raw(),
            unsandboxed,
        },
    );
    std::thread::spawn(move || {
        let _ = input.read_to_end(&mut Vec::new());
        let _ = killpg(group, Signal::SIGKILL);
    });
    let status = child.wait()?;
    let _ = killpg(group, Signal::SIGKILL); // whatever it has left behind
    send(
        reports,
        &Report::Exited {
            code: status.code(),
            signal: status.signal(),
        },
    );
    Ok(())
}

fn command(launch: &Launch, is_sandboxed: bool) -> Command {
    let plan = &launch.sandbox;
    let (app, home, temporary) = if is_sandboxed {
        (PathBuf::from("/app"), PathBuf::from("/home/app"), PathBuf::from("/tmp"))
    } else {
        (
            plan.app.clone(),
            plan.directory.join("home"),
            plan.directory.join("tmp"),
        )
    };
    let mut command = Command::new(&launch.command[0]);
    command
        .args(&launch.command[1..])
        .env_clear()
        .envs(&launch.environment)
        .env("APP_HOME", &app)
        .env("HOME", home)
        .env("TMPDIR", temporary)
        .current_dir(app)
        .stdin(Stdio::null())
        .process_group(0);
    let guardian = nix::unistd::getpid();
    let open_files = launch.open_files;
    let prepare = move || {
        let (_, highest) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(
            Resource::RLIMIT_NOFILE,
            open_files.min(highest),
            open_files.min(highest),
        )?;
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        set_pdeathsig(Signal::SIGKILL)?;
        // The guardian may have died before the line above.
        if getppid() == guardian {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::ESRCH))
        }
    };
    // SAFETY: only system calls, none of which allocates or locks.
    unsafe { command.pre_exec(prepare) };
    command
}

fn send(reports: &mut File, report: &Report) {
    let mut line = serde_json::to_vec(report).expect("a report becomes JSON");
    line.push(b'\n');
    let _ = reports.write_all(&line); // a replica that is gone needs no report
}
