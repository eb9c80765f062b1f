//! What a build runs is the pusher's code: its build commands, and whatever the packages it names run to install themselves. A
//! server run by root fences it in: another user, processes of its own, and a file system in which private folders and files look
//! empty but for what is being built and what building needs.

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs::{self, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, lchown},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::{
    errno::Errno,
    libc,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{prctl, signal::Signal},
    unistd::{Gid, Uid, setgroups, setresgid, setresuid},
};
use tokio::process::Command;

use super::{Local, app::PACKAGES, command::Say, make_private_folder, python::Interpreter, remove_folder};
use crate::BuildError;

/// Part of the kernel's interface for mounts without a place.
const OPEN_TREE_CLONE: libc::c_uint = 1;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;

/// A fence around the commands of one build.
pub(super) struct Fence {
    /// Who they run as.
    pub user: u32,
    cache: PathBuf,
    /// Their home, and where temporary files go. Gone with the fence.
    temporary: PathBuf,
    /// Folders and files that look empty,
    covers: Vec<Cover>,
    /// but for these.
    grafts: Vec<Graft>,
}

/// What looks empty.
struct Cover {
    path: CString,
    is_folder: bool,
}

/// What stays visible below a cover.
struct Graft {
    path: CString,
    /// The folders that lead to it from the cover, outermost first.
    folders: Vec<CString>,
    is_folder: bool,
}

impl Local {
    /// The fence for a build, where this server is root and the machine lets it put one up.
    pub(super) async fn fence(
        &self,
        artifact: &Path,
        app: &Path,
        environment: &Path,
        python: &Interpreter,
        say: &Say,
    ) -> Result<Option<Arc<Fence>>, BuildError> {
        let Some(user) = self.settings.model_user else {
            return Ok(None);
        };
        let uv = self.uv(say).await?.to_owned();
        let name = artifact.file_name().unwrap_or_default().to_string_lossy();
        let settings = &self.settings;
        let temporary = settings.root.join("tmp").join(format!("build-{name}"));
        let cache = settings.cache.join(format!("uv-{user}"));
        make_private_folder(&settings.cache).map_err(BuildError::Machine)?;
        for folder in [&temporary, &cache] {
            own_folder(folder, user).map_err(BuildError::Machine)?;
        }
        let prefix = python.path.parent().and_then(Path::parent).unwrap_or(&python.path);
        let needed: Vec<PathBuf> = [app, environment, &artifact.join(PACKAGES), &temporary, &cache, &uv, prefix]
            .map(Path::to_owned)
            .into_iter()
            .chain(settings.certificates())
            .collect();
        let hidden = settings.hidden.iter().chain([&settings.root]);
        let fence = Fence::new(user, hidden.cloned(), needed, temporary, cache).map_err(BuildError::Machine)?;
        let fence = Arc::new(fence);
        match self.try_out(&fence, &uv, python).await {
            Ok(()) => Ok(Some(fence)),
            Err(error) => {
                say.warning(format!(
                    "This machine does not let a build be fenced in ({error}): what it runs can read the server's files"
                ));
                Ok(None)
            }
        }
    }

    /// Whether tools can run behind a fence.
    async fn try_out(&self, fence: &Arc<Fence>, uv: &Path, python: &Interpreter) -> io::Result<()> {
        for (program, arguments) in [(uv, ["--version"].as_slice()), (&python.path, &["-I", "-S", "-c", ""])] {
            let mut command = self.tool(program, arguments);
            fence.put_around(&mut command, &fence.temporary)?;
            let output = command.kill_on_drop(true).output().await?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(io::Error::other(format!("{} {}: {said}", program.display(), output.status)));
            }
        }
        Ok(())
    }
}

impl Fence {
    fn new(
        user: u32,
        hidden: impl Iterator<Item = PathBuf>,
        needed: Vec<PathBuf>,
        temporary: PathBuf,
        cache: PathBuf,
    ) -> io::Result<Self> {
        let needed: BTreeSet<PathBuf> = needed.iter().filter_map(|path| canonical(path)).collect();
        // What the user could not get through is no way to what it needs.
        let closed = needed.iter().flat_map(|path| path.ancestors().skip(1)).filter(|folder| is_closed(folder));
        let hidden = hidden.filter_map(|path| path.canonicalize().ok());
        let all: BTreeSet<PathBuf> = hidden.chain(closed.map(Path::to_owned)).collect();
        let covers = outermost(&all);
        let grafts = outermost(&needed).into_iter().filter_map(|path| {
            let cover = covers.iter().find(|cover| path.starts_with(cover))?;
            let mut folders: Vec<&Path> =
                path.ancestors().skip(1).take_while(|folder| folder != cover && folder.starts_with(cover)).collect();
            folders.reverse();
            let folders = folders.into_iter().map(c_path).collect::<io::Result<_>>();
            Some(folders.and_then(|folders| Ok(Graft { path: c_path(path)?, folders, is_folder: !path.is_file() })))
        });
        let grafts = grafts.collect::<io::Result<_>>()?;
        let cover = |path: &&Path| Ok(Cover { path: c_path(path)?, is_folder: path.is_dir() });
        let covers = covers.iter().map(cover).collect::<io::Result<_>>()?;
        Ok(Self { user, cache, temporary, covers, grafts })
    }

    /// Lets a command run behind the fence, in `folder`.
    pub fn put_around(self: &Arc<Self>, command: &mut Command, folder: &Path) -> io::Result<()> {
        command.env("HOME", &self.temporary).env("TMPDIR", &self.temporary).env_remove("XDG_RUNTIME_DIR");
        // A package in the cache shares no file with an environment: who changes the one must not change the other.
        command.env("UV_CACHE_DIR", &self.cache).env("UV_LINK_MODE", "copy");
        let folder = c_path(folder)?;
        let fence = Arc::clone(self);
        let mut trees = vec![None; fence.grafts.len()];
        // SAFETY: makes system calls only, on memory that was there before the fork.
        unsafe { command.pre_exec(move || fence.enter(&folder, &mut trees)) };
        Ok(())
    }

    /// Enters what the fence stands around. For between fork and exec: only makes system calls.
    fn enter(&self, folder: &CString, trees: &mut [Option<libc::c_int>]) -> io::Result<()> {
        let nothing = None::<&std::ffi::CStr>;
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)?;
        mount(nothing, c"/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
        for (graft, tree) in self.grafts.iter().zip(&mut *trees) {
            *tree = take(&graft.path)?;
        }
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        for Cover { path, is_folder } in &self.covers {
            let path = path.as_c_str();
            if *is_folder {
                mount(Some(c"tmpfs"), path, Some(c"tmpfs"), flags, Some(c"mode=0755"))?;
            } else {
                match mount(Some(c"/dev/null"), path, nothing, MsFlags::MS_BIND, nothing) {
                    // Nothing is there any more to be seen.
                    Ok(()) | Err(Errno::ENOENT) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        // SAFETY: takes a number only.
        unsafe { libc::umask(0o022) };
        for (graft, tree) in self.grafts.iter().zip(trees) {
            let Some(tree) = tree else { continue };
            for folder in &graft.folders {
                make_folder(folder)?;
            }
            if graft.is_folder {
                make_folder(&graft.path)?;
            } else {
                make_file(&graft.path)?;
            }
            put(*tree, &graft.path)?;
        }
        be_first_process()?;
        mount(Some(c"proc"), c"/proc", Some(c"proc"), flags | MsFlags::MS_NOEXEC, nothing)?;
        nix::unistd::chdir(folder.as_c_str())?;
        give_up_privileges(self.user)?;
        // After the change of users, which would undo it.
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        Ok(())
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        // A folder of leftovers, which the next start of the server removes at the latest.
        let _ = remove_folder(&self.temporary);
    }
}

/// A mount of this path, without a place of its own yet. None where nothing is there.
fn take(path: &CString) -> io::Result<Option<libc::c_int>> {
    let flags = OPEN_TREE_CLONE | (libc::O_CLOEXEC | libc::AT_RECURSIVE) as libc::c_uint;
    // SAFETY: the path lives until the call returns.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    match Errno::result(tree) {
        Ok(tree) => Ok(Some(tree as libc::c_int)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Gives a mount its place.
fn put(tree: libc::c_int, path: &CString) -> io::Result<()> {
    // SAFETY: both texts live until the call returns.
    let done = unsafe {
        libc::syscall(libc::SYS_move_mount, tree, c"".as_ptr(), libc::AT_FDCWD, path.as_ptr(), MOVE_MOUNT_F_EMPTY_PATH)
    };
    Errno::result(done)?;
    Ok(())
}

fn make_folder(path: &CString) -> io::Result<()> {
    // SAFETY: the path lives until the call returns.
    match Errno::result(unsafe { libc::mkdir(path.as_ptr(), 0o755) }) {
        Ok(_) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn make_file(path: &CString) -> io::Result<()> {
    // SAFETY: the path lives until the call returns; the descriptor is closed when a program is executed.
    Errno::result(unsafe { libc::open(path.as_ptr(), libc::O_CREAT | libc::O_CLOEXEC, 0o644) })?;
    Ok(())
}

/// Goes on as the first process of the new namespace, with whose end all others in it end. The process that was started stays
/// outside, and ends as the first one does.
fn be_first_process() -> io::Result<()> {
    // SAFETY: this process has one thread.
    let child = Errno::result(unsafe { libc::fork() })?;
    if child == 0 {
        return Ok(());
    }
    // SAFETY: system calls on memory of this function, in a process that does nothing else from here on.
    unsafe {
        // Others wait for the ends of pipes that we have copies of.
        libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0);
        let mut status = 0;
        while libc::waitpid(child, &raw mut status, 0) < 0 && Errno::last() == Errno::EINTR {}
        let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
        libc::_exit(code)
    }
}

/// Becomes `user` for good: no program gives any privilege back.
fn give_up_privileges(user: u32) -> io::Result<()> {
    for capability in 0..64_u64 {
        // SAFETY: takes numbers only. Refused for numbers that are no capability.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
            break;
        }
    }
    setgroups(&[])?;
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(user));
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    prctl::set_no_new_privs()?;
    Ok(())
}

/// The path without links on its way. What it leads to need not be there yet.
fn canonical(path: &Path) -> Option<PathBuf> {
    let whole = path.canonicalize();
    whole.ok().or_else(|| Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?)))
}

/// Makes a folder of the user's own, unless it is.
fn own_folder(folder: &Path, user: u32) -> io::Result<()> {
    make_private_folder(folder)?;
    if fs::symlink_metadata(folder)?.uid() != user {
        lchown(folder, Some(user), Some(user))?;
    }
    fs::set_permissions(folder, Permissions::from_mode(0o700))
}

/// Whether others than its owner and group cannot get through a folder.
fn is_closed(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|metadata| metadata.mode() & 0o001 == 0)
}

/// The paths that lie in no other.
fn outermost(paths: &BTreeSet<PathBuf>) -> Vec<&Path> {
    let is_outermost = |path: &&PathBuf| !path.ancestors().skip(1).any(|above| paths.contains(above));
    paths.iter().filter(is_outermost).map(PathBuf::as_path).collect()
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
