//! The guardian: a small process of one idea between the replica and the model process. It enters the sandbox, starts the model
//! in a process group of its own, tells the replica how it ends, and ends the whole group when the replica is gone, however that
//! came about. It runs before any runtime or thread exists, because namespaces can only be entered alone.
//!
//! The guardian may be two processes: in a namespace of processes it is the first one, takes in orphans, and its end is the end
//! of all; the other waits for that outside. Started by root, the model becomes the user that the specification names. Whoever
//! it is, it has no capabilities and cannot gain any.
#![allow(unsafe_code)] // descriptors inherited by number, and calls between fork and exec

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    os::{
        fd::{FromRawFd as _, RawFd},
        unix::{fs::fchown, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::{
        prctl::set_pdeathsig,
        resource::{Resource, getrlimit, setrlimit},
        signal::{Signal, killpg},
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, fork, geteuid, getppid},
};
use serde::{Deserialize, Serialize};

use crate::{
    confine,
    namespace::{Isolation, Namespace},
    sandbox::{self, SecretFiles},
    veil,
};

/// The argument that makes the binary a guardian. The descriptor for reports follows it.
pub const ARGUMENT: &str = "--guard";

/// A line on the guardian's standard input, after the first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Ask the model's group to end.
    Terminate,
    /// Make these the files in `/secrets`.
    Secrets(BTreeMap<String, String>),
}

/// What to run: the first line on the guardian's standard input, after the isolation to run it in. The end of that input means
/// that the replica is gone.
#[derive(Serialize, Deserialize)]
pub struct Launch {
    /// Program and arguments.
    pub command: Vec<String>,
    /// The whole environment, but for what depends on the sandbox.
    pub environment: BTreeMap<String, String>,
    /// The sandbox to enter.
    pub sandbox: sandbox::Plan,
    /// Whether secrets go into the environment where they cannot be files.
    pub tells_secrets: bool,
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
        /// What a person should know about its isolation.
        notes: Vec<String>,
    },
    /// There is no such isolation here; a lesser one may do.
    NotIsolated {
        /// Why.
        reason: String,
    },
    /// It could not be started.
    NotStarted {
        /// Why.
        reason: String,
    },
    /// The secrets are where they belong, or why they are not.
    SecretsGiven(Result<(), String>),
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
            send(&mut reports, &Report::NotStarted { reason: error.to_string() });
            ExitCode::FAILURE
        }
    }
}

fn guard(reports: &mut File) -> io::Result<()> {
    let _ = nix::unistd::setsid(); // out of the reach of signals meant for the replica's group
    let mut input = BufReader::new(io::stdin());
    let mut line = String::new();
    input.read_line(&mut line)?;
    let (isolation, mut launch): (Isolation, Launch) = serde_json::from_str(&line)?;
    line.clear();
    let (notes, secret_files) = match isolate(isolation, &mut launch) {
        Ok(Place::Inside(notes, files)) => (notes, files),
        Ok(Place::Outside(first)) => return step_aside(first, &launch),
        Err(error) => {
            let reason = error.to_string();
            send(reports, &Report::NotIsolated { reason });
            return Ok(());
        }
    };
    for output in [1, 2] {
        // SAFETY: standard output and error are open from our start to our end.
        let output = unsafe { std::os::fd::BorrowedFd::borrow_raw(output) };
        let _ = fchown(output, launch.sandbox.user, None); // so that it can be opened as /dev/stdout, too
    }
    let child = command(&launch, isolation != Isolation::None).spawn()?;
    let group = Pid::from_raw(child.id() as i32);
    let_go(&launch)?;
    send(reports, &Report::Started { notes });
    let mut answers = reports.try_clone()?;
    std::thread::spawn(move || {
        for line in input.lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(Request::Terminate) => {
                    let _ = killpg(group, Signal::SIGTERM);
                }
                Ok(Request::Secrets(secrets)) => {
                    let given = secret_files.as_ref().map_or(Ok(()), |files| files.show(&secrets));
                    send(&mut answers, &Report::SecretsGiven(given.map_err(|error| error.to_string())));
                }
                Err(_) => {}
            }
        }
        let _ = killpg(group, Signal::SIGKILL);
    });
    let end = wait(group)?;
    let _ = killpg(group, Signal::SIGKILL); // whatever it has left behind
    send(reports, &end);
    Ok(())
}

/// On which side of a new namespace of processes we are.
enum Place {
    /// Where the model will be, with what a person should know about that, and the files that hold its secrets, where it has any.
    Inside(Vec<String>, Option<SecretFiles>),
    /// Where the replica is. The first process inside is our child.
    Outside(Pid),
}

fn isolate(isolation: Isolation, launch: &mut Launch) -> io::Result<Place> {
    let mut notes = Vec::new();
    let plan = &mut launch.sandbox;
    plan.user = plan.user.filter(|_| geteuid().is_root());
    if isolation == Isolation::None {
        if plan.user.take().is_some() {
            notes.push("the model runs as root, without capabilities, because only root can reach its files".into());
        }
        if launch.tells_secrets && plan.secrets.as_ref().is_some_and(|secrets| !secrets.is_empty()) {
            notes.push("secrets are environment variables, named TRUSS_SECRET_ and their name".into());
        }
        // What it writes into its app must not reach other replicas.
        let own = plan.directory.join("app");
        copy(&plan.app, &own)?;
        plan.app = own;
        return Ok(Place::Inside(notes, None));
    }
    let namespace = Namespace::enter(isolation)?;
    if let Some(user) = plan.user {
        if namespace.is_users {
            plan.user = None;
            notes.push("the model runs as root, without capabilities: there are no other users here".into());
        } else if !veil::is_readable(plan, user) {
            plan.user = None;
            notes.push(format!("the model runs as root, without capabilities: user {user} cannot read its files"));
        }
    }
    if namespace.has_own_processes {
        // SAFETY: this process has one thread, so the child may do what it likes.
        if let ForkResult::Parent { child } = unsafe { fork() }? {
            return Ok(Place::Outside(child));
        }
        set_pdeathsig(Signal::SIGKILL)?;
    }
    let files = sandbox::enter(plan, namespace)?;
    Ok(Place::Inside(notes, Some(files)))
}

/// Waits outside for the end of the guardian inside, holding nothing that others wait for.
fn step_aside(first: Pid, launch: &Launch) -> io::Result<()> {
    let_go(launch)?;
    dup2_stdin(File::open("/dev/null")?)?;
    while waitpid(first, None) == Err(nix::errno::Errno::EINTR) {}
    Ok(())
}

/// Closes what the model process has its own copies of: ours would keep its sockets and output open after it ended.
fn let_go(launch: &Launch) -> io::Result<()> {
    for descriptor in &launch.descriptors {
        // SAFETY: these were passed to us for the model process, and nobody here uses them again.
        drop(unsafe { File::from_raw_fd(*descriptor) });
    }
    let nowhere = File::options().write(true).open("/dev/null")?;
    dup2_stdout(&nowhere)?;
    dup2_stderr(&nowhere)?;
    Ok(())
}

/// Waits for the end of the model process; orphans that came to us are taken in.
fn wait(model: Pid) -> io::Result<Report> {
    loop {
        let (code, signal) = match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == model => (Some(code), None),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == model => (None, Some(signal as i32)),
            Ok(_) | Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        return Ok(Report::Exited { code, signal });
    }
}

/// Copies a folder with all that is in it. Links stay links.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&source, &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&source)?, &target)?;
        } else {
            std::fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

fn command(launch: &Launch, is_sandboxed: bool) -> Command {
    let plan = &launch.sandbox;
    let (app, home, temporary) = if is_sandboxed {
        (PathBuf::from("/app"), PathBuf::from("/home/app"), PathBuf::from("/tmp"))
    } else {
        (plan.app.clone(), plan.directory.join("home"), plan.directory.join("tmp"))
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
    if launch.tells_secrets && !is_sandboxed {
        let fits = |text: &str| !text.contains('\0');
        let secrets = plan.secrets.iter().flatten().filter(|(name, value)| fits(name) && fits(value));
        command.envs(secrets.map(|(name, value)| (format!("TRUSS_SECRET_{name}"), value)));
    }
    let guardian = nix::unistd::getpid();
    let (open_files, user) = (launch.open_files, plan.user);
    let prepare = move || {
        let (_, highest) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, open_files.min(highest), open_files.min(highest))?;
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        confine::give_up_privileges(user)?;
        set_pdeathsig(Signal::SIGKILL)?; // after a change of users, which would undo it
        // The guardian may have died before the line above.
        if getppid() == guardian { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
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
